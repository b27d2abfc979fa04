"""Records of one stream joined on the time grid: rows out, in order, each slot at most once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from math import isnan

import msgspec
import numpy as np

from headwater_agent.columns import Cells, RecordRun, RowRun, values_of
from headwater_agent.events import Floats, Record, Row
from headwater_models.manifest import Grid

MAX_OPEN = 4_096
"""Most slots of a stream that may wait for the rest of their records."""

FEW = 16
"""Fewer records are looked at faster one by one."""


class _Open(msgspec.Struct, array_like=True):
    """A slot that is not complete yet: values, presence and marks as raw bytes."""

    slot: int
    values: bytes
    present: bytes
    marked: bytes


class _Progress(msgspec.Struct, array_like=True):
    """What :meth:`StreamRows.progress` encodes."""

    emitted: int | None
    newest: int
    last: bytes
    held: bytes
    open: list[_Open]


class StreamRows:
    """Join the records of one stream.

    A slot is closed as soon as every channel has spoken in it and all earlier slots are closed,
    or when the newest event time is ``lateness`` past its end. Slots in which nothing came are
    emitted as missing rows, unless the silence is longer than ``max_gap``: then nothing is
    emitted for it and the jump in the slot numbers tells the windows to start again.

    Parameters
    ----------
    stream
        Name of the stream.
    grid
        Period, lateness, gap and hold rule.
    channels
        Number of channels C.
    """

    def __init__(self, stream: str, grid: Grid, channels: int) -> None:
        self._stream = stream
        self._grid = grid
        self._channels = channels
        self._gap_slots = grid.max_gap // grid.period
        self._open: dict[int, tuple[Floats, Cells, Cells]] = {}
        self._emitted: int | None = None
        self._newest = -(2**62)
        self._last = np.full(channels, np.nan, np.float32)
        self._held = np.zeros(channels, np.int64)

    def accepts(self, record: Record) -> bool:
        """Say whether the record's slot is still open; a closed one is late or a repetition."""
        slot = record.time // self._grid.period
        return (self._emitted is None or slot > self._emitted) and (
            slot in self._open or len(self._open) < MAX_OPEN
        )

    def follow(self, records: Sequence[Record]) -> bool:
        """Say whether each record is a whole row by itself, and the one after the last."""
        if self._open:
            return False
        period = self._grid.period
        slot = records[0].time // period if self._emitted is None else self._emitted + 1
        if type(records) is RecordRun:
            slots = records.times // period
            follow = np.array_equal(slots, np.arange(slot, slot + len(slots)))
            return follow and _is_true(records.present)
        whole = None
        for slot_of_record, record in enumerate(records, slot):
            if record.time // period != slot_of_record:
                return False
            if record.present is not whole:
                whole = record.present
                if not _is_true(whole):
                    return False
        return True

    def append(self, records: Sequence[Record]) -> Sequence[Row]:
        """Take records that :meth:`follow`, and return their rows."""
        first = records[0].time // self._grid.period
        self._newest = max(self._newest, records[-1].time)
        if len(records) < FEW and not self._grid.hold:
            self._emitted = first + len(records) - 1
            rows = []
            for slot, record in enumerate(records, first):
                values = record.values
                seen = record.present if _is_whole(values) else ~np.isnan(values)
                rows.append(Row(self._stream, slot, values, seen, record.marked is not None))
            return rows
        values = values_of(records)
        missing = np.isnan(values)
        whole = not missing.any()
        if self._grid.hold and not (whole and not self._held.any()):
            nothing = np.zeros(self._channels, np.bool_)
            return [
                self._emit(slot, value, nothing if record.marked is None else record.marked)
                for slot, (value, record) in enumerate(zip(values, records, strict=True), first)
            ]
        self._emitted = first + len(records) - 1
        if self._grid.hold:
            self._last = values[-1]
        return RowRun(self._stream, first, values, ~missing, _marked(records))

    def add(self, record: Record) -> Iterator[Row]:
        """Take an accepted record and yield the rows that it completes, in order.

        A later record for a cell of the same slot replaces the earlier one.
        """
        slot = record.time // self._grid.period
        if slot not in self._open:
            self._open[slot] = self._empty()
        values, present, marked = self._open[slot]
        values[record.present] = record.values[record.present]
        marked[record.present] = False if record.marked is None else record.marked[record.present]
        present |= record.present
        self._newest = max(self._newest, record.time)
        yield from self._close()

    @property
    def newest(self) -> int:
        """The newest event time of any record; below zero where none came."""
        return self._newest

    def finish(self) -> Iterator[Row]:
        """Yield the rows that wait for the rest of their records, and hold nothing over."""
        for slot in sorted(self._open):
            yield from self._missing_before(slot)
            values, _, marked = self._open.pop(slot)
            yield self._emit(slot, values, marked)
        self._last.fill(np.nan)
        self._held.fill(0)

    def progress(self) -> bytes:
        """Encode everything that a restart needs to go on exactly here."""
        opened = [
            _Open(slot, *(cells.tobytes() for cells in found)) for slot, found in self._open.items()
        ]
        return msgspec.msgpack.encode(
            _Progress(
                self._emitted, self._newest, self._last.tobytes(), self._held.tobytes(), opened
            )
        )

    def restore(self, progress: bytes) -> None:
        """Go on where :meth:`progress` was taken."""
        saved = msgspec.msgpack.decode(progress, type=_Progress)
        self._emitted, self._newest = saved.emitted, saved.newest
        self._last = np.frombuffer(saved.last, np.float32).copy()
        self._held = np.frombuffer(saved.held, np.int64).copy()
        self._open = {
            item.slot: (
                np.frombuffer(item.values, np.float32).copy(),
                np.frombuffer(item.present, np.bool_).copy(),
                np.frombuffer(item.marked, np.bool_).copy(),
            )
            for item in saved.open
        }

    def _close(self) -> Iterator[Row]:
        closed_before = (self._newest - self._grid.lateness) // self._grid.period
        for slot in sorted(self._open):
            follows = self._emitted is None or slot == self._emitted + 1
            complete = bool(self._open[slot][1].all())
            if slot >= closed_before and not (complete and (follows or slot == closed_before)):
                return
            yield from self._missing_before(slot)
            values, _, marked = self._open.pop(slot)
            yield self._emit(slot, values, marked)

    def _missing_before(self, slot: int) -> Iterator[Row]:
        if self._emitted is None:
            return
        if slot - self._emitted > self._gap_slots:
            self._last.fill(np.nan)
            self._held.fill(0)
            return
        for empty in range(self._emitted + 1, slot):
            values, _, marked = self._empty()
            yield self._emit(empty, values, marked)

    def _empty(self) -> tuple[Floats, Cells, Cells]:
        nothing = np.zeros(self._channels, np.bool_)
        return np.full(self._channels, np.nan, np.float32), nothing, nothing.copy()

    def _emit(self, slot: int, values: Floats, marked: Cells) -> Row:
        missing = np.isnan(values)
        if self._grid.hold:
            self._held = np.where(missing, self._held + 1, 0)
            values = np.where(missing & (self._held <= self._grid.hold), self._last, values)
            self._last = np.where(missing, self._last, values)
        self._emitted = slot
        return Row(self._stream, slot, values, ~missing, bool(marked.any()))


def _is_true(cells: Cells) -> bool:
    """Say whether all are set; quicker than to ask a small array."""
    return 0 not in cells.tobytes()


def _marked(records: Sequence[Record]) -> Collection[int]:
    """Return the places of records with a mark."""
    if type(records) is RecordRun:
        return records.marked
    return {place for place, record in enumerate(records) if record.marked is not None}


def _is_whole(values: Floats) -> bool:
    """Say whether no value is missing; quicker than an array of which ones are."""
    return not any(map(isnan, values.tolist()))
