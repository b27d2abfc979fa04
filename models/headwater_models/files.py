"""Files that appear whole or not at all, and are read only up to a bound."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from headwater.errors import BundleError, StorageError


@contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn the operating system's errors about *path* into a :class:`StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be {doing}: {error.strerror or error}.") from error


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file of at most *limit* bytes, never through a symbolic link.

    Raises
    ------
    BundleError
        When it is a link, a device or a pipe, or larger than the limit.
    StorageError
        When it cannot be opened.
    """
    with storage_errors(path, "read"):
        if path.is_symlink():
            raise BundleError(f"{path} is a symbolic link; a bundle holds plain files only.")
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BundleError(f"{path} is not a plain file.")
            data = file.read(limit + 1)
    if len(data) > limit:
        raise BundleError(f"{path} is larger than the {limit} bytes that are read at most.")
    return data


def write_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a part.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    with storage_errors(path, "written"):
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            _fill(handle, data, mode)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of *files* so that it appears whole, replacing one that is there.

    Where a folder is replaced it is first moved aside, so a crash between the two renames leaves
    the old one, whole, under a name that begins with a dot.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    with storage_errors(path, "written"):
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            for name, data in files.items():
                handle = os.open(temporary / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                _fill(handle, data, 0o644)
            temporary.chmod(0o755)
            _sync_folder(temporary)
            _move_into_place(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        _sync_folder(path.parent)


def _move_into_place(temporary: Path, path: Path) -> None:
    if not path.exists():
        temporary.rename(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    path.replace(aside)
    temporary.rename(path)
    shutil.rmtree(aside)


def _fill(handle: int, data: bytes, mode: int) -> None:
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(handle, mode)
        os.fsync(handle)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
