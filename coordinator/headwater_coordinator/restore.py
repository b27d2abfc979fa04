"""A coordinator's folder from a backup: checked first, and numbered above all that it gave since.

What was released after a backup is not in it, but devices hold it and refuse every sequence that is
not above their own. So a restored release is signed once more, as a rollback, with the time in
seconds as its sequence: a number that no fleet reached by releasing, that needs nobody's word, and
that is higher again when the same backup is restored another day. No number ever stands for two
versions. Receipts go on from there too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, cast

import msgspec

from headwater.errors import BundleError, HeadwaterError, StorageError
from headwater_coordinator.backup import CONTENTS, FORMAT, Contents, Member
from headwater_coordinator.database import Database
from headwater_coordinator.decisions import Ruling
from headwater_coordinator.engines import SqliteEngine
from headwater_coordinator.engines.copying import moved
from headwater_coordinator.home import Home
from headwater_coordinator.location import with_url
from headwater_coordinator.registry import Registry
from headwater_coordinator.settings import read_settings
from headwater_coordinator.state import State, Version
from headwater_models.bundle import Bundle
from headwater_models.files import storage_errors
from headwater_models.identity import version_id
from headwater_models.keys import SigningKey
from headwater_models.signing import sign_version

_MAX_CONTENTS_BYTES = 64_000_000
_CHUNK = 1 << 20
_FILES = {"coordinator.toml", "ca.crt", "coordinator.db"}
_FOLDERS = {"bundle", "keys", "nodes", "requests", "versions"}


def restore(source: Path, home: Home, now: int, database: str | None = None) -> Contents:
    """Make a coordinator's folder from a backup; it appears whole or not at all.

    Parameters
    ----------
    source
        What :func:`.backup.back_up` wrote.
    home
        A folder that is not there or is empty.
    now
        UTC milliseconds; at least those of the backup.
    database
        Where the books shall lie, as in the settings; None: where those of the backup say.

    Returns
    -------
    Contents
        Of the backup; release and sequence are those of the time when it was made.

    Raises
    ------
    StorageError
        When the folder is not empty, the backup cannot be read or is damaged, or the clock is
        behind it, or the database cannot be used or holds books already.
    BundleError
        When bundle, keys or weights in it do not belong together.
    """
    if home.root.exists() and (not home.root.is_dir() or any(home.root.iterdir())):
        raise StorageError(
            f"{home.root} is not empty; restore into a new folder, and let no coordinator run in "
            "the old one any more."
        )
    with storage_errors(home.root, "made"):
        home.root.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.mkdtemp(prefix=f".{home.root.name}.", dir=home.root.parent)
    made = Home(Path(place))
    try:
        contents = _unpack(source, made)
        if now < contents.made_ms:
            raise StorageError(f"The clock is behind {source}, which was made later; set it first.")
        if database is not None:
            made.settings.write_text(with_url(made.settings.read_text(), database))
        _check(made, source)
        _renumber(made, contents.made_ms, now)
        with storage_errors(home.root, "made"), moved(made.database, made.books):
            made.root.chmod(0o755)
            made.root.rename(home.root)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return contents


def _unpack(source: Path, home: Home) -> Contents:
    """Write what the backup lists, each file compared with its hash."""
    home.make()
    try:
        with source.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            contents = _contents(archive)
            listed = dict(contents.members)
            while (entry := archive.next()) is not None:
                member = listed.pop(entry.name, None)
                if member is None or not entry.isreg() or entry.size != member.size:
                    raise StorageError(f"{source} is damaged: {entry.name!r} is not as listed.")
                _extract(archive, entry, member, home)
    except (tarfile.TarError, EOFError) as error:
        raise StorageError(f"{source} is no backup of a coordinator: {error}.") from error
    except OSError as error:
        raise StorageError(f"{source} cannot be restored: {error.strerror or error}.") from error
    if listed:
        raise StorageError(f"{source} is damaged: {min(listed)!r} is missing.")
    return contents


def _contents(archive: tarfile.TarFile) -> Contents:
    entry = archive.next()
    if entry is None or entry.name != CONTENTS or entry.size > _MAX_CONTENTS_BYTES:
        raise tarfile.TarError(f"it does not begin with {CONTENTS}")
    try:
        contents = msgspec.json.decode(_opened(archive, entry).read(), type=Contents)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise tarfile.TarError(str(error)) from error
    if contents.format != FORMAT:
        raise tarfile.TarError(f"its format is {contents.format}, this program knows {FORMAT}")
    for name in contents.members:
        if not _belongs(PurePosixPath(name), name):
            raise tarfile.TarError(f"{name!r} is no file of a coordinator")
    return contents


def _belongs(path: PurePosixPath, name: str) -> bool:
    """Whether a name is one below a coordinator's folder, and written in the one way."""
    place = name in _FILES or (len(path.parts) > 1 and path.parts[0] in _FOLDERS)
    return place and ".." not in path.parts and str(path) == name


