"""How large the moves of a stream's channels are: from one record to the next, and far apart.

Sizes are counted in bins that double. The *surprise* of a move is minus the logarithm of the share
of moves from one record to the next that were at least so large; beyond the largest one seen, the
share is taken to fall by four with each doubling, as of a Pareto tail of index two. The *evidence*
that a record continues the stream is the logarithm of how much likelier a move of this size is from
one record to the next than to a stranger: half of the strangers lie as far off as the stream's own
records of another time do, and half anywhere in the channel's range.

Both are looked up in tables, which :meth:`MoveSizes.renew` makes of the counts; what is learned
meanwhile waits for the next time. So the tables follow from what is saved, and a stream that renews
them at certain of its records judges the same however often it is restarted in between.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 20
"""Each a doubling, but for 0: no move at all. The last ends at the channel's whole range."""

MEMORY = 8_192
"""Moves at which a channel's counts are halved."""

ORDINARY = 2.0
"""Surprise up to which a move is trusted at once."""

NEAR = 4.0
"""Surprise up to which a value confirms the doubted one before it."""

FEW = 8
"""Moves of a channel before any of them surprises."""

UNSEEN = 0.3
"""What a bin counts before anything fell into it."""

_BIN = np.arange(BINS)

_PRIOR = np.stack([UNSEEN * 2.0 ** np.minimum(0, BINS - 7 - _BIN), np.full(BINS, UNSEEN)])[:, None]
"""The same of each bin: few moves from one record to the next cross much of the range."""

_ALL_PRIOR = _PRIOR.sum(axis=2, keepdims=True)

_ANYWHERE = 2.0 ** np.where(_BIN, _BIN - BINS, -BINS)
"""The share of each bin among moves to anywhere in the range."""

_STEADY = 4
"""Moves from which a count is not extrapolated."""

_LEAST = 1e-12
"""What is expected of a channel that never moved."""

_ALL = np.ones((BINS, 1))

_REACHING = np.tri(BINS, BINS + 1)
_REACHING[0] = 0
"""Of counts in bins, how many moves came to the lower end of each, and to the upper of the last."""

_RISE = 4.0 ** np.arange(BINS + 1)
"""How the share rises towards the first bin where it is extrapolated."""


class MoveSizes:
    """The counts of one stream, and what they say of a move.

    The bins of all channels stand in one row, and a *place* is a bin in it: that of no move at all
    is ``channel * BINS``.

    Parameters
    ----------
    channels
        How many channels the stream has.

    Attributes
    ----------
    tables
        The next three, each in a row, but for the surprise of a place in which no move surprises:
        that is minus infinity.
    evidence
        For each place.
    surprise
        At each place's lower end.
    rise
        By how much it grows up to the upper end.
    ordinary
        For each channel, the last place in which no move surprises.
    known
        Whether a channel has made enough moves to go by.
    fresh
        How often each place was met since the tables were made, at most 255 times; then the same
        for records far apart.
    """

    __slots__ = ("_counts", "evidence", "fresh", "known", "ordinary", "rise", "surprise", "tables")

    tables: NDArray[np.float64]
    evidence: list[float]
    surprise: list[float]
    rise: list[float]
    ordinary: list[int]
    known: list[bool]

    def __init__(self, channels: int) -> None:
        self._counts = np.zeros((2, channels, BINS), np.uint16)
        self.fresh = bytearray(self._counts.size)
        self._tabulate()

    def renew(self, *, fade: bool = False) -> None:
        """Count what is fresh, and look at it from now on; with *fade* all that was so far half."""
        self._take_in_fresh()
        if fade:
            self._counts >>= 1
        self._tabulate()

    def save(self) -> tuple[bytes, bytes]:
        """Return all counts, and what is fresh."""
        return self._counts.tobytes(), bytes(self.fresh)

    def restore(self, counts: bytes, fresh: bytes) -> None:
        """Go on where :meth:`save` was called.

        Raises
        ------
        ValueError
            When they are not as many as they must be.
        """
        found = np.frombuffer(counts, np.uint16)
        if not found.size == len(fresh) == self._counts.size:
            raise ValueError(f"there are {found.size} counts of moves, not {self._counts.size}")
        self._counts = found.reshape(self._counts.shape).copy()
        self.fresh = bytearray(fresh)
        self._tabulate()

    def _take_in_fresh(self) -> None:
        counts = self._counts
        counts += np.frombuffer(self.fresh, np.uint8).reshape(counts.shape)
        full = counts.sum(axis=2) >= MEMORY
        if full.any():
            counts[full] >>= 1
        self.fresh = bytearray(counts.size)

    def _tabulate(self) -> None:
        counts = self._counts.astype(np.float64)
        near, far = (counts + _PRIOR) / (counts @ _ALL + _ALL_PRIOR)
        tables = np.empty((3, *near.shape))
        evidence, surprise, rise = tables
        np.log(2 * near / (far + _ANYWHERE), out=evidence)
        reached = counts[0] @ _REACHING
        moves = reached[:, :1]
        levels = np.log((moves + 1) / _extrapolated(reached))
        lower, upper = levels[:, :-1], levels[:, 1:]
        known = moves >= FEW
        surprising = (upper > ORDINARY) & known
        np.subtract(upper, lower, out=rise)
        surprise.fill(-np.inf)
        np.copyto(surprise, lower, where=surprising)
        self.tables = tables.reshape(3, -1)
        self.evidence, _, self.rise = self.tables.tolist()
        self.surprise = lower.ravel().tolist()
        self.known = known.ravel().tolist()
        self.ordinary = [
            last - count
            for last, count in zip(
                range(BINS - 1, near.size, BINS), surprising.sum(axis=1).tolist(), strict=True
            )
        ]


def _extrapolated(reached: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many may be expected there: more, where fewer than :data:`_STEADY` were seen."""
    few = reached * _RISE
    few[:, :-1][reached[:, 1:] >= _STEADY] = 0
    expected = np.maximum.accumulate(few, axis=1, out=few)
    expected /= _RISE
    np.maximum(expected, reached, out=expected)
    return np.maximum(expected, _LEAST, out=expected)
