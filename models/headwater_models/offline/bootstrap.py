"""How far a figure would move with other data of the same kind: resampling blocks, not rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Statistic = Callable[[Numbers], Numbers]
"""From means ``[..., M]`` of columns to figures ``[...]``."""

DRAWS = 1000
FEW_DRAWS = 200
"""For figures that are no function of means."""

COVERAGE = 0.95
FEW_GROUPS = 5
"""With fewer groups than this they are not resampled whole, for there would be hardly any draws."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with the interval that 95 of 100 resamplings fall into."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


class Bootstrap:
    """Resample blocks of rows that belong together.

    Neighbouring windows share rows, so single rows are no independent evidence. Blocks of
    consecutive rows are drawn with replacement until there are as many rows as before (moving
    block bootstrap: Künsch, Annals of Statistics 17, 1989); where whole groups were held out, it
    is the groups that are drawn.

    Parameters
    ----------
    series
        Which series each row is of, ``[N]``, ascending; blocks do not reach across.
    length
        Rows of a block at least; never fewer than the cube root of N.
    whole
        Draw each series whole.
    rng
        Draws.
    """

    def __init__(
        self, series: NDArray[np.intp], length: int, *, whole: bool, rng: np.random.Generator
    ) -> None:
        self._rows = len(series)
        firsts = np.flatnonzero(np.diff(series, prepend=series[:1] - 1))
        sizes = np.diff(np.append(firsts, len(series)))
        if whole and len(firsts) >= FEW_GROUPS:
            self._starts, self._sizes = firsts, sizes
            count = len(firsts)
        else:
            wanted = max(length, round(len(series) ** (1 / 3)))
            block = np.minimum(wanted, sizes)
            starts = sizes - block + 1
            offsets = np.arange(starts.sum()) - np.repeat(np.cumsum(starts) - starts, starts)
            self._starts = np.repeat(firsts, starts) + offsets
            self._sizes = np.repeat(block, starts)
            count = max(1, round(len(series) / self._sizes.mean()))
        self._drawn = rng.integers(0, len(self._starts), (DRAWS, count))

    def figure_of_rows(self, statistic: Callable[[NDArray[np.intp]], float]) -> Figure:
        """Return a statistic of the rows that it is given, with its interval; slow."""
        drawn = []
        for blocks in self._drawn[:FEW_DRAWS]:
            sizes = self._sizes[blocks]
            offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            drawn.append(statistic(np.repeat(self._starts[blocks], sizes) + offsets))
        return _figure(statistic(np.arange(self._rows)), np.array(drawn))

    def figure(self, columns: Numbers, statistic: Statistic) -> Figure:
        """Return a statistic of the means of columns ``[N, M]``, with its interval."""
        sums = np.concatenate([np.zeros((1, columns.shape[1])), np.cumsum(columns, axis=0)])
        blocks = sums[self._starts + self._sizes] - sums[self._starts]
        rows = self._sizes[self._drawn].sum(axis=1)
        means = np.stack([blocks[drawn].sum(axis=0) for drawn in self._drawn]) / rows[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = statistic(means)
            value = float(statistic(columns.mean(axis=0)))
        return _figure(value, drawn)


def _figure(value: float, drawn: Numbers) -> Figure:
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return Figure(value, np.nan, np.nan)
    low, high = np.quantile(known, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Figure(value, float(low), float(high))