def _opened(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> BinaryIO:
    file = archive.extractfile(entry)
    if file is None:
        raise tarfile.TarError(f"{entry.name!r} is no plain file")
    return cast("BinaryIO", file)


def _extract(archive: tarfile.TarFile, entry: tarfile.TarInfo, member: Member, home: Home) -> None:
    path = home.root / entry.name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    public = path.suffix in (".crt", ".pub", ".toml") or home.bundle in path.parents
    digest = hashlib.sha256()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644 if public else 0o600)
    with os.fdopen(handle, "wb") as file, _opened(archive, entry) as source:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != member.sha256:
        raise StorageError(f"The backup is damaged: {entry.name!r} has other bytes than listed.")


def _check(home: Home, source: Path) -> None:
    """Refuse what could not be served: settings, bundle, keys, books and weights are read."""
    try:
        read_settings(home.settings)
        bundle = Bundle.load(home.bundle)
        model, _ = bundle.verify()
        if SigningKey.load(home.release_key).public not in model.signers:
            raise BundleError("The bundle does not delegate to the release key.")
        state = _state(home)
        _check_weights(home, bundle, state)
    except HeadwaterError as error:
        words = str(error).replace(str(home.root), source.name)
        raise type(error)(f"{source} cannot be restored: {words}") from error


def _state(home: Home) -> State:
    """Read the books, which must be whole."""
    with closing(SqliteEngine.reader(home.database)) as books:
        books.check()
    with Database(home.database) as database:
        return database.load()


def _check_weights(home: Home, bundle: Bundle, state: State) -> None:
    """Load the weights of every version that is yet needed, and compare each with its name."""
    registry = Registry(home.versions, bundle.manifest)
    candidate = [] if state.candidate is None else [state.candidate.name]
    bases = [update.base for update in state.pending.values()]
    for name in {state.release.name, *candidate, *bases}:
        if version_id(bundle.manifest, bundle.model_id, registry.load(name)) != name:
            raise BundleError(f"The weights of version {name[:12]} are others than its name says.")


def _renumber(home: Home, made_ms: int, now: int) -> None:
    """Sign the release, and a candidate that waits, with numbers above all that were given."""
    key, model = SigningKey.load(home.release_key), Bundle.load(home.bundle).model_id

    def signed(kind: Literal["rollback", "candidate"], version: Version, sequence: int) -> Version:
        statement = sign_version(
            key,
            kind=kind,
            model=model,
            version=version.name,
            sequence=sequence,
            parent=version.parent or None,
        )
        return replace(version, sequence=sequence, statement=statement)

    with Database(home.database) as database:
        state = database.load()
        number = max(state.release.sequence + 1, now // 1000)
        versions = [signed("rollback", state.release, number)]
        if state.candidate is not None:
            versions.append(signed("candidate", state.candidate, number + 1))
        made = datetime.fromtimestamp(made_ms / 1000, UTC).isoformat(timespec="seconds")
        database.restored(versions, Ruling("a restore", f"from the backup of {made}"), now)
