"""Count, mean and sum of squared deviations: exact under any split of the data.

Two sets combine by the formulas of Chan, Golub and LeVeque, *Updating Formulae and a Pairwise
Algorithm for Computing Sample Variances* (1979), which keep their accuracy where the textbook's
sum of squares cancels (Welford 1962).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_models.statistics.summary import Count, Finite, read

Moments = NDArray[np.float64]
"""``[3, ...]``: rows of counts, means, and sums of squared deviations from the mean (M2)."""


def no_moments(*shape: int) -> Moments:
    """Return the moments of nothing, ``[3, *shape]``."""
    return np.zeros((3, *shape))


def moments_of(values: NDArray[np.floating]) -> Moments:
    """Return the moments ``[3, ...]`` of values ``[N, ...]``; NaN and infinity are left out.

    Examples
    --------
    >>> moments_of(np.array([1.0, 3.0, np.nan])).tolist()
    [2.0, 2.0, 2.0]
    """
    exact = values.astype(np.float64)
    there = np.isfinite(exact)
    count = there.sum(axis=0).astype(np.float64)
    mean = np.where(there, exact, 0.0).sum(axis=0) / np.maximum(count, 1.0)
    deviations = np.where(there, exact - mean, 0.0)
    return np.stack([count, mean, np.square(deviations).sum(axis=0)])


def merge_moments(ours: Moments, theirs: Moments) -> Moments:
    """Return the moments of both sets together; where one is empty, the other bit for bit."""
    count = ours[0] + theirs[0]
    share = theirs[0] / np.maximum(count, np.finfo(np.float64).tiny)
    apart = theirs[1] - ours[1]
    merged = np.stack(
        [
            count,
            ours[1] + apart * share,
            ours[2] + theirs[2] + np.square(apart) * (ours[0] * share),
        ]
    )
    chosen: Moments = np.where(theirs[0] == 0, ours, np.where(ours[0] == 0, theirs, merged))
    return chosen


def take_moments(both: Moments, theirs: Moments) -> Moments:
    """Return what is left of both sets together without one of them, as far as rounding allows."""
    count = np.maximum(both[0] - theirs[0], 0.0)
    some = np.where(count > 0, count, 1.0)
    mean = both[1] + (both[1] - theirs[1]) * theirs[0] / some
    share = count * theirs[0] / np.where(both[0] > 0, both[0], 1.0)
    m2 = both[2] - theirs[2] - np.square(theirs[1] - mean) * share
    left = np.stack([count, mean, np.maximum(m2, 0.0)])
    found: Moments = np.where(count > 0, left, 0.0)
    return found


def variances(moments: Moments) -> NDArray[np.float64]:
    """Return the variances ``[...]`` (divided by the count); 0 where there is nothing."""
    count, m2 = moments[0], moments[2]
    spread: NDArray[np.float64] = np.zeros_like(m2)
    np.divide(m2, count, out=spread, where=count > 0)
    return spread


class _Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    count: Count
    mean: Finite
    m2: Annotated[float, msgspec.Meta(ge=0, le=1e300)]


class RunningMoments:
    """Mean and variance of a channel as its values come; a :class:`.summary.Summary`.

    Examples
    --------
    >>> running = RunningMoments()
    >>> running.add(np.array([1.0, 3.0]))
    >>> running.count, running.mean, running.variance
    (2, 2.0, 1.0)
    """

    def __init__(self) -> None:
        self._moments = no_moments()

    @property
    def count(self) -> int:
        """How many values it is of."""
        return int(self._moments[0])

    @property
    def mean(self) -> float:
        """Their mean; 0 of nothing."""
        return float(self._moments[1])

    @property
    def variance(self) -> float:
        """Their variance (divided by the count); 0 of nothing."""
        return float(variances(self._moments))

    def add(self, values: NDArray[np.floating]) -> None:
        """Take values of any shape; what is not finite is passed over."""
        self._moments = merge_moments(self._moments, moments_of(np.ravel(values)))

    def merge(self, other: RunningMoments) -> None:
        """Take all values of another one."""
        self._moments = merge_moments(self._moments, other._moments)

    def encode(self) -> bytes:
        """Return bytes that :meth:`decode` reads."""
        return msgspec.json.encode(_Saved(self.count, *self._moments[1:].tolist()))

    @classmethod
    def decode(cls, data: bytes) -> RunningMoments:
        """Read what :meth:`encode` wrote.

        Raises
        ------
        PeerError
            When it is anything else.
        """
        saved = read(data, _Saved, "set of moments")
        running = cls()
        running._moments = np.array([saved.count, saved.mean, saved.m2])
        return running
