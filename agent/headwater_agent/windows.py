"""The last T rows of one stream, contiguous in time, as the model sees them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import accumulate, chain
from math import isnan
from operator import sub

import msgspec
import numpy as np

from headwater_agent.columns import marked_of, slots_of, values_of
from headwater_agent.events import Floats, Row

FEW = 16
"""Fewer rows are looked at faster one by one."""

SPARE = 16
"""Rows for which there is room, at least, when there must be more."""


class Window(msgspec.Struct, frozen=True, eq=False, gc=False):
    """T rows that follow one another.

    ``values`` is float32 ``[T, C]``, ``missing`` the share of cells that are missing in it;
    ``marked`` says whether the guard keeps one of them aside.
    """

    values: Floats
    missing: float
    marked: bool


class StreamWindow:
    """Keep the last rows of one stream; a jump in the slot numbers starts again.

    Parameters
    ----------
    length
        Number of rows T.
    channels
        Number of channels C.

    Attributes
    ----------
    marked_slot
        Slot of the newest row of which a cell is kept aside.
    """

    def __init__(self, length: int, channels: int) -> None:
        self._length = length
        self._rows: Floats = np.empty((0, channels), np.float32)
        """Windows are parts of it, so what is in it never changes: a new one follows a full one."""
        self._end = 0
        self._missing = deque([0] * length, length)
        """Of the newest rows that follow one another, how many cells of each are missing."""
        self._missing_of_all = 0
        self._run = 0
        """How many rows there are since the last jump."""
        self._slot: int | None = None
        self.marked_slot: int | None = None

    def push(self, rows: Sequence[Row]) -> list[Window | None]:
        """Append rows in their order; return the window that each of them completes."""
        made: list[Window | None] = []
        slots = slots_of(rows)
        if slots and slots[-1] - slots[0] == len(rows) - 1:
            self._push(rows, slots, made)
            return made
        start = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or slots[end] != slots[end - 1] + 1:
                self._push(rows[start:end], slots[start:end], made)
                start = end
        return made

    def _push(self, rows: Sequence[Row], slots: Sequence[int], made: list[Window | None]) -> None:
        """Append rows that follow one another, and what each completes to *made*."""
        if slots[0] - 1 != self._slot:
            self._missing = deque([0] * self._length, self._length)
            self._missing_of_all = self._run = 0
        self._slot = slots[-1]
        push = self._push_few if len(rows) < FEW else self._push_many
        push(rows, slots, made)

    def _push_few(
        self, rows: Sequence[Row], slots: Sequence[int], made: list[Window | None]
    ) -> None:
        """Append rows one by one."""
        length, end = self._length, self._append(rows)
        table, missing = self._rows, self._missing
        for row, slot in zip(rows, slots, strict=True):
            end += 1
            self._run += 1
            count = _count_missing(row)
            self._missing_of_all += count - missing[0]
            missing.append(count)
            if row.marked:
                self.marked_slot = slot
            if self._run < length:
                made.append(None)
                continue
            marked = self.marked_slot is not None and slot - self.marked_slot < length
            share = self._missing_of_all / (length * table.shape[1])
            made.append(Window(table[end - length : end], share, marked))

    def _push_many(
        self, rows: Sequence[Row], slots: Sequence[int], made: list[Window | None]
    ) -> None:
        """Append rows all at once."""
        length, start = self._length, self._append(rows)
        counts: list[int] = np.isnan(self._rows[start : self._end]).sum(axis=1).tolist()
        changes = map(sub, counts, chain(self._missing, counts))
        totals = list(accumulate(changes, initial=self._missing_of_all))
        self._missing.extend(counts)
        self._missing_of_all = totals[-1]
        self._run += len(rows)
        marked = self._mark(rows, slots)
        whole = min(len(rows), self._run - length + 1)
        if whole < len(rows):
            made += [None] * (len(rows) - max(whole, 0))
        if whole > 0:
            size = length * self._rows.shape[1]
            shares = [total / size for total in totals[-whole:]]
            made += map(Window, self._windows(whole), shares, marked[-whole:])

    def _mark(self, rows: Sequence[Row], slots: Sequence[int]) -> list[bool]:
        """Say of each window that ends with one of the rows whether a row of it has a mark."""
        newest, length = self.marked_slot, self._length
        flags = marked_of(rows)
        if not any(flags) and (newest is None or slots[0] - newest >= length):
            return [False] * len(rows)
        marked: list[bool] = []
        for slot, flag in zip(slots, flags, strict=True):
            if flag:
                newest = slot
            marked.append(newest is not None and slot - newest < length)
        self.marked_slot = newest
        return marked

    def _windows(self, count: int) -> Floats:
        """Return the newest windows, ``[N, T, C]``, each a part of what is kept."""
        rows, length = self._rows, self._length
        to_next, to_cell = rows.strides
        return np.ndarray(
            (count, length, rows.shape[1]),
            np.float32,
            rows,
            (self._end - count - length + 1) * to_next,
            (to_next, to_next, to_cell),
        )

    def _append(self, rows: Sequence[Row]) -> int:
        """Return the place of the first of them, with room for a window's other rows before it."""
        if self._end + len(rows) > len(self._rows):
            kept = self._rows[max(0, self._end - self._length + 1) : self._end]
            room = len(kept) + len(rows) + max(self._length, SPARE)
            self._rows = np.empty((room, kept.shape[1]), np.float32)
            self._rows[: len(kept)] = kept
            self._end = len(kept)
        start = self._end
        self._end = start + len(rows)
        if len(rows) < FEW:
            for place, row in enumerate(rows, start):
                self._rows[place] = row.values
        else:
            self._rows[start : self._end] = values_of(rows)
        return start


def _count_missing(row: Row) -> int:
    return sum(map(isnan, row.values.tolist()))
