"""What a device of a table holds: rows that it learns from, and rows that it only judges on.

Its rows have no time of their own. They get one each in a day long past, the same for all devices:
so every update is of data up to the end of that day, and no device takes what it learned from for
newer than a version and judges on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.settings import Duration
from headwater_agent.answers import MIN_EXAMPLES, MIN_ROWS
from headwater_agent.events import Batch
from headwater_models.manifest import Grid, Reserve
from headwater_models.offline.times import EARLIEST
from headwater_simulator.scenario.settings import DAY
from headwater_simulator.sources.source import RESERVED, Floats, Holding

LEAST = MIN_EXAMPLES + MIN_ROWS
"""With fewer rows a device could not both contribute and judge."""

PAST = EARLIEST // DAY * DAY

GRID = Grid(period=Duration(1_000), max_gap=Duration(1_000))
RESERVE = Reserve(share=RESERVED, block=DAY)


def hold(values: Floats, labels: Floats, held: float, rng: np.random.Generator) -> Holding:
    """Share a device's rows out, at random.

    So many are reserved that the device can judge, and never so many that it could not learn.

    Parameters
    ----------
    values
        float32 ``[N, C]``.
    labels
        float32 ``[N]``.
    held
        The share that is reserved.
    rng
        Says which.
    """
    reserved = np.zeros(len(values), np.bool_)
    reserved[rng.permutation(len(values))[: kept_back(len(values), held)]] = True
    times = PAST + np.arange(len(values), dtype=np.int64) * int(DAY) // max(1, len(values))
    return Holding(
        learned=_batch(values, times, labels, ~reserved),
        reserved=_batch(values, times, labels, reserved),
    )


def kept_back(rows: int, held: float) -> int:
    """Return how many of a device's rows are reserved.

    Examples
    --------
    >>> [kept_back(rows, 0.2) for rows in (1000, 80, 60, 40)]
    [200, 20, 10, 0]
    """
    return max(0, min(max(round(held * rows), MIN_ROWS), rows - MIN_EXAMPLES))


def _batch(
    values: Floats, times: NDArray[np.int64], labels: Floats, chosen: NDArray[np.bool_]
) -> Batch:
    return Batch(
        window=values[chosen][:, None, :],
        time=times[chosen],
        label=labels[chosen][:, None],
        weight=np.ones(np.count_nonzero(chosen), np.float32),
    )
