"""What summaries of one channel have in common: they grow, merge exactly, and travel as bytes.

A summary holds counts in fixed or geometric bins, or moments; never a value that was measured. It
should leave a device from as many values on as other statistics do.
"""

from __future__ import annotations

from typing import Annotated, Protocol, Self, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import PeerError, UnsupportedError

MAX_SUMMARY_BYTES = 131_072
"""Longest encoded summary that is read at all."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]

S = TypeVar("S", bound=msgspec.Struct)


class Summary(Protocol):
    """Of the values of one channel.

    The laws, each with a test of its name: merged summaries are that of all the values, whatever
    their split and order; what is decoded is what was encoded; no value is kept.
    """

    @property
    def count(self) -> int:
        """How many values it is of."""

    def add(self, values: NDArray[np.floating]) -> None:
        """Take values of any shape; what is not finite is passed over."""

    def merge(self, other: Self) -> None:
        """Take all values of another summary of the same channel."""

    def encode(self) -> bytes:
        """Return bytes of at most :data:`MAX_SUMMARY_BYTES`."""


def finite(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the finite ones among values, ``[N]``."""
    flat = np.ravel(values).astype(np.float64)
    return flat[np.isfinite(flat)]


def read(data: bytes, kind: type[S], name: str) -> S:
    """Decode a summary's fields.

    Raises
    ------
    PeerError
        When they are too long, or not those of *kind*.
    """
    if len(data) > MAX_SUMMARY_BYTES:
        raise PeerError(f"A {name} has {len(data)} bytes; at most {MAX_SUMMARY_BYTES} are read.")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PeerError(f"A {name} is damaged: {error}.") from error


def refuse_others(ours: object, theirs: object, name: str) -> None:
    """Refuse to merge summaries that were not made alike.

    Raises
    ------
    UnsupportedError
        Saying how they differ.
    """
    if ours != theirs:
        raise UnsupportedError(
            f"A {name} made for {theirs} cannot be merged into one made for {ours}; "
            "summarise the same channel of the same manifest."
        )
