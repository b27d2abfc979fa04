"""Ridge regression and ridge classification from a Gram matrix and cross-products.

With rows x (the features and a 1 for the intercept) and targets y, what is gathered is the sum
of x xᵀ, of x yᵀ, and of y². That these add up over devices, so that the head solved from the sum is
the one of the pooled data, is the idea of analytic federated learning (He et al., *AFL: A
Single-Round Analytic Approach for Federated Learning with Pre-trained Models*, CVPR 2025) and of
federated recursive ridge regression (Fanì et al., *Accelerating Heterogeneous Federated Learning
with Closed-form Classifiers* (Fed3R), ICML 2024).

A classification regresses on one column for each class, 1 for the class and else 0. Its scores
become probabilities by linear discriminant analysis among the scores, which needs nothing but the
same sums (Hastie, Buja and Tibshirani, *Penalized Discriminant Analysis*, 1995).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.arrays import Statistics
from headwater_models.manifest import Manifest
from headwater_models.statistics.learner import LARGEST_SQUARE, ROUNDING, Numbers

GRAM = "statistics.gram"
"""``[F + 1, F + 1]``: sum of x xᵀ; the last element is the count."""

CROSS = "statistics.cross"
"""``[F + 1, K]``: sum of x yᵀ; of a classification the last row counts the classes."""

SQUARE = "statistics.square"
"""``[K]``: sum of y²."""

WEIGHT, BIAS = "head.weight", "head.bias"
"""``[F, K]`` and ``[K]``: scores are ``features @ weight + bias``."""

CALIBRATION, OFFSET = "head.calibration.weight", "head.calibration.bias"
"""``[K, K]`` and ``[K]``: from a classification's scores to the logarithms of probabilities."""


