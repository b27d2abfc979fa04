"""Evaluation: a candidate, the release and a baseline on the same reserved examples.

The loss is one that people can read: the absolute error in the target's unit for numbers, the
cross-entropy in nats for classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Batch, Floats
from headwater_models.arrays import Arrays
from headwater_models.manifest import Manifest

ROWS_AT_ONCE = 1_024

_SMALLEST = 1e-7
"""Probabilities below this count as this, as their logarithm would not be finite."""

Losses = NDArray[np.float64]


class Predict(Protocol):
    """A model; see :meth:`headwater_models.session.Predictor.run`."""

    def run(self, window: Floats, time: NDArray[np.int64], parameters: Arrays) -> Floats:
        """Return predictions ``[N, K]``."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Mean losses over the rows, and the paired differences (candidate - release).

    ``difference_m2`` is the sum of squared deviations from ``difference_mean``, so that devices
    can be pooled (Chan, Golub and LeVeque, 1979).
    """

    rows: int = 0
    candidate: float = 0.0
    release: float = 0.0
    baseline: float = 0.0
    difference_mean: float = 0.0
    difference_m2: float = 0.0


def evaluate(
    predictor: Predict,
    manifest: Manifest,
    examples: Batch,
    *,
    candidate: Arrays,
    release: Arrays,
    learned: Floats,
) -> Judged:
    """Judge two sets of weights on examples that neither has learned from.

    Parameters
    ----------
    predictor
        Runs the model.
    manifest
        Task, target and classes.
    examples
        The reserved ones. Rows without a finite label or without a baseline are left out.
    candidate, release
        Parameters.
    learned
        Labels ``[M]`` that may be learned from: the baseline of a model that does not forecast a
        channel of its window is their mean, or the share of each class among them.
    """
    reference = _baseline(manifest, examples.window, learned)
    usable = _has_meaning(manifest, examples.label[:, 0]) & np.isfinite(reference).all(axis=1)
    if not usable.any():
        return Judged()
    label, window, time = examples.label[usable], examples.window[usable], examples.time[usable]
    ours, theirs = (
        _losses(manifest, _predictions(predictor, window, time, weights), label)
        for weights in (candidate, release)
    )
    difference = ours - theirs
    return Judged(
        rows=len(label),
        candidate=float(ours.mean()),
        release=float(theirs.mean()),
        baseline=float(_losses(manifest, reference[usable], label).mean()),
        difference_mean=float(difference.mean()),
        difference_m2=float(np.square(difference - difference.mean()).sum()),
    )


def last_known(column: Floats) -> Floats:
    """Return the last value of each row of ``[N, T]`` that is not missing; NaN where all are."""
    known = np.isfinite(column)
    last = column.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return np.where(known.any(axis=1), column[np.arange(len(column)), last], np.nan)


def _baseline(manifest: Manifest, window: Floats, learned: Floats) -> Floats:
    """Return what the baseline predicts, ``[N, K]``; NaN where it predicts nothing."""
    if manifest.task == "forecast":
        return last_known(window[:, :, manifest.target_index])[:, None]
    known = learned[_has_meaning(manifest, learned)]
    answer = np.full(manifest.outputs, np.nan, np.float32)
    if manifest.task == "classification" and len(known):
        counts = np.bincount(known.astype(np.intp), minlength=manifest.outputs)
        answer[:] = counts / counts.sum()
    elif len(known):
        answer[:] = known.mean()
    return np.broadcast_to(answer, (len(window), manifest.outputs))


def _has_meaning(manifest: Manifest, label: Floats) -> NDArray[np.bool_]:
    """Say which labels are finite, and of a class that there is."""
    if manifest.task == "classification":
        return np.isin(label, np.arange(manifest.outputs))
    return np.isfinite(label)


def _losses(manifest: Manifest, prediction: Floats, label: Floats) -> Losses:
    """Return the loss of each row."""
    if manifest.task == "classification":
        chosen = np.take_along_axis(prediction, label.astype(np.intp), axis=1)[:, 0]
        return -np.log(np.maximum(chosen.astype(np.float64), _SMALLEST))
    return np.abs(prediction[:, 0].astype(np.float64) - label[:, 0])


def _predictions(
    predictor: Predict, window: Floats, time: NDArray[np.int64], weights: Arrays
) -> Floats:
    cuts = [slice(i, i + ROWS_AT_ONCE) for i in range(0, len(window), ROWS_AT_ONCE)]
    return np.concatenate([predictor.run(window[cut], time[cut], weights) for cut in cuts])
