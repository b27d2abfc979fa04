"""Which columns only number the rows, so that there is nothing to learn from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def counts_rows(
    values: NDArray[np.float64], stream: NDArray[np.intp], times: NDArray[np.int64]
) -> bool:
    """Say whether a column rises by one from row to row, but for a few breaks.

    Rows are taken as they stand, in the order of time, and in that of each stream's time: files
    may have been shuffled, sorted, or put below each other. One step in a hundred may be another,
    which an hour of the day or a minute of the hour is not; one in ten where the column never
    falls, as in rows of which some were deleted.

    Parameters
    ----------
    values
        The column, ``[R]``.
    stream, times
        Of which stream each row is, as an index, and when it was measured.
    """
    one = np.zeros(len(values), np.intp)
    by_time = np.lexsort((values, times))
    by_stream = np.lexsort((values, times, stream))
    return (
        _counts(values, one)
        or _counts(values[by_time], one)
        or _counts(values[by_stream], stream[by_stream])
    )


def _counts(values: NDArray[np.float64], stream: NDArray[np.intp]) -> bool:
    steps = np.diff(values)[stream[1:] == stream[:-1]]
    breaks = np.count_nonzero(steps != 1)
    tolerated = len(steps) // (10 if (steps > 0).all() else 100)
    return len(steps) > 0 and bool(breaks <= tolerated)
