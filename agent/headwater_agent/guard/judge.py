"""Which values of a record do not follow from the records of the stream before it.

A stream is judged by its moves from one record to the next, for its level may drift: each channel
by the surprise of its own move, and the record by the evidence of all channels together that it
continues the stream, held against what the stream's records usually have.

What a stream learns of itself must not come from what should be kept out of it, marked or not. So
an ordinary move is trusted at once, and an unusual one only when the other channels speak clearly
for the record, or when the next value is near to it: a lasting change of level is taken up by its
second value, and a stray one is never learned from. Neither is anything in a record in which much
is unusual at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from headwater_agent.events import MarkReason
from headwater_agent.guard.channel import Sensor
from headwater_agent.guard.look import Look
from headwater_agent.guard.moves import COMPARED, ChannelMoves, SavedMoves
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.guard.stretch import NEXT, PAST, Stretch, Table, Trusted

YOUNG = 256
"""Until so many records, those before count half with each doubling: some may have been bad."""

SHARE = 0.4
"""Of the usual evidence that a record must have to continue the stream, but for ``row``."""

CLEAR, MANY = 0.7, 4
"""Of the usual evidence, from so many channels on, with which unusual values are trusted, too."""

FURTHEST = 1_024
"""Records after which another one is taken as the one far apart."""

RENEWED = 128
"""Most records that are judged before what they taught is looked at; a young stream's are fewer."""

FEW = 32
"""Fewer records up to a renewal are judged faster one by one."""

Marks = dict[int, MarkReason]
"""Of a record: the reason for each channel that is marked."""

_PACE, _HASTE, _STEADY = 0.05, 5.0, 100
"""How fast the usual evidence follows, in nats a record; the first 100 count more."""


class SavedJudge(msgspec.Struct, array_like=True):
    """What :meth:`Judge.save` gives."""

    records: int
    usual: float
    moves: SavedMoves