class Ridge:
    """Least squares with a penalty on the weights; see :class:`.learner.Learner`."""

    merge: Literal["sum", "moments"] = "sum"

    def features(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return how many features statistics of these shapes are of; 0 where they are others."""
        return shapes.get(GRAM, (1,))[0] - 1

    def statistics(self, features: int, outputs: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what is gathered, by name."""
        rows = features + 1
        return {GRAM: (rows, rows), CROSS: (rows, outputs), SQUARE: (outputs,)}

    def head(self, features: int, outputs: int, *, classifies: bool) -> dict[str, Numbers]:
        """Return a head of zeros: scaled targets are at their start, classes at even odds."""
        head = {WEIGHT: np.zeros((features, outputs)), BIAS: np.zeros(outputs)}
        if classifies:
            head |= {CALIBRATION: np.eye(outputs), OFFSET: np.zeros(outputs)}
        return head

    def count(self, statistics: Statistics) -> float:
        """Return how many examples, by weight, the statistics hold."""
        return float(statistics[GRAM][-1, -1])

    def classes(self, manifest: Manifest, statistics: Statistics) -> Numbers:
        """Return the examples of each class, ``[K]``; of a regression, none, ``[0]``."""
        return statistics[CROSS][-1] if manifest.classes else np.zeros(0)

    def solve(
        self, manifest: Manifest, statistics: Statistics, start: Mapping[str, Numbers] | None
    ) -> dict[str, Numbers]:
        """Return the weights that minimise ``|x W - y|² + ridge |W - start|²``.

        Without a start, the penalty draws to 0 and spares the intercept. Around a start it counts
        for the intercept too, and a classification keeps the start's probabilities of its scores.
        """
        gram, cross = statistics[GRAM], statistics[CROSS]
        penalty = np.full(len(gram), manifest.ridge)
        if start is None:
            penalty[-1] = 0.0
        else:
            cross = cross + penalty[:, None] * _joined(start)
        solution = _solve(gram + np.diag(penalty), cross, manifest.ridge)
        head = {WEIGHT: solution[:-1], BIAS: solution[-1]}
        if manifest.classes:
            kept = start and {CALIBRATION: start[CALIBRATION], OFFSET: start[OFFSET]}
            head |= kept or _discriminants(statistics, solution)
        return head

    def loss(self, statistics: Statistics, head: Mapping[str, Numbers]) -> float:
        """Return the mean squared error of the scores."""
        weight, cross = _joined(head), statistics[CROSS]
        explained = (weight * (2.0 * cross - statistics[GRAM] @ weight)).sum()
        left = max(0.0, float(statistics[SQUARE].sum() - explained))
        return left / max(self.count(statistics), 1.0) / float(cross.shape[1])

    def complaints(self, manifest: Manifest, statistics: Statistics) -> Iterator[str]:
        """Yield, as sentences, what shows that no examples can have led to these statistics."""
        gram, cross, square = (statistics[name] for name in (GRAM, CROSS, SQUARE))
        count, diagonal = gram[-1, -1], np.concatenate([np.diag(gram), square])
        if count <= 0 or (diagonal < 0).any():
            yield "Its sums of squares, or its count, are not above zero."
            return
        if (diagonal > LARGEST_SQUARE * count).any():
            yield f"A mean square in it is above {LARGEST_SQUARE:g}."
        if manifest.classes and not _adds_up(cross[-1], square, count):
            yield "Its classes do not add up to its count."
        joint = np.block([[gram, cross], [cross.T, np.diag(square)]])
        if not _is_gram(joint, diagonal):
            yield "Its Gram matrix is not symmetric and positive semidefinite: no data have it."


def _joined(head: Mapping[str, Numbers]) -> Numbers:
    return np.concatenate([head[WEIGHT], head[BIAS][None]])


def _solve(gram: Numbers, cross: Numbers, ridge: float) -> Numbers:
    """Solve by Cholesky's factors of the matrix with its diagonal scaled to 1."""
    diagonal = np.diag(gram)
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    try:
        factor = np.linalg.cholesky(scale[:, None] * (gram + gram.T) * scale / 2.0)
    except np.linalg.LinAlgError as error:
        raise UnsupportedError(
            f"The statistics cannot be solved with ridge {ridge:g}: the features depend on each "
            "other too closely. Give the model a larger ridge, or fewer features."
        ) from error
    halfway = np.linalg.solve(factor, scale[:, None] * cross)
    return np.asarray(scale[:, None] * np.linalg.solve(factor.T, halfway))


def _discriminants(statistics: Statistics, solution: Numbers) -> dict[str, Numbers]:
    """Return what makes probabilities of scores that are normal within each class.

    One more example with unit covariance keeps classes that part perfectly from being certain.
    """
    gram, cross = statistics[GRAM], statistics[CROSS]
    counts, count = cross[-1], gram[-1, -1]
    centre = solution.T @ gram[-1] / count
    sums = (solution.T @ cross).T
    means = np.where(counts[:, None] > 0, sums / np.maximum(counts[:, None], 1.0), centre)
    apart = means - centre
    total = solution.T @ gram @ solution - count * np.outer(centre, centre)
    within = total - apart.T @ (counts[:, None] * apart)
    within = ((within + within.T) / 2.0 + np.eye(len(counts))) / (count + 1.0)
    directions = np.linalg.solve(within, apart.T)
    priors = np.log((counts + 1.0) / (count + len(counts)))
    middle = (centre + apart / 2.0) * directions.T
    return {CALIBRATION: directions, OFFSET: priors - middle.sum(axis=1)}


def _adds_up(counts: Numbers, square: Numbers, count: float) -> bool:
    close = np.abs(counts - square).max() <= ROUNDING * count
    return bool(close and abs(counts.sum() - count) <= ROUNDING * count)


def _is_gram(joint: Numbers, diagonal: Numbers) -> bool:
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = scale[:, None] * joint * scale
    if np.abs(scaled - scaled.T).max() > ROUNDING:
        return False
    try:
        np.linalg.cholesky((scaled + scaled.T) / 2.0 + len(joint) * ROUNDING * np.eye(len(joint)))
    except np.linalg.LinAlgError:
        return False
    return True
