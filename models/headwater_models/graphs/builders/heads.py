"""From features to a prediction: the last layer, its units, and what stays on the device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.graphs.builders.layers import Layers
from headwater_models.graphs.builders.specification import ModelSpec
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.features import last_observed
from headwater_models.graphs.losses import PREDICTION, RELEASED, SCALE, START
from headwater_models.graphs.scaling import Scaling
from headwater_models.manifest import Manifest

Finish = Callable[[Value, str], Value]
"""``finish(raw, name) -> prediction``: from the last layer to what the model says."""


def predict(
    layers: Layers, features: Value, finish: Finish, spec: ModelSpec, width: int
) -> list[Value]:
    """Return the outputs: the prediction, and the released part of a blend.

    A blend adds ``gate`` times a second last layer. That starts at zero, so until it has learned
    the prediction is the released one. It learns what the released part leaves over, and that
    part learns as if it stood alone: were both to follow the same loss, half of what is common
    to all devices would stay on them (Deng et al. 2020 on mixing, Arivazhagan et al. 2019 on
    layers that stay).
    """
    released = layers.last("head", features, width)
    if spec.personal != "blend":
        return [finish(released, PREDICTION)]
    gate = layers.parameter("personal.gate", np.ones(1))
    blended = released + gate * layers.last("personal", features, width)
    return [finish(blended, PREDICTION), finish(released, RELEASED)]


def local_arrays(spec: ModelSpec) -> tuple[str, ...]:
    """Return the names of the arrays that never leave the device."""
    match spec.personal:
        case "none":
            return ()
        case "head":
            return ("head.weight", "head.bias")
        case "blend":
            return ("personal.gate", "personal.weight", "personal.bias")


def natural_units(graph: Graph, manifest: Manifest, scaling: Scaling, window: Value) -> Finish:
    """Return how the last layer's output becomes a value, quantiles, or probabilities.

    Zeros are persistence, the label's mean, or even odds.
    """
    if manifest.task == "classification":
        return lambda raw, name: graph.op("Softmax", raw, axis=-1, name=name)
    if manifest.task == "forecast":
        column = manifest.target_index
        if manifest.channels[column].categories:
            raise UnsupportedError(
                f"target {manifest.target}: a forecast is of a measured channel; predict the "
                "categories of this one as the classes of a classification."
            )
        scale = scaling.scale[column]
        mean = graph.constant(scaling.mean[column], "label.mean")
        start = graph.op("Identity", last_observed(graph, window, column, mean), name=START)
    else:
        scale = scaling.label_scale
        start = graph.constant(scaling.label_mean, START)
    width = graph.constant(scale, SCALE)

    def finish(raw: Value, name: str) -> Value:
        values = _ascending(raw, manifest.quantiles) if manifest.quantiles else raw
        return graph.op("Add", start, width * values, name=name)

    return finish


def _ascending(raw: Value, quantiles: tuple[float, ...]) -> Value:
    """Return values ``[N, Q]`` that never cross.

    The column of the quantile nearest to the median is taken as it is; each of the others lies
    further out than its neighbour towards it, by the squareplus of its column (Barron 2021), which
    is smooth, above 0, half a scale at first, and cannot overflow as a softplus can.
    """
    graph, count = raw.graph, len(quantiles)
    pivot = int(np.argmin(np.abs(np.array(quantiles) - 0.5)))
    gaps = 0.5 * (raw + graph.op("Sqrt", raw * raw + 1.0))
    column, output = np.ogrid[:count, :count]
    above = ((pivot < column) & (column <= output)).astype(graph.dtype)
    below = ((output <= column) & (column < pivot)).astype(graph.dtype)
    middle = graph.op("Gather", raw, np.array([pivot]), axis=1)
    return middle + gaps @ graph.constant(above - below)
