"""The last T rows of one stream, contiguous in time, as the model sees them."""

from __future__ import annotations

import numpy as np

from headwater_agent.events import Floats, Row


class StreamWindow:
    """Keep the last T rows of a stream; a jump in the slot numbers starts again.

    The rows lie in a buffer of 2T so that the window is one contiguous slice and is moved only
    once in T rows.

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
        self._buffer = np.full((2 * length, channels), np.nan, np.float32)
        self._end = 0
        self._filled = 0
        self._slot: int | None = None
        self.marked_slot: int | None = None

    @property
    def marked(self) -> bool:
        """Whether the guard keeps a cell of the window aside."""
        if self._slot is None or self.marked_slot is None:
            return False
        return self._slot - self.marked_slot < self._length

    def push(self, row: Row) -> Floats | None:
        """Append a row; return a copy of the window ``[T, C]`` once T rows follow one another."""
        if self._slot is None or row.slot != self._slot + 1:
            self._filled = 0
        if self._end == len(self._buffer):
            keep = self._length - 1
            self._buffer[:keep] = self._buffer[self._end - keep :]
            self._end = keep
        self._buffer[self._end] = row.values
        self._end += 1
        self._slot = row.slot
        if row.marked:
            self.marked_slot = row.slot
        self._filled = min(self._filled + 1, self._length)
        if self._filled < self._length:
            return None
        return self._buffer[self._end - self._length : self._end].copy()
