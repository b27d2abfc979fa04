"""The sensors of a device: rows of its stream as records, with the faults that it has."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater_agent.events import Arrived, Floats, Label, Record
from headwater_simulator.scenario.settings import Fault
from headwater_simulator.sources.source import Streams
from headwater_simulator.virtual.member import EPOCH_MS

BLOCK = 256
"""Rows that are read at a time."""

SPIKES = 0.05
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    first: int
    values: Floats
    labels: Floats | None


class Sensors:
    """The stream of one device, read as far as the clock allows.

    Parameters
    ----------
    device
        Its number.
    stream
        What its stream is called; which blocks of time are reserved depends on it.
    streams
        Where its rows come from.
    skew
        Milliseconds that its clock is ahead.
    joins
        Milliseconds before which it measures nothing.
    leaves
        Milliseconds after which it measures nothing; None: it stays.
    faults
        Those that it has.
    rng
        Of the faults.
    """

    def __init__(
        self,
        device: int,
        streams: Streams,
        *,
        stream: str,
        skew: int,
        joins: int,
        leaves: int | None,
        faults: Sequence[Fault],
        rng: np.random.Generator,
    ) -> None:
        facts = streams.facts
        self._device, self._streams, self._skew = device, streams, skew
        self._stream = stream
        self._faults, self._rng = faults, rng
        self._period = int(facts.grid.period)
        self._delay = int(streams.label_delay)
        self._next = -(-joins // self._period)
        self._leaves = leaves
        self._block: _Block | None = None
        self._labels: deque[tuple[int, Label]] = deque()
        self._stuck: dict[int, float] = {}
        scales = facts.scaling.scale if facts.scaling is not None else ()
        spans = [(channel.maximum - channel.minimum) / 10 for channel in facts.channels]
        self._scale = np.array(scales or spans, np.float32)
        self._present = np.ones(len(facts.channels), np.bool_)
        self.records = 0

    def arrived(self, now: int) -> Arrived | None:
        """Return what was measured, and which labels came, by a moment; None where nothing did."""
        if self._leaves is not None:
            now = min(now, self._leaves)
        records = []
        while self._next * self._period <= now:
            row = self._row(self._next)
            if row is None:
                break
            records += self._measured(self._next, *row)
            self._next += 1
        labels = []
        while self._labels and self._labels[0][0] <= now:
            labels.append(self._labels.popleft()[1])
        if not records and not labels:
            return None
        self.records += len(records)
        return Arrived(tuple(records), tuple(labels))

    @property
    def next_ms(self) -> int:
        """When the next record or label comes, at the earliest."""
        record = self._next * self._period
        return min(record, self._labels[0][0]) if self._labels else record

    def skip(self, now: int) -> None:
        """Lose what would have been measured by a moment."""
        self._next = max(self._next, -(-now // self._period))

    def _row(self, number: int) -> tuple[Floats, float | None] | None:
        block = self._block
        if block is None or not block.first <= number < block.first + BLOCK:
            first = number // BLOCK * BLOCK
            rows = self._streams.rows(self._device, first, BLOCK)
            block = self._block = _Block(first, rows.values, rows.labels)
        place = number - block.first
        if place >= len(block.values):
            return None
        label = None if block.labels is None else float(block.labels[place])
        return block.values[place], label

    def _measured(self, number: int, values: Floats, label: float | None) -> list[Record]:
        at = number * self._period
        clock = EPOCH_MS + at + self._skew
        for fault in self._faults:
            if not fault.start <= at < fault.start + fault.length:
                self._stuck.pop(id(fault), None)
                continue
            if fault.kind == "clock-jump":
                clock += round(fault.size * HOUR_MS)
            else:
                values = self._broken(fault, values)
        if label is not None and np.isfinite(label):
            self._labels.append((at + self._delay, Label(label, stream=self._stream, time=clock)))
        if not np.isfinite(values).any():
            return []
        return [Record(self._stream, clock, values, self._present, received=EPOCH_MS + at)]

    def _broken(self, fault: Fault, values: Floats) -> Floats:
        channel = fault.channel
        values = values.copy()
        if fault.kind == "stuck":
            values[channel] = self._stuck.setdefault(id(fault), float(values[channel]))
        elif fault.kind == "unit":
            values[channel] *= np.float32(fault.size)
        elif fault.kind == "spikes" and self._rng.random() < SPIKES:
            values[channel] += np.float32(fault.size) * self._scale[channel]
        return values
