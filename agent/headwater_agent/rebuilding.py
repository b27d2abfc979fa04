"""Windows rebuilt from the rows of a store, a stream at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Example, Floats, Prediction
from headwater_models.manifest import Manifest


def cut_windows(
    slots: NDArray[np.int64], cells: Floats, ends: NDArray[np.int64], length: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Cut the windows that end at given slots out of the rows of one stream.

    Parameters
    ----------
    slots
        int64 ``[R]``, ascending.
    cells
        float32 ``[R, C]``.
    ends
        int64 ``[N]``: the slot of each window's last row.
    length
        Rows of a window T.

    Returns
    -------
    windows
        float32 ``[M, T, C]`` of those windows whose rows are all there.
    whole
        bool ``[N]``: which those are.
    """
    if not len(slots):
        return np.zeros((0, length, cells.shape[1]), np.float32), np.zeros(len(ends), np.bool_)
    last = np.minimum(np.searchsorted(slots, ends), len(slots) - 1)
    first = last - (length - 1)
    reaches = slots[np.maximum(first, 0)] == ends - (length - 1)
    whole = (slots[last] == ends) & (first >= 0) & reaches
    return cells[first[whole, None] + np.arange(length)], whole


def rebuild_windows(
    manifest: Manifest,
    streams: Sequence[Hashable],
    times: NDArray[np.int64],
    rows_between: Callable[[Any, int, int], tuple[NDArray[np.int64], Floats]],
) -> tuple[Floats, NDArray[np.bool_]]:
    """Rebuild the windows of examples of many streams.

    Parameters
    ----------
    manifest
        Period, window and channels.
    streams, times
        Stream and time of the last row of each example, both of length N.
    rows_between
        Gives slots int64 ``[R]``, ascending, and cells float32 ``[R, C]`` of a stream from one
        slot to another, both included.

    Returns
    -------
    windows
        float32 ``[M, T, C]`` of the examples whose rows are all there, in their order.
    whole
        bool ``[N]``: which those are.
    """
    length = manifest.window
    ends = times // int(manifest.grid.period)
    windows = np.empty((len(times), length, len(manifest.channels)), np.float32)
    whole = np.zeros(len(times), np.bool_)
    places: dict[Hashable, list[int]] = {}
    for place, stream in enumerate(streams):
        places.setdefault(stream, []).append(place)
    for stream, found in places.items():
        own = ends[found]
        slots, cells = rows_between(stream, int(own.min()) - length + 1, int(own.max()))
        cut, there = cut_windows(slots, cells, own, length)
        index = np.array(found)
        windows[index[there]] = cut
        whole[index] = there
    return windows[whole], whole


Placed = TypeVar("Placed", Example, Prediction)


def with_windows(
    manifest: Manifest,
    found: Sequence[Placed],
    rows_between: Callable[[Any, int, int], tuple[NDArray[np.int64], Floats]],
) -> list[tuple[Placed, Floats]]:
    """Return examples or predictions with their windows, where all rows of them are there."""
    windows, whole = rebuild_windows(
        manifest,
        [one.stream for one in found],
        np.array([one.time for one in found], np.int64),
        rows_between,
    )
    kept = (one for one, there in zip(found, whole, strict=True) if there)
    return list(zip(kept, windows, strict=True))