class Judge:
    """The judge of one stream's records.

    Parameters
    ----------
    sensors
        One for each channel.
    settings
        From which surprise on a value is marked.
    """

    def __init__(self, sensors: Sequence[Sensor], settings: GuardSettings) -> None:
        self._records = 0
        self._plan(0)
        self._usual = 0.0
        """The evidence that half of the records exceed."""
        self._moves = ChannelMoves(sensors, settings.stuck or math.inf)
        self._settings = settings
        self._few = 1 + len(sensors) / 5
        self._clear = self._few if len(sensors) >= MANY else 0
        """Up to how many unusual moves a record is learned from, and up to how many it may be."""

    def judge(self, time: int, values: list[float]) -> Marks:
        """Say which values of a record do not follow from those before it.

        Parameters
        ----------
        time
            Of the record. Where a channel has spoken later already, it is not judged.
        values
            One for each channel, NaN where it says nothing.

        Returns
        -------
        dict
            The reason for each channel that is marked.
        """
        self._records += 1
        if self._records == self._renewal:
            self._renew(self._records)
        return self._decide(self._moves.look(time, values))

    def judge_all(self, times: Sequence[int], values: Table) -> dict[int, Marks]:
        """Judge records as :meth:`judge` does one after the other.

        Parameters
        ----------
        times
            Of N records, at least one.
        values
            Of the channels, ``[C, N]``.

        Returns
        -------
        dict
            The marks of each record that has any, by its place.
        """
        marks: dict[int, Marks] = {}
        stretch = self._moves.stretch(times, values)
        start = 0
        while start < len(times):
            number = self._records + 1
            if number == self._renewal:
                self._renew(number)
            end = min(len(times), start + self._renewal - number)
            if end - start < FEW:
                for at in range(start, end):
                    if found := self.judge(times[at], stretch.record(at)):
                        marks[at] = found
            else:
                self._judge_stretch(stretch, start, end, marks)
            start = end
        return marks

    def _judge_stretch(
        self, stretch: Stretch, start: int, end: int, marks: dict[int, Marks]
    ) -> None:
        """Judge records that come before the next renewal."""
        moves, number = self._moves, self._records + 1
        stretch.weigh(start, end, self._settings.cell)
        trusted = bytearray(len(stretch.times)), bytearray(len(stretch.times))
        at = start
        while at < end:
            whole = moves.goes_on(stretch, at)
            if whole:
                at = self._pass(stretch, at, end, trusted, marks)
                if at == end:
                    break
            self._records += 1
            if not (whole and self._leave_out(stretch, at, marks)):
                look = moves.look_at(stretch, at, whole=whole)
                if found := self._decide(look):
                    marks[at] = found
            at += 1
        moves.count(stretch, start, (trusted[NEXT][start:end], trusted[PAST][start:end]), number)

    def _pass(
        self, stretch: Stretch, start: int, end: int, trusted: Trusted, marks: dict[int, Marks]
    ) -> int:
        """Take in records up to the first one that needs a closer look; return its place.

        The others are trusted whole, or nothing is learned of them and the next one is so.
        """
        moves, row, few, clear = self._moves, self._settings.row, self._few, self._clear
        usual, number, still = self._usual, self._records, stretch.still
        repeats, back, since, at = moves.repeats, usual, NEXT, start
        evidence, unusual, whole = stretch.evidence[NEXT], stretch.unusual[NEXT], trusted[NEXT]
        while at < end:
            found, several = evidence[at], unusual[at]
            least = SHARE * usual - row
            if found < least or (several and (several > clear or found < CLEAR * usual)):
                if since == PAST or found < least or several <= few:
                    break
                since, back = PAST, usual
                evidence, unusual = stretch.evidence[PAST], stretch.unusual[PAST]
            elif since == NEXT:
                whole[at] = True
                if repeats or at in still[NEXT]:
                    repeats = self._repeat(still[NEXT], at, marks)
            else:
                trusted[PAST][at] = True
                if repeats or at - 1 in still[NEXT] or at in still[PAST]:
                    self._repeat(still[NEXT], at - 1, marks)
                    repeats = self._repeat(still[PAST], at, marks)
                since, evidence, unusual = NEXT, stretch.evidence[NEXT], stretch.unusual[NEXT]
            number += 1
            haste = _HASTE / number if number < _STEADY else _PACE
            usual += haste if found >= usual else -haste
            at += 1
        if since == PAST:
            at, number, usual = at - 1, number - 1, back
        self._usual, self._records = usual, number
        if at > start:
            moves.go_on(stretch, at - 1, past=bool(trusted[PAST][at - 1]))
        return at

    def _leave_out(self, stretch: Stretch, at: int, marks: dict[int, Marks]) -> bool:
        """Learn nothing of a record in which much is unusual; say whether this is such a one."""
        found, several = stretch.evidence[NEXT][at], stretch.unusual[NEXT][at]
        if several <= self._few or found < SHARE * self._usual - self._settings.row:
            return False
        self._compare_with_usual(found)
        self._repeat(stretch.still[NEXT], at, marks)
        self._moves.doubt_unusual(stretch, at)
        return True

    def _repeat(self, still: Mapping[int, Sequence[int]], at: int, marks: dict[int, Marks]) -> bool:
        """Count what a record repeats, and mark it where it is stuck; say whether it repeats."""
        for channel in self._moves.repeat(still.get(at, ())):
            if self._moves.is_stuck(channel):
                marks.setdefault(at, {})[channel] = "stuck"
        return at in still

    def _decide(self, look: Look) -> Marks:
        """Say which values of a record do not continue the stream, and learn from the others."""
        moves = self._moves
        marks = self._mark_beyond(look) if look.beyond else {}
        least = SHARE * self._usual - self._settings.row
        if look.evidence < least:
            look.evidence = max(look.evidence, moves.evidence_since_before(look))
        if look.evidence >= least or look.measured <= 1:
            self._take_in(look, marks)
        elif moves.evidence_since_doubted(look) >= least:
            moves.settle(look, look.said())
        else:
            moves.doubt(look, look.said())
            marks |= dict.fromkeys(look.said(), "mixed")
        for channel in look.still:
            if moves.is_stuck(channel):
                marks.setdefault(channel, "stuck")
        return marks

    def save(self) -> SavedJudge:
        """Return everything that later decisions depend on, to be encoded at once."""
        return SavedJudge(self._records, self._usual, self._moves.save())

    def restore(self, saved: SavedJudge) -> None:
        """Go on where :meth:`save` was called.

        Raises
        ------
        ValueError
            When it is of another model.
        """
        self._moves.restore(saved.moves)
        self._records, self._usual = saved.records, saved.usual
        self._plan(saved.records)

    def _mark_beyond(self, look: Look) -> Marks:
        """Say why values outside their ranges are there."""
        marks: Marks = {}
        for channel in look.beyond:
            if math.isinf(look.values[channel]):
                marks[channel] = "infinite"
            elif self._moves.comes_in_foreign_unit(look, channel):
                marks[channel] = "unit"
            else:
                marks[channel] = "range"
        return marks

    def _take_in(self, look: Look, marks: Marks) -> None:
        """Learn from a record that continues the stream, and mark the values that do not."""
        usual, cell, unusual = self._usual, self._settings.cell, look.unusual
        self._compare_with_usual(look.evidence)
        learns = not look.beyond
        if unusual:
            confirming, measured = self._moves.confirming(look), look.measured
            learns = learns and len(unusual) - len(confirming) <= 1 + measured / 5
            clear = learns and measured >= MANY and look.evidence >= CLEAR * usual
            for one in unusual:
                confirms = one.channel in confirming
                if clear and one.surprise <= cell and not confirms:
                    look.ordinary.append(one.place)
                elif one.surprise > cell and self._moves.comes_in_foreign_unit(look, one.channel):
                    marks[one.channel] = "unit"
                elif learns and confirms:
                    self._moves.settle(look, [one.channel])
                else:
                    self._moves.doubt(look, [one.channel])
                    if one.surprise > cell and not confirms:
                        marks[one.channel] = "spike"
        if learns:
            self._moves.trust(look)
            if self._records % COMPARED == 0:
                self._moves.compare(look)

    def _compare_with_usual(self, evidence: float) -> None:
        """Let the usual evidence follow that of a record."""
        haste = _HASTE / self._records if self._records < _STEADY else _PACE
        self._usual += haste if evidence >= self._usual else -haste

    def _renew(self, number: int) -> None:
        """Judge by what was learned up to now, from the record of this number on."""
        self._plan(number)
        doubled = number & (number - 1) == 0
        self._moves.renew(fade=doubled and number <= YOUNG)
        if doubled or number % FURTHEST == 0:
            self._moves.look_further_back()

    def _plan(self, number: int) -> None:
        """Set after which record what was learned is looked at next: about each sixteenth."""
        every = min(1 << max(number.bit_length() - 5, 0), RENEWED)
        self._renewal = (number // every + 1) * every
