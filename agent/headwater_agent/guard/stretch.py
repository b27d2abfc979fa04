"""Records that follow one another, each measured from the ones before it, all at once.

From the record before it a record's moves are measured wherever every value of that one was
trusted, and from the one before that where nothing of the one in between was. What is found here
is then, to the last bit, what :meth:`.ChannelMoves.look` would find.
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
from headwater_agent.guard.reach import reaches
from headwater_agent.guard.sizes import BINS, NEAR, ORDINARY, MoveSizes

Flags = NDArray[np.bool_]
Places = NDArray[np.int64]
Table = NDArray[np.float64]

Trusted = tuple[bytearray, bytearray]
"""Whether records are trusted, measured from the one before and measured past it."""


NEXT, PAST = 0, 1
"""What a record is measured from: the one before it, and the one before that."""


class Bounds(msgspec.Struct, frozen=True, eq=False):
    """What channels are held against, each ``[C, 1]``.

    Their ranges, and in :class:`.MoveSizes` the place of no move and that of an octave of 0. After
    ``short`` milliseconds a move is not one from a record to the next, and after more than ``gap``
    the channels begin anew.
    """

    lowest: Table
    highest: Table
    rest: Places
    offset: Places
    period: int
    short: int
    gap: int

    def hold(self, values: Table) -> Flags:
        """Say of records ``[C, N]`` whether all values are in their ranges."""
        held: Flags = np.all((values >= self.lowest) & (values <= self.highest), axis=0)
        return held

    def places(self, moves: Table, exponents: NDArray[np.int32]) -> Places:
        """Return where moves ``[..., C, N]`` in the ranges belong, by their binary exponents."""
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
        period=sensors[0].period,
        short=int(1.5 * sensors[0].period),
        gap=sensors[0].gap,
    )


class Stretch:
    """Records of a stream, each measured from the ones before it.

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
    follows
        Whether a record comes soon after the one before it, all values of both in their ranges.
        Of one that does not, nothing is found out.
    still
        The channels that repeat their value, of the records in which any does.
    places
        Where the moves belong, ``[2, C, N]``.
    evidence, unusual
        Of all moves of a record, and how many of them surprise, once they were weighed; past a
        record only those that do not confirm what is doubted of it. The evidence is minus infinity
        where the record does not follow, or a move surprises too much.

    All but ``follows`` are there twice, for ``NEXT`` and for ``PAST``.
    """

    def __init__(
        self, times: Sequence[int], values: Table, known: Known, bounds: Bounds, sizes: MoveSizes
    ) -> None:
        spoken = np.fromiter([known.trusted_at[0], *times], np.int64)
        since, over = spoken[1:] - spoken[:-1], spoken[2:] - spoken[:-2]
        held = bounds.hold(values)
        strays = np.ones((2, 1, len(times)), np.bool_)
        near, past = strays[NEXT, 0], strays[PAST, 0, 1:]
        np.logical_not(held & (since > 0) & (since < bounds.short), out=near)
        near[1:] |= ~held[:-1]
        near[0] |= not known.is_all_of(known.trusted_at[0])
        past[:] = near[1:] | near[:-1] | (over > bounds.gap)
        moves = np.zeros((2, *values.shape))
        seen = np.column_stack([known.trusted, values])
        with np.errstate(invalid="ignore"):
            np.subtract(seen[:, 1:], seen[:, :-1], out=moves[NEXT])
            np.subtract(seen[:, 2:], seen[:, :-2], out=moves[PAST, :, 1:])
            moves[PAST, :, 1:] /= np.where(over < bounds.short, 1.0, reaches(over, bounds.period))
        np.copyto(moves, 0, where=strays)
        mantissas, exponents = np.frexp(moves)
        rests = moves == 0
        self.times = times
        self.follows: list[bool] = (~near).tolist()
        self.places = bounds.places(moves, exponents)
        self.evidence = [-math.inf] * len(times), [-math.inf] * len(times)
        self.unusual = [0] * len(times), [0] * len(times)
        self.still = _places_of(rests & ~strays)
        self._bounds, self._sizes, self._strays, self._seen = bounds, sizes, strays[:, 0], seen
        self._within = 2 * np.abs(mantissas) - 1
        self._near = np.where(rests[NEXT], math.nan, NEAR)  # to stand still confirms nothing
        self._evidence = np.empty((2, len(times)))
        self._surprise = np.empty_like(moves)
        self._confirms = np.zeros(values.shape, np.bool_)
        self._far: list[float] = []
        self._apart: Places = self.places[NEXT]

    def record(self, at: int) -> list[float]:
        """Return the values of a record; those before the first are what it is measured from."""
        values: list[float] = self._seen[:, at + 1].tolist()
        return values

    def before(self, record: int, *, past: bool) -> list[float]:
        """Return what was trusted before the values of a record, where these are.

        It lies *past* the record in between, but for the values of that one which are confirmed.
        """
        values = self._seen[:, record - past]
        if past:
            values = np.where(self._confirms[:, record], self._seen[:, record], values)
        before: list[float] = values.tolist()
        return before

    def weigh(self, start: int, end: int, cell: float) -> None:
        """Hold the moves of some records against how large moves were so far.

        Parameters
        ----------
        start, end
            The records.
        cell
            The surprise over which a move needs a closer look.
        """
        part, later = slice(start, end), slice(start + 1, end)
        evidence, lower, rise = self._sizes.tables.take(self.places[..., part], axis=1)
        rise *= self._within[..., part]
        surprise = np.add(lower, rise, out=self._surprise[..., part])
        found = evidence.sum(axis=1, out=self._evidence[:, part])
        closer = surprise.max(axis=1) > cell
        closer |= self._strays[:, part]
        unusual = surprise > ORDINARY
        confirms = self._confirms[:, later]
        most = np.minimum(surprise[PAST, :, 1:], self._near[:, later])
        np.less_equal(surprise[NEXT, :, 1:], most, out=confirms)
        confirms &= unusual[PAST, :, 1:] & unusual[NEXT, :, :-1]
        unusual[PAST, :, 1:] ^= confirms
        evidences = np.where(closer, -math.inf, found).tolist()
        numbers = unusual.sum(axis=1).tolist()
        for way in NEXT, PAST:
            self.evidence[way][part] = evidences[way]
            self.unusual[way][part] = numbers[way]

    def surprising(self, record: int) -> list[int]:
        """Return the channels of a record whose moves are unusual."""
        surprises = self._surprise[NEXT, :, record].tolist()
        return [channel for channel, found in enumerate(surprises) if found > ORDINARY]

    def look(self, record: int, still: list[int]) -> Look:
        """Return what a record that follows is at first sight; *still* is as there."""
        evidence = self._evidence[NEXT, record].item()
        look = Look(self.times[record], self.record(record), evidence, [], [], [], [], still)
        places = self.places[NEXT, :, record].tolist()
        surprises = self._surprise[NEXT, :, record].tolist()
        for channel, (place, surprise) in enumerate(zip(places, surprises, strict=True)):
            if surprise > ORDINARY:
                look.unusual.append(Unusual(channel, place, surprise))
            else:
                look.ordinary.append(place)
        return look

    def met(self, start: int, trusted: Trusted) -> tuple[Places, Flags]:
        """Return where the moves to trusted records belong, and which of their moves are ordinary.

        Two moves lead to a value that confirms a doubted one: over that one.

        Parameters
        ----------
        start
            The first record.
        trusted
            Whether it is, and each of those after it.
        """
        near, past = (np.frombuffer(way, np.bool_) for way in trusted)
        part = slice(start, start + len(near))
        settled = self._confirms[:, part] & past
        met = np.empty((2, *settled.shape), np.bool_)
        np.logical_or(near, settled, out=met[NEXT])
        met[NEXT, :, :-1] |= settled[:, 1:]
        np.greater(past, settled, out=met[PAST])
        places: Places = self.places[..., part][met]
        return places, near | met[PAST]

    def apart(self, far: list[float]) -> Places:
        """Return where the moves from what was trusted long before to each record belong."""
        if far is not self._far:
            moves = self._seen[:, 1:] - np.array(far)[:, None]
            self._far, self._apart = far, self._bounds.places(moves, np.frexp(moves)[1])
        return self._apart


def _places_of(flags: Flags) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Return the channels that are set, of the records in which any is, for NEXT and PAST."""
    found: tuple[dict[int, list[int]], dict[int, list[int]]] = {}, {}
    if flags.any():
        for way, channel, record in np.argwhere(flags).tolist():
            found[way].setdefault(record, []).append(channel)
    return found
