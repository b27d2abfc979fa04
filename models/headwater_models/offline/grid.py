"""Records of one stream joined on the time grid: the rows that an agent would make of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater_models.manifest import Grid
from headwater_models.offline.recordings import Floats, Recording

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of one stream, slot by slot.

    ``slots`` is int64 ``[R]``; ``cells`` float32 ``[R, C]`` with what is held over; ``observed``
    bool ``[R, C]``; ``record`` ``[R]`` the record that each row is, -1 where none came; ``start``
    ``[R]`` the first row of the run without a gap that it lies in.
    """

    slots: NDArray[np.int64]
    cells: Floats
    observed: NDArray[np.bool_]
    record: Places
    start: Places


def join(recording: Recording, grid: Grid) -> Rows:
    """Join records that each speak of every channel, in the order of their time.

    Of several in one slot the first is its row, for it completes the row; only while a gap before
    it keeps the slot waiting for late records does a later one replace it. At the end of the
    stream nothing waits any longer.

    Parameters
    ----------
    recording
        Of one stream.
    grid
        Period, lateness, gap and hold rule.
    """
    slots, record = _chosen(recording, grid)
    filled = _fill_gaps(slots, grid)
    place = np.searchsorted(filled, slots)
    of_record = np.full(len(filled), -1, np.intp)
    of_record[place] = record
    cells = np.full((len(filled), recording.values.shape[1]), np.nan, np.float32)
    cells[place] = recording.values[record]
    observed = ~np.isnan(cells)
    start = _run_starts(filled)
    return Rows(filled, _held(cells, observed, start, grid.hold), observed, of_record, start)


def _chosen(recording: Recording, grid: Grid) -> tuple[NDArray[np.int64], Places]:
    """Return the slots with a record, and which record is the row of each."""
    period = int(grid.period)
    slots, first, counts = np.unique(
        recording.times // period, return_index=True, return_counts=True
    )
    starts = np.flatnonzero(np.diff(slots, prepend=slots[:1]) > 1)
    segment = np.searchsorted(starts, np.arange(len(slots)), side="right") - 1
    opened = slots[starts] * period + int(grid.lateness)
    closing = np.append(np.searchsorted(recording.times, opened), -1)[segment]
    last = np.minimum(first + counts - 1, closing)
    return slots, np.maximum(first, last)


def _fill_gaps(slots: NDArray[np.int64], grid: Grid) -> NDArray[np.int64]:
    """Add the slots in which nothing came, where the silence is no longer than ``max_gap``."""
    if not len(slots):
        return slots
    steps = np.diff(slots)
    width = np.where(steps > grid.max_gap // grid.period, 1, steps)
    widths = np.append(width, 1)
    offsets = np.arange(widths.sum()) - np.repeat(np.cumsum(widths) - widths, widths)
    return np.asarray(np.repeat(slots, widths) + offsets, np.int64)


def _run_starts(slots: NDArray[np.int64]) -> Places:
    begins = np.diff(slots, prepend=slots[:1] - 2) != 1
    return np.asarray(np.maximum.accumulate(np.where(begins, np.arange(len(slots)), 0)), np.intp)


def _held(cells: Floats, observed: NDArray[np.bool_], start: Places, hold: int) -> Floats:
    """Repeat each channel's last value for up to *hold* rows, never across a gap."""
    rows = np.arange(len(cells))[:, None]
    last = np.maximum.accumulate(np.where(observed, rows, -1), axis=0)
    near = (last >= start[:, None]) & (rows - last <= hold)
    return np.where(observed | ~near, cells, np.take_along_axis(cells, np.maximum(last, 0), axis=0))
