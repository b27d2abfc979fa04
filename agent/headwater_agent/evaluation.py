"""Evaluation: a candidate, the release and a baseline on the same reserved examples.

The losses are those of :func:`headwater_models.judging.losses`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Batch, Floats
from headwater_models.arrays import Arrays
from headwater_models.judging import has_meaning, losses
from headwater_models.manifest import Manifest

ROWS_AT_ONCE = 1_024


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
        The reserved ones. Rows without a label that means something, or without a baseline, are
        left out; anomalies need neither.
    candidate, release
        Parameters.
    learned
        Labels ``[M]`` that may be learned from: the baseline of a model that does not forecast a
        channel of its window is their mean, or the share of each class among them. Anomaly models
        have none; it counts as 0.
    """
    baseline = reference(manifest, examples.window, learned)
    usable = np.isfinite(baseline).all(axis=1)
    if manifest.task != "anomaly":
        usable &= has_meaning(manifest, examples.label[:, 0])
    if not usable.any():
        return Judged()
    label, window, time = examples.label[usable], examples.window[usable], examples.time[usable]
    ours, theirs = (
        losses(manifest, _predictions(predictor, window, time, weights), label)
        for weights in (candidate, release)
    )
    difference = ours - theirs
    return Judged(
        rows=len(label),
        candidate=float(ours.mean()),
        release=float(theirs.mean()),
        baseline=float(losses(manifest, baseline[usable], label).mean()),
        difference_mean=float(difference.mean()),
        difference_m2=float(np.square(difference - difference.mean()).sum()),
    )


def last_known(column: Floats) -> Floats:
    """Return the last value of each row of ``[N, T]`` that is not missing; NaN where all are."""
    known = np.isfinite(column)
    last = column.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return np.where(known.any(axis=1), column[np.arange(len(column)), last], np.nan)


def reference(manifest: Manifest, window: Floats, learned: Floats) -> Floats:
    """Return what the baseline predicts, ``[N, K]``; NaN where it predicts nothing.

    Parameters
    ----------
    window
        ``[N, T, C]``.
    learned
        Labels ``[M]`` that may be learned from.
    """
    if manifest.task == "forecast":
        return last_known(window[:, :, manifest.target_index])[:, None]
    if manifest.task == "anomaly":
        return np.zeros((len(window), 1), np.float32)
    known = learned[has_meaning(manifest, learned)]
    answer = np.full(manifest.outputs, np.nan, np.float32)
    if manifest.task == "classification" and len(known):
        counts = np.bincount(known.astype(np.intp), minlength=manifest.outputs)
        answer[:] = counts / counts.sum()
    elif len(known):
        answer[:] = known.mean()
    return np.broadcast_to(answer, (len(window), manifest.outputs))


def _predictions(
    predictor: Predict, window: Floats, time: NDArray[np.int64], weights: Arrays
) -> Floats:
    cuts = [slice(i, i + ROWS_AT_ONCE) for i in range(0, len(window), ROWS_AT_ONCE)]
    return np.concatenate([predictor.run(window[cut], time[cut], weights) for cut in cuts])
