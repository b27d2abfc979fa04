"""A state as it lies in the database: with a checksum, for SQLite keeps none of what it holds."""

from __future__ import annotations

import struct
from zlib import crc32

from headwater_agent.segment import DamagedError

_SUM = struct.Struct("<I")


def seal(state: bytes, about: str) -> bytes:
    """Return a state with a checksum over it and over what it is about.

    Parameters
    ----------
    state
        Any bytes.
    about
        What stands beside it and must not change either, such as the stream's name.
    """
    return state + _SUM.pack(crc32(about.encode(), crc32(state)))


def unseal(sealed: object, about: str) -> bytes:
    """Return the state that :func:`seal` was given.

    Raises
    ------
    DamagedError
        When it is another one, or about something else.
    """
    if isinstance(sealed, bytes) and len(sealed) >= _SUM.size:
        state = sealed[: -_SUM.size]
        if seal(state, about) == sealed:
            return state
    raise DamagedError(f"the state of {about!r} is not as it was written")
