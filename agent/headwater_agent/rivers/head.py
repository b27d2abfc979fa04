"""The last layer of a bundle, as a linear model of river knows it: weights over the features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater_agent.events import Floats
from headwater_models.arrays import Arrays
from headwater_models.manifest import Manifest
from headwater_models.session import Predictor, Times

WEIGHT, BIAS = "head.weight", "head.bias"
"""The arrays of the last layer, ``[F, K]`` and ``[K]``, as the builders name them."""

Doubles = NDArray[np.float64]

_FAR = 2.0**20
"""A bias so large that what it adds to a prediction shows the target's scale to float32's limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """A linear model over the features: ``weight`` ``[F, L]`` and ``bias`` ``[L]``.

    L is 1 for a number, and for two classes told apart by one logit; else the number of classes.
    """

    weight: Doubles
    bias: Doubles


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """``prediction = start + scale * (features @ weight + bias)``, or the softmax of the latter.

    ``start`` is what the graph predicts with a head of zero (a forecast's last value, or the
    label's mean), so a model of the head learns ``(label - start) / scale``.
    """

    predictor: Predictor
    manifest: Manifest
    scale: float

    def start(self, window: Floats, time: Times, arrays: Arrays) -> Doubles:
        """Return ``[N, 1]`` in the target's unit."""
        empty = arrays | {name: np.zeros_like(arrays[name]) for name in (WEIGHT, BIAS)}
        return self.predictor.run(window, time, empty).astype(np.float64)

    def write(self, coefficients: Coefficients, arrays: Arrays) -> Arrays:
        """Return *arrays* with the coefficients as head.

        One logit over two classes is shared out to both, around the mean that they had.
        """
        weight, bias = coefficients.weight, coefficients.bias
        if len(bias) < self.manifest.outputs:
            half = np.array([-0.5, 0.5])
            weight = arrays[WEIGHT].mean(axis=1, keepdims=True, dtype=np.float64) + weight * half
            bias = arrays[BIAS].mean(dtype=np.float64) + bias * half
        like = {WEIGHT: weight, BIAS: bias}
        return arrays | {name: a.astype(arrays[name].dtype) for name, a in like.items()}

    def read(self, arrays: Arrays, logits: int) -> Coefficients:
        """Return the head in *arrays* as coefficients of *logits* columns."""
        weight, bias = (arrays[name].astype(np.float64) for name in (WEIGHT, BIAS))
        if logits < len(bias):
            return Coefficients(weight[:, 1:] - weight[:, :1], bias[1:] - bias[:1])
        return Coefficients(weight, bias)


def find_head(
    predictor: Predictor, manifest: Manifest, arrays: Arrays, window: Floats, time: Times
) -> Head | None:
    """Return the bundle's head; None where it has none that learns, or another kind of one.

    Parameters
    ----------
    window, time
        Rows to try it on.
    """
    layer = [array for array in manifest.arrays if array.name in (WEIGHT, BIAS)]
    if len(layer) < 2 or any(array.frozen or array.merge == "solved" for array in layer):
        return None
    if manifest.task == "anomaly":
        return None
    try:
        features = predictor.features(window, time, arrays).astype(np.float64)
    except BundleError:
        return None
    if arrays[WEIGHT].shape != (features.shape[1], manifest.outputs):
        return None
    head = Head(predictor, manifest, _scale(predictor, manifest, arrays, window, time))
    rng = np.random.default_rng(0)
    trial = arrays | {
        name: rng.normal(0, 0.1, arrays[name].shape).astype(arrays[name].dtype)
        for name in (WEIGHT, BIAS)
    }
    want = head_output(features @ trial[WEIGHT] + trial[BIAS], manifest)
    if manifest.task != "classification":
        want = head.start(window, time, arrays) + head.scale * want
    have = predictor.run(window, time, trial)
    return head if np.allclose(have, want, rtol=1e-3, atol=1e-3 * head.scale) else None


def head_output(logits: Doubles, manifest: Manifest) -> Doubles:
    """Return the softmax of ``[N, K]`` for classes; numbers stay as they are."""
    if manifest.task != "classification":
        return logits
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _scale(
    predictor: Predictor, manifest: Manifest, arrays: Arrays, window: Floats, time: Times
) -> float:
    """Ask the graph for the target's scale; 1 for classes."""
    if manifest.task == "classification":
        return 1.0
    near, far = (
        predictor.run(
            window,
            time,
            arrays
            | {
                WEIGHT: np.zeros_like(arrays[WEIGHT]),
                BIAS: np.full_like(arrays[BIAS], bias),
            },
        ).astype(np.float64)
        for bias in (0.0, _FAR)
    )
    return float(np.median(far - near) / _FAR)
