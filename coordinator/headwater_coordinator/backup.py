"""A backup: one tar file of all that a coordinator must have to go on, taken while it works.

``backup.json`` comes first and names every other member with its size and SHA-256. What can be made
again is left out: logs, and Flower's folder, for the SuperLink learns the enrolled keys from
``nodes/`` when it starts with an empty database. The books are a file of SQLite in it, wherever
they lie.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import msgspec

from headwater.errors import StorageError
from headwater_coordinator.engines import open_reader
from headwater_coordinator.home import Home
from headwater_coordinator.location import Location
from headwater_coordinator.migrations import refuse_unknown
from headwater_models.files import storage_errors

CONTENTS = "backup.json"
FORMAT = 1


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: its bytes, and the SHA-256 of them."""

    size: int
    sha256: str


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds, by path below the coordinator's folder, and when it was made."""

    format: int
    made_ms: int
    release: str
    sequence: int
    members: dict[str, Member]


def back_up(home: Home, target: Path, now: int) -> Contents:
    """Write a backup of a coordinator, running or not; it appears whole or not at all.

    Parameters
    ----------
    home
        The coordinator's folder.
    target
        A file that is not there yet.
    now
        UTC milliseconds.

    Raises
    ------
    StorageError
        When the file is there already or cannot be written, the books cannot be read, or the
        folder holds a link where a file belongs.
    """
    if target.exists() or target.is_symlink():
        raise StorageError(f"{target} is there already and is never overwritten.")
    with (
        storage_errors(target, "written"),
        tempfile.TemporaryDirectory(prefix=".backup.", dir=home.root) as folder,
    ):
        files = dict(_files(home, Path(folder)))
        books = Path(folder) / home.database.name
        release, sequence = _snapshot(home.books, books)
        files |= dict(_files(home, Path(folder)))  # of a version made since
        files[home.database.name] = books
        members = {name: _member(path) for name, path in sorted(files.items())}
        contents = Contents(FORMAT, now, release, sequence, members)
        _write(target, contents, files)
    return contents


def _files(home: Home, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file to keep, as hard links that outlive the removal of old versions."""
    kept = (home.settings, home.authority, home.bundle, home.keys, home.nodes, home.requests)
    for root in (*kept, home.versions):
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            name = path.relative_to(home.root).as_posix()
            if path.is_symlink():
                raise StorageError(f"{path} is a symbolic link; a backup holds plain files only.")
            if path.is_file() and not any(part.startswith(".") for part in path.parts[-2:]):
                yield name, _pinned(path, folder) if root == home.versions else path


def _pinned(path: Path, folder: Path) -> Path:
    """Hold on to a version's file, which the running coordinator may remove."""
    pin = folder / path.name
    if not pin.exists():
        os.link(path, pin)
    return pin


def _snapshot(location: Location, copy: Path) -> tuple[str, int]:
    """Copy the books as they are at one moment; return the release that they name."""
    with closing(open_reader(location)) as books:
        refuse_unknown(books)
        books.save(copy)
        name = books.name
    with closing(open_reader(copy)) as saved:
        found = saved.execute(
            "SELECT version, sequence FROM versions WHERE kind = 'release' "
            "ORDER BY sequence DESC LIMIT 1"
        )
    if not found:
        raise StorageError(f"{name} has no release; there is nothing to back up.")
    ((release, sequence),) = found
    return str(release), int(sequence)


def _member(path: Path) -> Member:
    with path.open("rb") as file:
        return Member(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _write(target: Path, contents: Contents, files: dict[str, Path]) -> None:
    """Write the tar beside *target* and give it that name when it is durable."""
    encoded = msgspec.json.encode(contents)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                _add(archive, CONTENTS, io.BytesIO(encoded), len(encoded))
                for name, member in contents.members.items():
                    with files[name].open("rb") as source:
                        _add(archive, name, source, member.size)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).rename(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _add(archive: tarfile.TarFile, name: str, source: BinaryIO, size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    archive.addfile(entry, source)
