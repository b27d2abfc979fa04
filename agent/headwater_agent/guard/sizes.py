"""How large one channel's moves are: from one record to the next, and between records far apart.

Sizes are counted in bins that double. The *surprise* of a move is minus the logarithm of the share
of moves from one record to the next that were at least so large; beyond the largest one seen, the
share is taken to fall by four with each doubling, as of a Pareto tail of index two. The *evidence*
that a record continues the stream is the logarithm of how much likelier a move of this size is from
one record to the next than to a stranger: half of the strangers lie as far off as the stream's own
records of another time do, and half anywhere in the channel's range.
"""

from __future__ import annotations

import math
from array import array
from typing import TypeAlias

BINS = 20
"""Each a doubling, but for 0: no move at all. The last ends at the channel's whole range."""

MEMORY = 8_192
"""Moves at which all counts are halved."""

ORDINARY_SHARE = math.exp(-2.0)
"""Share of the largest moves that are not ordinary."""

UNSEEN = 0.3
"""What a bin counts before anything fell into it."""

_USUAL = tuple(UNSEEN * 2.0 ** min(0, BINS - 7 - place) for place in range(BINS))
"""The same for moves from one record to the next, of which few cross much of the range."""

_ALL_USUAL = sum(_USUAL)

_TAIL = 0.25
_STEADY = 4
"""Moves from which a count is not extrapolated."""

_ANYWHERE = (2.0**-BINS, *(2.0 ** (place - BINS) for place in range(1, BINS)))
"""The share of each bin among moves to anywhere in the range."""

Counts: TypeAlias = "array[int]"


class MoveSizes:
    """How many moves of one channel there were of each size."""

    __slots__ = ("_beyond", "_far", "_far_all", "_near", "_near_all", "_ordinary")

    def __init__(self) -> None:
        self._near, self._far = _empty(), _empty()
        self._near_all = self._far_all = 0
        self._ordinary = self._beyond = 0

    @property
    def moves(self) -> int:
        """Moves from one record to the next, standing still left out."""
        return self._near_all - self._near[0]

    @property
    def ordinary(self) -> int:
        """The largest bin beyond which at least :data:`ORDINARY_SHARE` of all moves lie."""
        return self._ordinary

    def learn(self, place: int) -> None:
        """Count a move from one record to the next."""
        self._near[place] += 1
        self._near_all += 1
        self._beyond += place > self._ordinary
        if self._near_all >= MEMORY:
            self._near_all = _halve(self._near)
            self._find_ordinary()
        else:
            self._move_ordinary()

    def learn_far(self, place: int) -> None:
        """Count a move between two records far apart."""
        self._far[place] += 1
        self._far_all += 1
        if self._far_all >= MEMORY:
            self._far_all = _halve(self._far)

    def surprise(self, place: int, fraction: float) -> float:
        """Return minus the logarithm of the share of moves that are at least so large.

        There must have been a move.

        Parameters
        ----------
        place
            The bin, not that of standing still.
        fraction
            How far into the bin, from 0 to 1.
        """
        here = self._level(place)
        return here + fraction * (self._level(place + 1) - here)

    def evidence(self, place: int) -> float:
        """Return the logarithm of how much likelier a move is in the stream than to a stranger."""
        near = (self._near[place] + _USUAL[place]) / (self._near_all + _ALL_USUAL)
        far = (self._far[place] + UNSEEN) / (self._far_all + UNSEEN * BINS)
        return math.log(2 * near / (far + _ANYWHERE[place]))

    def fade(self) -> None:
        """Let what was learned so far count half."""
        self._near_all, self._far_all = _halve(self._near), _halve(self._far)
        self._find_ordinary()

    def save(self) -> bytes:
        """Return all counts."""
        return self._near.tobytes() + self._far.tobytes()

    def restore(self, saved: bytes) -> None:
        """Go on where :meth:`save` was called.

        Raises
        ------
        ValueError
            When the counts are not as many as they must be.
        """
        counts = array("H", saved)
        if len(counts) != 2 * BINS:
            raise ValueError(f"a channel has {len(counts)} counts, not {2 * BINS}")
        self._near, self._far = counts[:BINS], counts[BINS:]
        self._near_all, self._far_all = sum(self._near), sum(self._far)
        self._find_ordinary()

    def _find_ordinary(self) -> None:
        self._ordinary, self._beyond = 0, self.moves
        self._move_ordinary()

    def _move_ordinary(self) -> None:
        """Keep the bin true, which every move may shift."""
        near, least = self._near, ORDINARY_SHARE * (self._near_all - self._near[0])
        while self._ordinary and self._beyond < least:
            self._beyond += near[self._ordinary]
            self._ordinary -= 1
        while self._ordinary < BINS - 1 and self._beyond - near[self._ordinary + 1] >= least:
            self._ordinary += 1
            self._beyond -= near[self._ordinary]

    def _level(self, place: int) -> float:
        """Return the surprise at the lower end of a bin."""
        near = self._near
        larger = sum(near[place:])
        count = float(larger)
        tail = 1.0
        for below in range(place - 1, 0, -1):
            if larger >= _STEADY:
                break
            tail *= _TAIL
            larger += near[below]
            count = max(count, larger * tail)
        return math.log((self.moves + 1) / count)


def _empty() -> Counts:
    return array("H", bytes(2 * BINS))


def _halve(counts: Counts) -> int:
    """Halve all counts; return their sum."""
    for place in range(BINS):
        counts[place] >>= 1
    return sum(counts)
