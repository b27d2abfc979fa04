"""The lock that says whether the ServerApp lives; the kernel lets go of it when it dies."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.errors import StorageError

_FLOCK = struct.Struct("hhqqi4x")
"""``struct flock`` on 64-bit Linux: type, whence, start, length, process."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock; it is a POSIX lock, so a child process does not inherit it.

    Raises
    ------
    StorageError
        When another process holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise StorageError(f"Another coordinator works on {path.parent}; stop it.") from error
        yield
    finally:
        os.close(handle)


def holder(path: Path) -> int | None:
    """Return the id of the process that holds the lock, or None; the lock is never taken."""
    question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        kind, _, _, _, process = _FLOCK.unpack(fcntl.fcntl(handle, fcntl.F_GETLK, question))
    finally:
        os.close(handle)
    return None if kind == fcntl.F_UNLCK else int(process)
