"""The first bytes of what a device sent and nobody can use, for a person to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from headwater.objects import Vector

LONGEST = 2**20
"""Bytes that are kept of one message."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """At most :data:`LONGEST` bytes of a message, and how many it had.

    Examples
    --------
    >>> Excerpt.of(b"ab", b"c")
    Excerpt(content=b'abc', nbytes=3)
    >>> long = Excerpt.of(bytes(LONGEST), b"c")
    >>> len(long.content), long.nbytes
    (1048576, 1048577)
    """

    content: bytes
    nbytes: int

    @classmethod
    def of(cls, *parts: bytes | Vector) -> Self:
        """Join parts, and cut what is too long; no more than that is copied."""
        content, nbytes = bytearray(), 0
        for part in parts:
            whole = np.frombuffer(part, np.uint8) if isinstance(part, bytes) else _bytes(part)
            content += whole[: LONGEST - len(content)].tobytes()
            nbytes += len(whole)
        return cls(bytes(content), nbytes)


def _bytes(vector: Vector) -> NDArray[np.uint8]:
    return np.ascontiguousarray(vector).reshape(-1).view(np.uint8)
