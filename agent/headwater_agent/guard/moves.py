"""What is taken for true of a stream's channels, and how surprising their next values are.

A move is measured from the newest *trusted* value. What a *doubted* value was is decided by the one
that follows it. Standing still is no move, for a channel at rest (no rain, a closed valve) tells
nothing about how far it goes once it moves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from headwater_agent.guard.channel import Sensor
from headwater_agent.guard.known import Doubt, Known
from headwater_agent.guard.look import Look, Unusual
from headwater_agent.guard.reach import reach
from headwater_agent.guard.sizes import BINS, NEAR, ORDINARY, MoveSizes
from headwater_agent.guard.stretch import NEXT, Stretch, Table, Trusted, bounds

STANDING = 6
"""Repetitions after which a new level that does not move at all confirms itself."""

SHORTEST = 12
"""Repetitions of a value that are never a stuck sensor."""

COMPARED = 4
"""One record in so many is compared with the one far apart."""

_UNKNOWN = -1


class SavedMoves(msgspec.Struct, array_like=True):
    """What :meth:`ChannelMoves.save` gives."""

    known: Known
    doubts: dict[int, Doubt]
    counts: bytes
    fresh: bytes


class ChannelMoves:
    """The moves of one stream's channels.

    Parameters
    ----------
    sensors
        What is known of each channel beforehand.
    stuck
        How many times longer than ever before a channel repeats a value that is stuck.
    """

    def __init__(self, sensors: Sequence[Sensor], stuck: float) -> None:
        self._sensors = tuple(sensors)
        self._stuck = stuck
        self._apart = len(sensors) * BINS
        self._period = sensors[0].period
        self._short = int(1.5 * self._period)
        self._long = max(self._short, sensors[0].gap + 1)
        self._limits = [
            (at // BINS, sensor.minimum, sensor.maximum, at, at + BINS - 1 - sensor.octave)
            for at, sensor in zip(range(0, self._apart, BINS), sensors, strict=True)
        ]
        """Of each channel its index and range, the place of no move, and that of an octave of 0."""
        self._bounds = bounds(self._sensors)
        self._sizes = MoveSizes(len(sensors))
        self._known = Known.nothing(sensors)
        self._doubts: dict[int, Doubt] = {}

    def look(self, time: int, values: list[float]) -> Look:
        """Measure the move of each channel; a NaN says nothing.

        Nothing is learned yet but for how long each repeats itself. What the loop does not know to
        be ordinary gets a closer look.
        """
        known, sizes, frexp = self._known, self._sizes, math.frexp
        evidence, total = sizes.evidence, 0.0
        look = Look(time, values, 0.0, [], [], [], [], [])
        ordinary, since, soon = look.ordinary, time - self._long, time - self._short
        if self._doubts and time <= max(doubt.time for doubt in self._doubts.values()):
            since = time
        for (channel, lowest, highest, rest, offset), value, last, at, run, most in zip(
            self._limits,
            values,
            known.trusted,
            known.trusted_at,
            known.runs,
            sizes.ordinary,
            strict=True,
        ):
            if not since < at < time or not lowest <= value <= highest:
                total += self._look_closer(look, channel)
                continue
            place, move = rest, value - last
            if move:
                if at <= soon:
                    move /= reach(time - at, self._period)
                mantissa, exponent = frexp(move)
                exponent += offset
                place = exponent if exponent > rest else rest + 1
                if run:
                    self._end_run(channel)
                if place > most:
                    surprise = sizes.surprise[place] + (2 * abs(mantissa) - 1) * sizes.rise[place]
                    if surprise > ORDINARY:
                        look.unusual.append(Unusual(channel, place, surprise))
                        total += evidence[place]
                        continue
            else:
                known.runs[channel] = run + 1
                if run >= SHORTEST:
                    look.still.append(channel)
            total += evidence[place]
            ordinary.append(place)
        look.evidence = total
        return look

    def stretch(self, times: Sequence[int], values: Table) -> Stretch:
        """Measure records ``[C, N]``, each from the one before it, all at once."""
        return Stretch(times, values, self._known, self._bounds, self._sizes)

    def repeat(self, still: Sequence[int]) -> list[int]:
        """Count that these channels repeat their value and the others do not; return as a look."""
        runs = self._known.runs
        for channel, run in enumerate(runs):
            if run and channel not in still:
                self._end_run(channel)
        for channel in still:
            runs[channel] += 1
        return [channel for channel in still if runs[channel] > SHORTEST]

    @property
    def repeats(self) -> bool:
        """Whether any channel has repeated its value."""
        return any(self._known.runs)

    def look_at(self, stretch: Stretch, record: int, *, whole: bool) -> Look:
        """Return what :meth:`look` does; quicker where the one before was trusted *whole*."""
        if whole and stretch.follows[record]:
            return stretch.look(record, self.repeat(stretch.still[NEXT].get(record, ())))
        return self.look(stretch.times[record], stretch.record(record))

    def _look_closer(self, look: Look, channel: int) -> float:
        """Say of a value what it is, and return the evidence of its move."""
        value, known, doubt = look.values[channel], self._known, self._doubts.get(channel)
        _, lowest, highest, _, _ = self._limits[channel]
        if not lowest <= value <= highest:
            if not math.isnan(value):
                look.beyond.append(channel)
            return 0.0
        silence = look.time - known.trusted_at[channel]
        if silence <= 0 or (doubt is not None and look.time <= doubt.time):
            return 0.0
        move = value - known.trusted[channel]
        if move:
            self._end_run(channel)
        else:
            known.runs[channel] += 1
            if known.runs[channel] > SHORTEST:
                look.still.append(channel)
        place, within = self._measure(channel, move, silence)
        if place == _UNKNOWN:
            look.begun.append(channel)
            return 0.0
        surprise = self._sizes.surprise[place] + within * self._sizes.rise[place]
        if place > self._sizes.ordinary[channel] and surprise > ORDINARY:
            look.unusual.append(Unusual(channel, place, surprise))
        else:
            look.ordinary.append(place)
        return self._sizes.evidence[place]

    def evidence_since_before(self, look: Look) -> float:
        """Return the evidence as measured from the values that were trusted before the newest."""
        found, known = 0.0, self._known
        for channel in look.said():
            move = look.values[channel] - known.before[channel]
            found += self._evidence(channel, move, look.time - known.trusted_at[channel])
        return found

    def evidence_since_doubted(self, look: Look) -> float:
        """Return the evidence as measured from the doubted values; to repeat one is none."""
        found = 0.0
        for channel in look.said():
            doubt = self._doubts.get(channel)
            if doubt is not None and doubt.value != look.values[channel]:
                move, silence = look.values[channel] - doubt.value, look.time - doubt.time
                found += self._evidence(channel, move, silence)
        return found

    def trust(self, look: Look) -> None:
        """Learn the ordinary moves of a record; the next ones are measured from here."""
        known, fresh = self._known, self._sizes.fresh
        for place in look.ordinary:
            fresh[place] += 1
        if len(look.ordinary) == len(self._sensors):
            known.before, known.trusted = known.trusted, look.values.copy()
            known.trusted_at = [look.time] * len(self._sensors)
            self._doubts.clear()
            return
        for place in look.ordinary:
            self._follow(place // BINS, look.values[place // BINS], look.time)
        for channel in look.begun:
            self._follow(channel, look.values[channel], look.time)

    def go_on(self, stretch: Stretch, record: int, *, past: bool) -> None:
        """Measure the next moves from a record; *past* as :meth:`.Stretch.before` has it."""
        known = self._known
        known.before = stretch.before(record, past=past)
        known.trusted = stretch.record(record)
        known.trusted_at = [stretch.times[record]] * len(known.trusted)

    def goes_on(self, stretch: Stretch, record: int) -> bool:
        """Say whether a record is measured from all values of the one before it."""
        known = self._known
        if self._doubts or not record:
            return not self._doubts and known.is_all_of(known.trusted_at[0])
        before = record - 1
        return known.is_all_of(stretch.times[before]) and known.trusted == stretch.record(before)

    def count(self, stretch: Stretch, start: int, trusted: Trusted, number: int) -> None:
        """Learn the moves of records, and how far some are from those long before.

        Parameters
        ----------
        start
            The first record.
        trusted
            Whether it is, and each of those after it.
        number
            That of the first record.
        """
        met, ordinary = stretch.met(start, trusted)
        known, first = self._known, -number % COMPARED
        end = start + ordinary.shape[1]
        compared = ordinary[:, first::COMPARED] & ~np.isnan(known.far)[:, None]
        apart = stretch.apart(known.far)[:, start + first : end : COMPARED][compared]
        fresh = np.frombuffer(self._sizes.fresh, np.uint8)
        places = np.concatenate([met, apart + self._apart])
        fresh += np.bincount(places, minlength=len(fresh)).astype(np.uint8)

    def compare(self, look: Look) -> None:
        """Learn how far the ordinary values of a record are from those long before."""
        values, far, fresh, frexp = look.values, self._known.far, self._sizes.fresh, math.frexp
        for ordinary in look.ordinary:
            channel, _, _, rest, offset = self._limits[ordinary // BINS]
            place, move = rest, values[channel] - far[channel]
            if move:
                exponent = frexp(move)[1] + offset
                place = exponent if exponent > rest else rest + 1
            if not math.isnan(move):
                fresh[place + self._apart] += 1

    def look_further_back(self) -> None:
        """Compare with what was trusted later than so far."""
        known = self._known
        known.far, known.next_far = known.next_far, known.trusted.copy()

    def renew(self, *, fade: bool) -> None:
        """Judge by what was learned up to now; with *fade* what was learned so far counts half."""
        self._sizes.renew(fade=fade)

    def doubt(self, look: Look, channels: Iterable[int]) -> None:
        """Remember values that do not follow from the trusted ones."""
        for channel in channels:
            value, doubt = look.values[channel], self._doubts.get(channel)
            repeated = doubt.repeated + 1 if doubt is not None and doubt.value == value else 0
            self._doubts[channel] = Doubt(value, look.time, repeated)

    def doubt_unusual(self, stretch: Stretch, record: int) -> None:
        """Remember the unusual values of a record where none were doubted before."""
        values, time = stretch.record(record), stretch.times[record]
        for channel in stretch.surprising(record):
            self._doubts[channel] = Doubt(values[channel], time, 0)

    def confirming(self, look: Look) -> list[int]:
        """Return the channels whose unusual value shows the doubted one to be a new level.

        It must be near that one, and nearer than to the trusted one. To repeat it is not enough,
        until it did so for long: a broken sensor repeats itself, too.
        """
        doubts = self._doubts
        if not doubts:
            return []
        return [
            one.channel
            for one in look.unusual
            if one.channel in doubts and self._confirms(look, one, doubts[one.channel])
        ]

    def settle(self, look: Look, channels: Iterable[int]) -> None:
        """Take up the level that values confirm, and learn the moves that led to it."""
        for channel in channels:
            doubt = self._doubts.get(channel)
            if doubt is not None:
                self._move_to(channel, doubt.value, doubt.time)
            self._move_to(channel, look.values[channel], look.time)

    def comes_in_foreign_unit(self, look: Look, channel: int) -> bool:
        """Say whether a value continues the channel if it is taken in another unit.

        If so, the channel is followed in its own.
        """
        known, sensor = self._known, self._sensors[channel]
        silence = look.time - known.trusted_at[channel]
        if not self._sizes.known[channel] or silence > sensor.gap:
            return False
        for convert in sensor.foreign:
            meant = convert(look.values[channel])
            possible = sensor.minimum <= meant <= sensor.maximum
            move = meant - known.trusted[channel]
            if possible and self._surprise(channel, move, silence) <= ORDINARY:
                known.trusted[channel], known.trusted_at[channel] = meant, look.time
                self._doubts.pop(channel, None)
                return True
        return False

    def is_stuck(self, channel: int) -> bool:
        """Say whether it used to move and now repeats itself much longer than ever."""
        run = self._known.runs[channel]
        long = run > SHORTEST and run > self._stuck * self._known.longest[channel]
        return long and self._sizes.known[channel]

    def save(self) -> SavedMoves:
        """Return everything that later decisions depend on, to be encoded at once."""
        counts, fresh = self._sizes.save()
        return SavedMoves(self._known, self._doubts, counts, fresh)

    def restore(self, saved: SavedMoves) -> None:
        """Go on where :meth:`save` was called.

        Raises
        ------
        ValueError
            When it is of another number of channels.
        """
        lengths = {len(numbers) for numbers in msgspec.structs.astuple(saved.known)}
        if lengths != {len(self._sensors)}:
            raise ValueError(f"it is not of {len(self._sensors)} channels")
        self._sizes.restore(saved.counts, saved.fresh)
        self._known, self._doubts = saved.known, saved.doubts

    def _confirms(self, look: Look, one: Unusual, doubt: Doubt) -> bool:
        move, silence = look.values[one.channel] - doubt.value, look.time - doubt.time
        if not move:
            return doubt.repeated + 1 >= STANDING
        if silence > self._sensors[one.channel].gap:
            return False
        return self._surprise(one.channel, move, silence) <= min(NEAR, one.surprise)

    def _move_to(self, channel: int, value: float, time: int) -> None:
        """Trust a value, and learn the move to it."""
        move = value - self._known.trusted[channel]
        place, _ = self._measure(channel, move, time - self._known.trusted_at[channel])
        if place != _UNKNOWN:
            self._sizes.fresh[place] += 1
        self._follow(channel, value, time)

    def _follow(self, channel: int, value: float, time: int) -> None:
        known = self._known
        known.before[channel] = known.trusted[channel]
        known.trusted[channel], known.trusted_at[channel] = value, time
        self._doubts.pop(channel, None)

    def _evidence(self, channel: int, move: float, silence: int) -> float:
        place, _ = self._measure(channel, move, silence)
        return 0.0 if place == _UNKNOWN else self._sizes.evidence[place]

    def _surprise(self, channel: int, move: float, silence: int) -> float:
        """Return minus the logarithm of the share of moves that are at least so large."""
        place, within = self._measure(channel, move, silence)
        if place == _UNKNOWN or not move:
            return 0.0
        return self._sizes.surprise[place] + within * self._sizes.rise[place]

    def _measure(self, channel: int, move: float, silence: int) -> tuple[int, float]:
        """Return the bin of a move, and how far into it, from 0 to 1."""
        if silence >= self._short:
            if silence > self._sensors[channel].gap:
                return _UNKNOWN, 0.0
            move /= reach(silence, self._period)
        if math.isnan(move):
            return _UNKNOWN, 0.0
        _, _, _, still, offset = self._limits[channel]
        if not move:
            return still, 0.0
        mantissa, exponent = math.frexp(move)
        place = exponent + offset
        if not still < place < still + BINS:
            place = still + 1 if place <= still else still + BINS - 1
        return place, 2 * abs(mantissa) - 1

    def _end_run(self, channel: int) -> None:
        """Remember how long a value was repeated; a run that was held for stuck only in part."""
        known = self._known
        run, longest = known.runs[channel], known.longest[channel]
        if run > longest:
            known.longest[channel] = 2 * longest + SHORTEST if self.is_stuck(channel) else run
        known.runs[channel] = 0
