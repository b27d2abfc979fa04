"""Whether a difference is more than noise: Student's and Welch's t, and Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from headwater_models import student

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference with its confidence interval.

    ``p`` is how likely chance alone makes a difference at least as large, either way. Where no
    figure differs from its like, their spread tells nothing: then there is no interval, and the
    chance is that of all signs, or of all of one sample, lying on one side.
    """

    mean: float
    low: float | None
    high: float | None
    p: float


def paired(differences: Sequence[float]) -> Difference | None:
    """Return the mean of paired differences by Student's t; None with fewer than two."""
    count = len(differences)
    if count < 2:
        return None
    signs = 2.0 ** (1 - count)
    return _difference(fmean(differences), variance(differences) / count, count - 1, signs)


def welch(a: Sequence[float], b: Sequence[float]) -> Difference | None:
    """Return mean *b* less mean *a*, of samples whose variances may differ; None if one is single.

    By Welch's t with the degrees of freedom of Welch and Satterthwaite (Biometrika 34, 1947).
    """
    if min(len(a), len(b)) < 2:
        return None
    parts = [(variance(sample) / len(sample), len(sample) - 1) for sample in (a, b)]
    square = sum(part for part, _ in parts)
    below = sum(part**2 / freedom for part, freedom in parts)
    freedom = square**2 / below if below > 0 else 1.0
    orders = 2 / math.comb(len(a) + len(b), len(a))
    return _difference(fmean(b) - fmean(a), square, max(freedom, 1.0), orders)


def holm(chances: Sequence[float]) -> list[float]:
    """Return each p, corrected for how many were looked at (Holm, 1979).

    If nothing differs at all, the chance that any of them comes out below 0.05 is at most 0.05.

    Examples
    --------
    >>> holm([0.01, 0.5, 0.02])
    [0.03, 0.5, 0.04]
    """
    corrected = [0.0] * len(chances)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[index]))
        corrected[index] = largest
    return corrected


def _difference(mean: float, square: float, freedom: float, spreadless: float) -> Difference:
    error = math.sqrt(square)
    if error <= 1e-12 * abs(mean):
        return Difference(mean, None, None, spreadless if mean else 1.0)
    half = student.quantile((1 + CONFIDENCE) / 2, freedom) * error
    return Difference(mean, mean - half, mean + half, student.chance(mean / error, freedom))
