"""The newest examples of a device in this process, laid out for training."""

from __future__ import annotations

import numpy as np

from headwater_agent.events import Batch, Example
from headwater_models.manifest import Manifest

FIRST = 64
"""Examples that there is room for at first."""


class Buffer:
    """The newest examples, in their order.

    Parameters
    ----------
    most
        How many are kept.
    manifest
        Of the model: its window and channels.
    """

    def __init__(self, most: int, manifest: Manifest) -> None:
        self._most = most
        self._shape = (manifest.window, len(manifest.channels))
        self._start = self._end = 0
        self._streams: list[str] = []
        self._room(FIRST)

    def append(self, example: Example) -> None:
        """Take an example; the oldest goes where there are too many."""
        if self._end == len(self._time):
            self._move()
        place = self._end
        self._window[place], self._label[place] = example.window, example.label
        self._time[place], self._sequence[place] = example.time, example.sequence
        self._streams.append(example.stream)
        self._end += 1
        self._start = max(self._start, self._end - self._most)

    def batch(self, *, through: int | None = None) -> Batch:
        """Return the examples, up to the one with this sequence number; they never change."""
        end = self._end
        if through is not None:
            kept = self._sequence[self._start : self._end]
            end = self._start + int(np.searchsorted(kept, through, side="right"))
        cut = slice(self._start, end)
        weight = np.ones(end - self._start, np.float32)
        return Batch(self._window[cut], self._time[cut], self._label[cut], weight)

    def after(self, sequence: int) -> list[Example]:
        """Return the examples after the one with this sequence number."""
        kept = self._sequence[self._start : self._end]
        first = self._start + int(np.searchsorted(kept, sequence, side="right"))
        return [
            Example(
                sequence=int(self._sequence[i]),
                stream=self._streams[i],
                time=int(self._time[i]),
                window=self._window[i],
                label=float(self._label[i, 0]),
                reserved=False,
            )
            for i in range(first, self._end)
        ]

    def _move(self) -> None:
        """Make room at the end: batches that were given out keep their arrays."""
        cut = slice(self._start, self._end)
        window, label = self._window[cut], self._label[cut]
        time, sequence = self._time[cut], self._sequence[cut]
        count = self._end - self._start
        self._room(2 * count)
        self._window[:count], self._label[:count] = window, label
        self._time[:count], self._sequence[:count] = time, sequence
        self._streams = self._streams[cut]
        self._start, self._end = 0, count

    def _room(self, rows: int) -> None:
        self._window = np.empty((rows, *self._shape), np.float32)
        self._label = np.empty((rows, 1), np.float32)
        self._time = np.empty(rows, np.int64)
        self._sequence = np.empty(rows, np.int64)
