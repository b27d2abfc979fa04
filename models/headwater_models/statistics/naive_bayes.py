"""Gaussian naive Bayes from the moments of each feature in each class.

The head is the most probable one under a conjugate prior that weighs as much as ``ridge``
examples of each class (Murphy, *Machine Learning: A Probabilistic Perspective*, 2012, §4.6): a
class with few examples stays near the prior's mean and variance. The prior is the pooled data, or
the start around which one solves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headwater_models.arrays import Statistics
from headwater_models.manifest import Manifest
from headwater_models.statistics.learner import LARGEST_SQUARE, ROUNDING, Numbers
from headwater_models.statistics.moments import Moments, merge_moments, variances

MOMENTS = "statistics.moments"
"""``[3, K, F]``: count, mean and M2 of each feature in each class."""

MEAN, LOG_VARIANCE, LOG_PRIOR = "head.mean", "head.log_variance", "head.log_prior"
"""``[K, F]``, ``[K, F]`` and ``[K]``."""

_SMALLEST_VARIANCE = 1e-3
"""Of the prior's: float32 must still tell classes apart where a feature is far from all of them."""

_ROUNDING = 1e-12


class NaiveBayes:
    """Independent normal features in each class; see :class:`.learner.Learner`."""

    merge: Literal["sum", "moments"] = "moments"

    def features(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return how many features statistics of these shapes are of; 0 where they are others."""
        return shapes.get(MOMENTS, (0,))[-1]

    def statistics(self, features: int, outputs: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what is gathered, by name."""
        return {MOMENTS: (3, outputs, features)}

    def head(self, features: int, outputs: int, *, classifies: bool) -> dict[str, Numbers]:
        """Return a head of equal classes: even odds."""
        del classifies
        nothing = np.zeros((outputs, features))
        return {
            MEAN: nothing,
            LOG_VARIANCE: nothing.copy(),
            LOG_PRIOR: np.full(outputs, -np.log(outputs)),
        }

    def count(self, statistics: Statistics) -> float:
        """Return how many examples, by weight, the statistics hold."""
        return float(statistics[MOMENTS][0, :, 0].sum())

    def classes(self, manifest: Manifest, statistics: Statistics) -> Numbers:
        """Return the examples of each class, ``[K]``."""
        del manifest
        return statistics[MOMENTS][0, :, 0]

    def solve(
        self, manifest: Manifest, statistics: Statistics, start: Mapping[str, Numbers] | None
    ) -> dict[str, Numbers]:
        """Return means, variances and shares of the classes, drawn to the prior.

        A feature that never varied keeps the prior's variance: it must decide nothing.
        """
        gathered = statistics[MOMENTS]
        pooled = _pooled(gathered)
        prior = _prior(pooled, len(gathered[0])) if start is None else start
        weight, believed = np.full(gathered.shape[1:], manifest.ridge), np.exp(prior[LOG_VARIANCE])
        moments = merge_moments(gathered, np.stack([weight, prior[MEAN], weight * believed]))
        spread = np.maximum(variances(moments), _SMALLEST_VARIANCE * believed)
        counts = gathered[0, :, 0] + manifest.ridge * len(weight) * np.exp(prior[LOG_PRIOR])
        return {
            MEAN: moments[1],
            LOG_VARIANCE: np.log(np.where(_varies(pooled), spread, believed)),
            LOG_PRIOR: np.log(counts / counts.sum()),
        }

    def loss(self, statistics: Statistics, head: Mapping[str, Numbers]) -> float:
        """Return the mean negative log-likelihood of features and class together, in nats."""
        counts, mean, m2 = statistics[MOMENTS]
        squares = m2 + counts * np.square(mean - head[MEAN])
        spread = counts * (head[LOG_VARIANCE] + np.log(2.0 * np.pi))
        features = (spread + squares * np.exp(-head[LOG_VARIANCE])).sum() / 2.0
        total = float(features - counts[:, 0] @ head[LOG_PRIOR])
        return total / max(self.count(statistics), 1.0)

    def complaints(self, manifest: Manifest, statistics: Statistics) -> Iterator[str]:
        """Yield, as sentences, what shows that no examples can have led to these statistics."""
        del manifest
        counts, mean, m2 = statistics[MOMENTS]
        if (counts < 0).any() or (m2 < 0).any():
            yield "Its counts or squared deviations are below zero."
        if (np.ptp(counts, axis=1) > ROUNDING * counts.max()).any():
            yield "The features of a class differ in their count."
        if ((counts == 0) & ((mean != 0) | (m2 != 0))).any():
            yield "It describes a class without an example."
        if (np.square(mean) + variances(statistics[MOMENTS]) > LARGEST_SQUARE).any():
            yield f"A mean square in it is above {LARGEST_SQUARE:g}."


def _pooled(gathered: Moments) -> Moments:
    """Return the moments ``[3, F]`` of all classes as one."""
    pooled = gathered[:, 0]
    for number in range(1, gathered.shape[1]):
        pooled = merge_moments(pooled, gathered[:, number])
    return pooled


def _varies(pooled: Moments) -> NDArray[np.bool_]:
    """Say of each feature whether it varied by more than rounding."""
    spread = variances(pooled)
    varies: NDArray[np.bool_] = spread > _ROUNDING * (np.square(pooled[1]) + spread.max())
    return varies


def _prior(pooled: Moments, outputs: int) -> dict[str, Numbers]:
    """Return a head that takes each class for the pooled data."""
    spread = variances(pooled)
    largest = float(spread.max()) or 1.0
    return {
        MEAN: np.tile(pooled[1], (outputs, 1)),
        LOG_VARIANCE: np.tile(np.log(np.where(_varies(pooled), spread, largest)), (outputs, 1)),
        LOG_PRIOR: np.full(outputs, -np.log(outputs)),
    }
