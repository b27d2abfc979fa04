"""Counts of a channel's values in equal bins over what its sensor can report."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import PeerError
from headwater_models.manifest import Channel
from headwater_models.statistics.summary import Count, Finite, finite, read, refuse_others

BINS = 64
"""Bins of a channel, beside one for what lies below its range and one for what lies above."""


class _Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    low: Finite
    high: Finite
    counts: Annotated[tuple[Count, ...], msgspec.Meta(min_length=3, max_length=4_098)]


class Histogram:
    """A :class:`.summary.Summary` with fixed bins.

    Parameters
    ----------
    low, high
        The range that the bins divide; each holds its lower edge, the last one both.
    bins
        How many.

    Examples
    --------
    >>> histogram = Histogram(0.0, 10.0, bins=2)
    >>> histogram.add(np.array([-1.0, 0.0, 5.0, 10.0, np.nan]))
    >>> histogram.counts.tolist()
    [1, 1, 2, 0]
    """

    def __init__(self, low: float, high: float, bins: int = BINS) -> None:
        self.edges = np.linspace(low, high, bins + 1)
        self.counts: NDArray[np.int64] = np.zeros(bins + 2, np.int64)

    @classmethod
    def of(cls, channel: Channel) -> Histogram:
        """Return an empty one for a channel's range."""
        return cls(channel.minimum, channel.maximum)

    @property
    def count(self) -> int:
        """How many values it is of."""
        return int(self.counts.sum())

    def add(self, values: NDArray[np.floating]) -> None:
        """Take values of any shape; what is not finite is passed over."""
        there = finite(values)
        places = np.searchsorted(self.edges, there, side="right")
        places[there == self.edges[-1]] -= 1
        self.counts += np.bincount(places, minlength=len(self.counts))

    def merge(self, other: Histogram) -> None:
        """Take all values of another one.

        Raises
        ------
        UnsupportedError
            When its bins are others.
        """
        refuse_others(self._made_for(), other._made_for(), "histogram")
        self.counts = self.counts + other.counts

    def shares(self) -> NDArray[np.float64]:
        """Return the share of the values in each bin, ``[bins + 2]``; zeros of nothing."""
        return np.asarray(self.counts / max(self.count, 1))

    def encode(self) -> bytes:
        """Return bytes that :meth:`decode` reads."""
        low, high, _ = self._made_for()
        return msgspec.json.encode(_Saved(low, high, tuple(self.counts.tolist())))

    @classmethod
    def decode(cls, data: bytes) -> Histogram:
        """Read what :meth:`encode` wrote.

        Raises
        ------
        PeerError
            When it is anything else.
        """
        saved = read(data, _Saved, "histogram")
        if not saved.low < saved.high:
            raise PeerError(f"A histogram from {saved.low} to {saved.high} has no range.")
        histogram = cls(saved.low, saved.high, len(saved.counts) - 2)
        histogram.counts = np.array(saved.counts, np.int64)
        return histogram

    def _made_for(self) -> tuple[float, float, int]:
        return float(self.edges[0]), float(self.edges[-1]), len(self.edges) - 1
