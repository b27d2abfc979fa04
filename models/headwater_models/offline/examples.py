"""Windows with their labels, cut out of the rows of many streams only when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headwater_models.manifest import MAX_MISSING, Manifest
from headwater_models.offline.grid import Places, Rows, join
from headwater_models.offline.recordings import Floats, Recording


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Examples laid out for one step; see :class:`headwater_models.session.Batch`."""

    window: Floats
    time: NDArray[np.int64]
    label: Floats
    weight: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """All windows of a table that a model predicts on, stream by stream in the order of time.

    ``cells`` float32 ``[R, C]`` are the rows of all streams; ``ends`` ``[N]`` the last row of each
    window, ``times`` int64 ``[N]`` its time, ``stream`` ``[N]`` the index of its stream, ``labels``
    float32 ``[N]`` with NaN where none is known. ``doubted`` bool ``[N]`` says that a cell of the
    window lies beyond its range, so that it is not learned from.

    ``crowded`` rows of the table fell into a slot of the grid, ``period`` milliseconds wide, that
    another row fills, and are in no window; ``repeated`` rows have the time of another.
    """

    window: int
    names: tuple[str, ...]
    groups: tuple[str, ...]
    cells: Floats
    ends: Places
    times: NDArray[np.int64]
    stream: Places
    labels: Floats
    doubted: NDArray[np.bool_]
    period: int = field(kw_only=True)
    crowded: int = field(kw_only=True)
    repeated: int = field(kw_only=True)

    def __len__(self) -> int:
        return len(self.ends)

    def windows(self, chosen: Places) -> Floats:
        """Return windows ``[n, T, C]``."""
        steps = np.arange(1 - self.window, 1)
        return np.asarray(self.cells[self.ends[chosen, None] + steps], np.float32)

    def batch(self, chosen: Places, size: int | None = None) -> Batch:
        """Return examples of weight 1, filled up to *size* with one of them at weight 0."""
        size = size or len(chosen)
        filled = np.concatenate([chosen, np.full(size - len(chosen), chosen[0])])
        weight = np.zeros(size, np.float32)
        weight[: len(chosen)] = 1
        return Batch(self.windows(filled), self.times[filled], self.labels[filled, None], weight)


def cut_examples(recordings: Sequence[Recording], manifest: Manifest) -> Examples:
    """Cut the windows of streams, and find their labels.

    A forecast's label is the target as it was observed one horizon later; every other label is
    that of the row one horizon later.

    Parameters
    ----------
    recordings
        The streams.
    manifest
        Task, grid, window, target and horizon.
    """
    parts, before, crowded = [], 0, 0
    for index, recording in enumerate(recordings):
        rows = join(recording, manifest.grid)
        crowded += len(recording.times) - int(np.count_nonzero(rows.record >= 0))
        parts.append(_cut(rows, recording, manifest, index, before))
        before += len(rows.slots)
    return Examples(
        manifest.window,
        tuple(recording.stream for recording in recordings),
        tuple(recording.group for recording in recordings),
        *(np.concatenate(columns) for columns in zip(*parts, strict=True)),
        period=int(manifest.grid.period),
        crowded=crowded,
        repeated=sum(len(r.times) - len(np.unique(r.times)) for r in recordings),
    )


def _cut(
    rows: Rows, recording: Recording, manifest: Manifest, index: int, before: int
) -> tuple[NDArray[np.generic], ...]:
    length = manifest.window
    doubted = np.append(recording.doubted, False)[rows.record]
    missing = _sums(np.isnan(rows.cells).sum(axis=1), length)
    whole = np.arange(len(rows.slots)) - rows.start >= length - 1
    seen = missing <= MAX_MISSING * length * rows.cells.shape[1]
    ends = np.flatnonzero(whole & rows.observed.any(axis=1) & seen)
    times = rows.slots[ends] * int(manifest.grid.period)
    return (
        rows.cells,
        ends + before,
        times,
        np.full(len(ends), index),
        _labels(rows, recording, manifest)[ends],
        _sums(doubted.astype(np.intp), length)[ends] > 0,
    )


def _labels(rows: Rows, recording: Recording, manifest: Manifest) -> Floats:
    """Return the label of a window that ends at each row, NaN where it is not known."""
    if manifest.task == "forecast":
        at = manifest.target_index
        known = np.where(rows.observed[:, at], rows.cells[:, at], np.float32(np.nan))
    else:
        known = np.append(recording.labels, np.float32(np.nan))[rows.record]
    wanted = rows.slots + manifest.horizon // manifest.grid.period
    place = np.minimum(np.searchsorted(rows.slots, wanted), len(rows.slots) - 1)
    return np.where(rows.slots[place] == wanted, known[place], np.float32(np.nan))


def _sums(counts: Places, length: int) -> Places:
    """Return for each row the sum over the *length* rows that end there."""
    total = np.concatenate([[0], np.cumsum(counts)])
    upto = np.arange(1, len(counts) + 1)
    return np.asarray(total[upto] - total[np.maximum(upto - length, 0)], np.intp)
