"""Records that follow one another, each measured from the one before it, all at once.

From there a record's moves are measured wherever every value of the one before it was trusted, and
what is found here is then, to the last bit, what :meth:`.ChannelMoves.look` would find.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_agent.guard.channel import Sensor
from headwater_agent.guard.known import Known
from headwater_agent.guard.look import Look, Unusual
from headwater_agent.guard.sizes import BINS, ORDINARY, MoveSizes

Flags = NDArray[np.bool_]
Places = NDArray[np.int64]
Table = NDArray[np.float64]


class Bounds(msgspec.Struct, frozen=True, eq=False):
    """What channels are held against, each ``[C, 1]``.

    Their ranges, and in :class:`.MoveSizes` the place of no move and that of an octave of 0. After
    ``short`` milliseconds a move is not one from a record to the next.
    """

    lowest: Table
    highest: Table
    rest: Places
    offset: Places
    short: int

    def hold(self, values: Table) -> Flags:
        """Say of records ``[C, N]`` whether all values are in their ranges."""
        held: Flags = np.all((values >= self.lowest) & (values <= self.highest), axis=0)
        return held

    def places(self, moves: Table, exponents: NDArray[np.int32]) -> Places:
        """Return where moves ``[C, N]`` within the ranges belong, by their binary exponents."""
        places: Places = np.maximum(exponents + self.offset, self.rest + 1)
        np.copyto(places, self.rest, where=moves == 0)
        return places


@lru_cache(maxsize=8)
def bounds(sensors: tuple[Sensor, ...]) -> Bounds:
    """Return the bounds of channels."""
    rest = np.arange(0, len(sensors) * BINS, BINS)[:, None]
    return Bounds(
        lowest=np.array([[sensor.minimum] for sensor in sensors]),
        highest=np.array([[sensor.maximum] for sensor in sensors]),
        rest=rest,
        offset=rest + BINS - 1 - np.array([[sensor.octave] for sensor in sensors]),
        short=int(1.5 * sensors[0].period),
    )


class Stretch:
    """Records of a stream, each measured from the one before it.

    Parameters
    ----------
    times
        Of N records, in milliseconds.
    values
        Of the channels, ``[C, N]``.
    known
        What the first one is measured from.
    bounds, sizes
        What the records are held against.

    Attributes
    ----------
    records
        The values of each record.
    follows
        Whether a record comes soon after the one before it, all values of both in their ranges.
        Of one that does not, nothing is found out.
    still
        The channels that repeat their value, of the records in which any does.
    places
        Where the moves belong, ``[C, N]``.
    evidence, unusual
        Of all moves of a record, and how many of them surprise, once they were weighed. The
        evidence is minus infinity where the record does not follow, or a move surprises too much.
    """

    def __init__(
        self, times: Sequence[int], values: Table, known: Known, bounds: Bounds, sizes: MoveSizes
    ) -> None:
        spoken = np.array([known.trusted_at[0], *times])
        silences = spoken[1:] - spoken[:-1]
        held = bounds.hold(values)
        strays = ~(held & (silences > 0) & (silences < bounds.short))
        strays[1:] |= ~held[:-1]
        moves = np.empty_like(values)
        with np.errstate(invalid="ignore"):
            np.subtract(values[:, 1:], values[:, :-1], out=moves[:, 1:])
            np.subtract(values[:, 0], known.trusted, out=moves[:, 0])
        if strays.any():
            moves[:, strays] = 0
        mantissas, exponents = np.frexp(moves)
        self.times, self.values = times, values
        self.records: list[list[float]] = values.T.tolist()
        self.follows: list[bool] = (~strays).tolist()
        self.places = bounds.places(moves, exponents)
        self.evidence = [-math.inf] * len(times)
        self.unusual = [0] * len(times)
        self.still: dict[int, list[int]] = {}
        for record, channel in np.argwhere(((moves == 0) & ~strays).T).tolist():
            self.still.setdefault(record, []).append(channel)
        self._sizes, self._strays = sizes, strays
        self._within = 2 * np.abs(mantissas) - 1
        self._evidence = np.empty(len(times))
        self._surprise = np.empty_like(moves)

    def weigh(self, start: int, end: int, cell: float) -> None:
        """Hold the moves of some records against how large moves were so far.

        Parameters
        ----------
        start, end
            The records.
        cell
            The surprise over which a move needs a closer look.
        """
        part, places = slice(start, end), self.places[:, start:end]
        evidence, lower, rise = self._sizes.tables
        surprise = np.add(
            lower[places], self._within[:, part] * rise[places], out=self._surprise[:, part]
        )
        found = evidence[places].sum(axis=0, out=self._evidence[part])
        closer = (surprise.max(axis=0) > cell) | self._strays[part]
        self.evidence[part] = np.where(closer, -math.inf, found).tolist()
        self.unusual[part] = (surprise > ORDINARY).sum(axis=0).tolist()

    def surprising(self, record: int) -> list[int]:
        """Return the channels of a record whose moves are unusual."""
        surprises = self._surprise[:, record].tolist()
        return [channel for channel, found in enumerate(surprises) if found > ORDINARY]

    def look(self, record: int, still: list[int]) -> Look:
        """Return what a record that follows is at first sight; *still* is as there."""
        evidence = self._evidence[record].item()
        look = Look(self.times[record], self.records[record], evidence, [], [], [], [], still)
        places, surprises = self.places[:, record].tolist(), self._surprise[:, record].tolist()
        for channel, (place, surprise) in enumerate(zip(places, surprises, strict=True)):
            if surprise > ORDINARY:
                look.unusual.append(Unusual(channel, place, surprise))
            else:
                look.ordinary.append(place)
        return look
