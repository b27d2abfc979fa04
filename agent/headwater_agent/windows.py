"""The last T rows of one stream, contiguous in time, as the model sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from headwater_agent.events import Floats, Row
from headwater_agent.stacking import stack


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
        self._slot: int | None = None
        self.marked_slot: int | None = None
        self._steps = np.arange(length)

    def push(self, rows: Sequence[Row]) -> list[Window | None]:
        """Append rows in their order; return the window that each of them completes."""
        made: list[Window | None] = []
        start = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or rows[end].slot != rows[end - 1].slot + 1:
                made += self._push(rows[start:end])
                start = end
        return made

    def _push(self, rows: Sequence[Row]) -> Iterator[Window | None]:
        """Append rows that follow one another."""
        kept = self._rows if rows[0].slot - 1 == self._slot else self._rows[:0]
        self._slot = rows[-1].slot
        together = np.concatenate([kept, stack([row.values for row in rows])])
        whole = max(0, len(together) - self._length + 1)
        self._rows = together[whole:]
        if whole == 1:
            windows = together[-self._length :][None]
        else:
            windows = together[np.arange(whole)[:, None] + self._steps]
        nowhere = np.isnan(windows)
        missing = nowhere.mean(axis=(1, 2)).tolist() if nowhere.any() else [0.0] * whole
        incomplete = len(rows) - whole
        for i, row in enumerate(rows, -incomplete):
            if row.marked:
                self.marked_slot = row.slot
            marked = self.marked_slot is not None and row.slot - self.marked_slot < self._length
            yield Window(windows[i], missing[i], marked) if i >= 0 else None
