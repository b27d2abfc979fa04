"""Rules of normalisation: what is standardised is scaled and moved by each member's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater_models.graphs.expression import Value
from headwater_models.graphs.stacking.rule import Call, Stacked, fold, unfold


def layer(call: Call) -> Sequence[Stacked]:
    """Standardise over the last axes of each row."""
    x, axis, rank = call.each(0), call.axis(-1), call.rank()
    scale = call.node.inputs[1]
    if not any(stacked.own for stacked in call.inputs[1:]):
        return call.again(x, *(stacked.value for stacked in call.inputs[1:]), axis=axis)
    if not all(isinstance(size, int) for size in scale.shape):
        raise call.refusal(f"its scale has the open size {list(scale.shape)}")
    ones = np.ones([int(size) for size in scale.shape], scale.dtype)
    y, *others = call.again(x, ones, axis=axis)
    scaled = y.value * call.aligned(1, rank)
    return [Stacked(scaled + call.aligned(2, rank) if call.given(2) else scaled), *others]


def instance(call: Call) -> Sequence[Stacked]:
    """Standardise each channel of each row over its places."""
    x, scale = call.each(0), call.node.inputs[1]
    channels = scale.shape[0]
    if not isinstance(channels, int):
        raise call.refusal("its number of channels is open")
    ones = np.ones(channels, scale.dtype)
    attributes = call.node.attributes
    y = call.op("InstanceNormalization", fold(call, x), ones, 0.0 * ones, **attributes)
    return [Stacked(unfold(call, y, x) * _per_channel(call, 1) + _per_channel(call, 2))]


def batch(call: Call) -> Sequence[Stacked]:
    """As in inference: the statistics are given."""
    if call.node.attributes.get("training_mode", 0):
        raise call.refusal("it is in training mode")
    scale, bias, mean, variance = (_per_channel(call, at) for at in range(1, 5))
    deviation = call.op("Sqrt", variance + float(call.node.attributes.get("epsilon", 1e-5)))
    y = (call.inputs[0].value - mean) * (scale / deviation) + bias
    return [Stacked(y)]


def _per_channel(call: Call, position: int) -> Value:
    """Return ``[M, 1, C, 1...]``, or ``[C, 1...]`` where all share it."""
    stacked, places = call.inputs[position], call.rank() - 2
    if not stacked.own:
        return stacked.value.unsqueeze(range(1, places + 1))
    return stacked.value.unsqueeze([1, *range(3, places + 3)])
