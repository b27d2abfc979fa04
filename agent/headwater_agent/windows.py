"""The last T rows of one stream, contiguous in time, as the model sees them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import accumulate, chain, repeat
from math import isnan
from operator import sub

import msgspec
import numpy as np

from headwater_agent.columns import RowRun
from headwater_agent.events import Floats, Row

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


class WindowRun(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Windows of which each ends a row after the one before; ``values`` is ``[N, T, C]``."""

    values: Floats
    missing: Sequence[float]
    marked: Sequence[bool]


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
        """How many of them there are."""
        self._slot: int | None = None
        self.marked_slot: int | None = None

    def push(self, rows: Sequence[Row]) -> list[Window | None]:
        """Append rows in their order; return the window that each of them completes."""
        made: list[Window | None] = []
        length, size = self._length, self._length * self._rows.shape[1]
        for row in rows:
            self._begin(row.slot, row.slot)
            end = self._append([row.values]) + 1
            count = sum(map(isnan, row.values.tolist()))
            self._missing_of_all += count - self._missing[0]
            self._missing.append(count)
            if row.marked:
                self.marked_slot = row.slot
            if self._run < length:
                made.append(None)
                continue
            marked = self.marked_slot is not None and row.slot - self.marked_slot < length
            made.append(Window(self._rows[end - length : end], self._missing_of_all / size, marked))
        return made

    def push_run(self, rows: RowRun) -> WindowRun:
        """Append rows that follow one another; return the windows that the last ones complete."""
        self._begin(rows.first, rows.slots[-1], len(rows))
        start = self._append(rows.values)
        missing = self._missing_shares(rows.values)
        marked = self._mark(rows)
        length, width = self._length, self._rows.shape[1]
        made = max(0, min(len(rows), self._run - length + 1))
        to_next, to_cell = self._rows.strides
        values = np.ndarray(
            (made, length, width),
            np.float32,
            self._rows,
            (start + len(rows) - made + 1 - length) * to_next if made else 0,
            (to_next, to_next, to_cell),
        )
        first = len(rows) - made
        return WindowRun(values, missing[first:], marked[first:])

    def _begin(self, first: int, last: int, count: int = 1) -> None:
        """Expect rows of these slots; begin anew where there is a jump before them."""
        if first - 1 != self._slot:
            self._missing = deque([0] * self._length, self._length)
            self._missing_of_all = self._run = 0
        self._slot = last
        self._run += count

    def _missing_shares(self, values: Floats) -> list[float]:
        """Return what of the window that ends with each of these rows is missing."""
        missing = np.isnan(values)
        if not self._missing_of_all and not missing.any():
            self._missing.extend(repeat(0, min(len(values), self._length)))
            return [0.0] * len(values)
        counts: list[int] = missing.sum(axis=1).tolist()
        changes = map(sub, counts, chain(self._missing, counts))
        totals = list(accumulate(changes, initial=self._missing_of_all))
        self._missing.extend(counts)
        self._missing_of_all = totals[-1]
        size = self._length * values.shape[1]
        return [total / size for total in totals[1:]]

    def _mark(self, rows: RowRun) -> list[bool]:
        """Say of each window that ends with one of the rows whether a row of it has a mark."""
        newest, length = self.marked_slot, self._length
        if not rows.marked and (newest is None or rows.first - newest >= length):
            return [False] * len(rows)
        marked: list[bool] = []
        for place, slot in enumerate(rows.slots):
            if place in rows.marked:
                newest = slot
            marked.append(newest is not None and slot - newest < length)
        self.marked_slot = newest
        return marked

    def _append(self, rows: Sequence[Floats] | Floats) -> int:
        """Return the place of the first of them, with room for a window's other rows before it."""
        if self._end + len(rows) > len(self._rows):
            kept = self._rows[max(0, self._end - self._length + 1) : self._end]
            room = len(kept) + len(rows) + max(self._length, SPARE)
            self._rows = np.empty((room, kept.shape[1]), np.float32)
            self._rows[: len(kept)] = kept
            self._end = len(kept)
        start = self._end
        self._end = start + len(rows)
        if len(rows) == 1:
            self._rows[start] = rows[0]
        else:
            self._rows[start : self._end] = rows
        return start
