"""Records and rows of one stream in columns, to be read one by one or all at once.

What comes together is decoded, guarded, joined, watched and stored together. In columns each of
these takes one array from the one before, instead of many small ones to lay side by side again.

Whether something is a run is asked by ``type(...) is``: ``isinstance`` takes as long for a subclass
of :class:`Sequence` as much else that is done of a single record.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import final, overload

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Floats, Record, Row
from headwater_agent.stacking import stack

Cells = NDArray[np.bool_]
Ints = NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True, eq=False)
class RecordRun(Sequence[Record]):
    """Records of one stream that came together and speak of the same channels.

    ``times``, int64, and ``receipts`` are those of N records, ``values`` is ``[N, C]``, and
    ``present``, ``[C]``, the channels that each of them speaks of. ``marked`` are the cells that
    the guard doubts, by the place of the record.
    """

    stream: str
    times: Ints
    values: Floats
    present: Cells
    received: int
    receipts: Sequence[int]
    marked: Mapping[int, Cells] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Record]:
        return map(
            Record,
            repeat(self.stream),
            self.times.tolist(),
            self.values,
            repeat(self.present),
            repeat(self.received),
            self.receipts,
            map(self.marked.get, range(len(self))),
        )

    @overload
    def __getitem__(self, at: int) -> Record: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Record]: ...

    def __getitem__(self, at: int | slice) -> Record | Sequence[Record]:
        places = range(len(self))[at]
        if not isinstance(places, range):
            return Record(
                self.stream,
                int(self.times[places]),
                self.values[places],
                self.present,
                self.received,
                self.receipts[places],
                self.marked.get(places),
            )
        if places.step != 1:
            return [self[place] for place in places]
        start, stop = places.start, places.stop
        return replace(
            self,
            times=self.times[start:stop],
            values=self.values[start:stop],
            receipts=self.receipts[start:stop],
            marked={
                place - start: cells for place, cells in self.marked.items() if place in places
            },
        )

    def with_marked(self, judged: Mapping[int, Record]) -> RecordRun:
        """Return the same records but for some with marks, by place."""
        values = self.values.copy()
        marked = {**self.marked}
        for place, record in judged.items():
            values[place] = record.values
            if record.marked is not None:
                marked[place] = record.marked
        return replace(self, values=values, marked=marked)


@final
@dataclass(frozen=True, slots=True, eq=False)
class RowRun(Sequence[Row]):
    """Rows of one stream that follow one another.

    ``first`` is the slot of the first of them. ``values`` and ``observed`` are of all, ``[N, C]``;
    ``marked`` are the places of those of which the guard keeps a cell aside.
    """

    stream: str
    first: int
    values: Floats
    observed: Cells
    marked: Collection[int] = ()

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Row]:
        flags = map(self.marked.__contains__, range(len(self)))
        return map(Row, repeat(self.stream), self.slots, self.values, self.observed, flags)

    @overload
    def __getitem__(self, at: int) -> Row: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Row]: ...

    def __getitem__(self, at: int | slice) -> Row | Sequence[Row]:
        places = range(len(self))[at]
        if not isinstance(places, range):
            values, observed = self.values[places], self.observed[places]
            return Row(self.stream, self.slots[places], values, observed, places in self.marked)
        if places.step != 1:
            return [self[place] for place in places]
        return self.part(places.start, places.stop)

    def part(self, start: int, stop: int) -> RowRun:
        """Return the rows from one place up to another."""
        marked = {place - start for place in self.marked if start <= place < stop}
        values, observed = self.values[start:stop], self.observed[start:stop]
        return RowRun(self.stream, self.first + start, values, observed, marked)

    @property
    def slots(self) -> range:
        """The slot of each."""
        return range(self.first, self.first + len(self.values))


def values_of(items: Sequence[Record] | Sequence[Row]) -> Floats:
    """Return the values of at least one record or row, ``[N, C]``."""
    if type(items) is RecordRun or type(items) is RowRun:
        return items.values
    return stack([item.values for item in items])


def observed_of(rows: Sequence[Row]) -> Cells:
    """Return which cells of at least one row were observed, ``[N, C]``."""
    return rows.observed if type(rows) is RowRun else stack([row.observed for row in rows])


def times_of(records: Sequence[Record]) -> list[int]:
    """Return the times of records."""
    if type(records) is RecordRun:
        times: list[int] = records.times.tolist()
        return times
    return [record.time for record in records]


def slots_of(rows: Sequence[Row]) -> Sequence[int]:
    """Return the slots of rows."""
    return rows.slots if type(rows) is RowRun else [row.slot for row in rows]


def slot_numbers(rows: Sequence[Row]) -> Ints:
    """Return the slots of rows as an array."""
    if type(rows) is RowRun:
        return np.arange(rows.first, rows.first + len(rows), dtype=np.int64)
    return np.array([row.slot for row in rows], np.int64)


def streams_of(items: Sequence[Record] | Sequence[Row]) -> list[str]:
    """Return the name of the stream of each record or row."""
    if type(items) is RecordRun or type(items) is RowRun:
        return [items.stream] * len(items)
    return [item.stream for item in items]


def receipts_of(records: Sequence[Record]) -> Sequence[int]:
    """Return the receipts of records."""
    if type(records) is RecordRun:
        return records.receipts
    return [record.receipt for record in records]


def received_of(records: Sequence[Record]) -> Sequence[int]:
    """Return when records were received."""
    if type(records) is RecordRun:
        return [records.received] * len(records)
    return [record.received for record in records]
