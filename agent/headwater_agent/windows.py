"""The last T rows of one stream, contiguous in time, as the model sees them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import isnan

import msgspec
import numpy as np

from headwater_agent.events import Floats, Row
from headwater_agent.stacking import stack

FEW = 4
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
        self._missing: deque[int] = deque(maxlen=length)
        """Of the newest rows that follow one another, how many cells of each are missing."""
        self._missing_of_all = 0
        self._slot: int | None = None
        self.marked_slot: int | None = None

    def push(self, rows: Sequence[Row]) -> list[Window | None]:
        """Append rows in their order; return the window that each of them completes."""
        made: list[Window | None] = []
        if rows and rows[-1].slot - rows[0].slot == len(rows) - 1:
            self._push(rows, made)
            return made
        start = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or rows[end].slot != rows[end - 1].slot + 1:
                self._push(rows[start:end], made)
                start = end
        return made

    def _push(self, rows: Sequence[Row], made: list[Window | None]) -> None:
        """Append rows that follow one another, and what each completes to *made*."""
        counts = self._missing
        if rows[0].slot - 1 != self._slot:
            counts.clear()
            self._missing_of_all = 0
        self._slot = rows[-1].slot
        length, end = self._length, self._append(rows)
        kept, size = self._rows, length * self._rows.shape[1]
        missing_of_all, marked_slot = self._missing_of_all, self.marked_slot
        for row, missing in zip(rows, self._count_missing(rows), strict=True):
            end += 1
            if len(counts) == length:
                missing_of_all -= counts[0]
            counts.append(missing)
            missing_of_all += missing
            if row.marked:
                marked_slot = row.slot
            if len(counts) < length:
                made.append(None)
                continue
            marked = marked_slot is not None and row.slot - marked_slot < length
            made.append(Window(kept[end - length : end], missing_of_all / size, marked))
        self._missing_of_all, self.marked_slot = missing_of_all, marked_slot

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
            self._rows[start : self._end] = stack([row.values for row in rows])
        return start

    def _count_missing(self, rows: Sequence[Row]) -> Sequence[int]:
        """Return how many cells of each of the newest rows are missing."""
        if len(rows) < FEW:
            return list(map(_count_missing, rows))
        newest = self._rows[self._end - len(rows) : self._end]
        counts: list[int] = np.isnan(newest).sum(axis=1).tolist()
        return counts


def _count_missing(row: Row) -> int:
    return sum(map(isnan, row.values.tolist()))
