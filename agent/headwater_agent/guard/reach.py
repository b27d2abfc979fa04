"""How far moves go over a silence: with its root, as those of a random walk do."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_FAR = 64.0
"""Periods beyond which a longer silence allows no larger a move."""


@lru_cache(maxsize=1_024)
def reach(silence: int, period: int) -> float:
    """Return how many times further a move goes over a silence than over one period."""
    return math.sqrt(min(silence / period, _FAR))


def reaches(silences: NDArray[np.int64], period: int) -> NDArray[np.float64]:
    """Return what :func:`reach` does of each silence."""
    found: NDArray[np.float64] = np.sqrt(np.minimum(silences / period, _FAR))
    return found
