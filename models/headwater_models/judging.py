"""How wrong predictions were: one rule for each task, in units that people read.

``errors`` are what an owner looks at and what a device's models are compared by: the absolute
error in the target's unit for numbers, 0 or 1 for classes. ``losses`` are what candidates are
judged by: they also reward a probability or a quantile that is nearer to the truth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater_models.manifest import Manifest

_SMALLEST = 1e-7
"""Probabilities below this count as this, as their logarithm would not be finite."""

Floats = NDArray[np.float32]
Losses = NDArray[np.float64]


def has_meaning(manifest: Manifest, label: Floats | float) -> NDArray[np.bool_]:
    """Say which labels ``[N]`` are finite, and of a class that there is."""
    if manifest.task == "classification":
        return np.isin(label, np.arange(manifest.outputs))
    if manifest.task == "anomaly":
        return np.isin(label, (0, 1))
    finite: NDArray[np.bool_] = np.isfinite(np.asarray(label))
    return finite


def point(manifest: Manifest, prediction: Floats) -> Losses:
    """Return the one number ``[N]`` that a prediction ``[N, K]`` comes down to.

    The most probable class, the quantile nearest to the median, or the value itself.
    """
    if manifest.task == "classification":
        classes: Losses = np.argmax(prediction, axis=1).astype(np.float64)
        return classes
    distances = np.abs(np.array(manifest.quantiles or (0.5,)) - 0.5)
    return prediction[:, int(np.argmin(distances))].astype(np.float64)


def errors(manifest: Manifest, prediction: Floats, label: Floats) -> Losses:
    """Return each row's error; NaN where the prediction is not finite.

    Parameters
    ----------
    prediction
        ``[N, K]``.
    label
        ``[N, 1]``, each with a meaning (see :func:`has_meaning`); not for anomalies, whose error
        depends on a threshold.
    """
    said = point(manifest, prediction)
    truth = label[:, 0].astype(np.float64)
    wrong = (said != truth) if manifest.task == "classification" else np.abs(said - truth)
    return np.where(np.isfinite(prediction).all(axis=1), wrong, np.nan)


def losses(manifest: Manifest, prediction: Floats, label: Floats) -> Losses:
    """Return each row's loss.

    Cross-entropy in nats for classes, the mean pinball loss for quantiles (Koenker and Bassett,
    1978), the score itself for anomalies, else the absolute error.

    Parameters
    ----------
    prediction
        ``[N, K]``.
    label
        ``[N, 1]``, each with a meaning; anomalies need none.
    """
    made = prediction.astype(np.float64)
    if manifest.task == "classification":
        chosen = np.take_along_axis(made, label.astype(np.intp), axis=1)[:, 0]
        return -np.log(np.maximum(chosen, _SMALLEST))
    if manifest.task == "anomaly":
        return made[:, 0]
    error = label.astype(np.float64) - made
    if manifest.quantiles:
        levels = np.array(manifest.quantiles)
        pinball: Losses = np.maximum(levels * error, (levels - 1) * error).mean(axis=1)
        return pinball
    return np.abs(error[:, 0])
