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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from headwater_agent.events import MarkReason
from headwater_agent.guard.channel import SHORTEST, ChannelMoves, Reference, SavedChannel, Sensor
from headwater_agent.guard.settings import GuardSettings

YOUNG = 256
"""Until so many records, those before count half with each doubling: some may have been bad."""

SHARE = 0.4
"""Of the usual evidence that a record must have to continue the stream, but for ``row``."""

CLEAR, MANY = 0.7, 4
"""Of the usual evidence, from so many channels on, with which unusual values are trusted, too."""

FURTHEST = 1_024
"""Records after which another one is taken as the one far apart."""

COMPARED = 4
"""One record in so many is compared with the one far apart."""

_PACE, _HASTE = 0.05, 5.0
"""How fast the usual evidence follows, in nats a record; the first ones count more."""

Verdict = Literal["clear", "continues", "settled", "stranger"]
Cells = Sequence[tuple[int, float]]
"""Channels and their values."""


@dataclass(frozen=True, slots=True)
class _Unusual:
    """A value whose move is not ordinary."""

    channel: int
    value: float
    surprise: float
    confirms: bool


class StreamMoves:
    """The moves of one stream.

    Parameters
    ----------
    sensors
        One for each channel.
    settings
        From which surprise on a value is marked.

    Attributes
    ----------
    records
        How many were judged.
    usual
        The evidence that half of the records exceed.
    """

    def __init__(self, sensors: Sequence[Sensor], settings: GuardSettings) -> None:
        self.records = 0
        self.usual = 0.0
        self._channels = tuple(ChannelMoves(sensor) for sensor in sensors)
        self._settings = settings

    def judge(self, time: int, cells: Cells, impossible: Cells) -> dict[int, MarkReason]:
        """Say which values of a record do not follow from those before it.

        Parameters
        ----------
        time
            Of the record. Where a channel has spoken later already, it is not judged.
        cells
            What lies in the channels' ranges.
        impossible
            What lies outside of them.

        Returns
        -------
        dict
            The reason for each channel that is marked.
        """
        self._grow_older()
        ordinary: list[tuple[int, float]] = []
        unusual: list[_Unusual] = []
        factor = self._settings.stuck or math.inf
        for index, value in cells:
            channel = self._channels[index]
            if channel.is_late(time):
                continue
            surprise = channel.look(value, time, factor)
            if surprise:
                confirms = channel.confirms(value, time, surprise)
                unusual.append(_Unusual(index, value, surprise, confirms))
            else:
                ordinary.append((index, value))
        marks = self._marks(time, ordinary, unusual, impossible)
        for index, _ in ordinary:
            channel = self._channels[index]
            if channel.run > SHORTEST and channel.is_stuck(factor):
                marks.setdefault(index, "stuck")
        return marks

    def save(self) -> list[SavedChannel]:
        """Return everything that later decisions depend on, beside the attributes."""
        return [channel.save() for channel in self._channels]

    def restore(self, saved: Sequence[SavedChannel]) -> None:
        """Go on where :meth:`save` was called.

        Raises
        ------
        ValueError
            When it is of another model.
        """
        for channel, one in zip(self._channels, saved, strict=True):
            channel.restore(one)

    def _marks(
        self, time: int, ordinary: Cells, unusual: Sequence[_Unusual], impossible: Cells
    ) -> dict[int, MarkReason]:
        measured = [*ordinary, *((one.channel, one.value) for one in unusual)]
        verdict = self._weigh(time, measured)
        marks: dict[int, MarkReason] = {}
        for index, value in impossible:
            foreign = self._channels[index].comes_in_foreign_unit(value, time)
            marks[index] = "unit" if foreign else "range"
        if verdict == "stranger":
            for index, value in measured:
                self._channels[index].doubt(value, time)
                marks[index] = "mixed"
            return marks
        if verdict == "settled":
            for index, value in measured:
                self._channels[index].settle(value, time)
            return marks
        doubtful = sum(not one.confirms for one in unusual)
        learns = not impossible and doubtful <= 1 + len(measured) / 5
        if learns:
            self._trust(time, ordinary)
        for one in unusual:
            reason = self._take_in(one, time, learns=learns, clear=verdict == "clear")
            if reason is not None:
                marks[one.channel] = reason
        return marks

    def _weigh(self, time: int, measured: Cells) -> Verdict:
        """Say whether a record continues the stream, is a stranger, or confirms the one before."""
        evidence = self._evidence("trusted", time, measured)
        least = SHARE * self.usual - self._settings.row
        if evidence < least:
            evidence = max(evidence, self._evidence("before", time, measured))
        if evidence < least and len(measured) > 1:
            doubted = self._evidence("doubted", time, measured)
            return "settled" if doubted >= least else "stranger"
        clear = evidence >= CLEAR * self.usual and len(measured) >= MANY
        self.usual += math.copysign(max(_PACE, _HASTE / self.records), evidence - self.usual)
        return "clear" if clear else "continues"

    def _evidence(self, since: Reference, time: int, measured: Cells) -> float:
        return sum(self._channels[index].evidence(since, value, time) for index, value in measured)

    def _trust(self, time: int, ordinary: Cells) -> None:
        for index, value in ordinary:
            self._channels[index].trust(value, time)
        if self.records % COMPARED == 0:
            for index, value in ordinary:
                self._channels[index].compare(value)

    def _take_in(self, one: _Unusual, time: int, *, learns: bool, clear: bool) -> MarkReason | None:
        """Take an unusual value in, and say why it is marked if it is."""
        channel = self._channels[one.channel]
        surprising = one.surprise > self._settings.cell
        if surprising and channel.comes_in_foreign_unit(one.value, time):
            return "unit"
        if one.confirms and learns:
            channel.settle(one.value, time)
            return None
        if clear and learns and not surprising:
            channel.trust(one.value, time)
            return None
        channel.doubt(one.value, time)
        return "spike" if surprising and not one.confirms else None

    def _grow_older(self) -> None:
        self.records += 1
        doubled = self.records & (self.records - 1) == 0
        if doubled and self.records <= YOUNG:
            for channel in self._channels:
                channel.fade()
        if doubled or self.records % FURTHEST == 0:
            for channel in self._channels:
                channel.look_further_back()
