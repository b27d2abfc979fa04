"""Rules of normalisation: what is standardised, then scaled and moved by parameters."""

from __future__ import annotations

from collections.abc import Sequence

from headwater_models.graphs.expression import Node, Value
from headwater_models.graphs.gradients.rule import Gradients, refusal


def layer(node: Node, g: Value | None, *others: Value | None) -> Gradients:
    """Standardise over the last axes of each row (Ba et al. 2016)."""
    if g is None or any(other is not None for other in others):
        raise refusal(node, "its mean or deviation is used", "compute it with ReduceMean")
    x, scale = node.inputs[:2]
    axes = range(node.attributes.get("axis", -1) % len(x.shape), len(x.shape))
    z, deviation = _standardised(x, axes, node)
    return _to_input(g * scale, z, deviation, axes), g * z, g


def instance(node: Node, g: Value) -> Gradients:
    """Standardise each channel of each row over its places (Ulyanov et al. 2016)."""
    x, scale = node.inputs[:2]
    places = range(2, len(x.shape))
    z, deviation = _standardised(x, places, node)
    to_x = _to_input(g * _per_channel(scale, x), z, deviation, places)
    return to_x, _over_channels(g * z), _over_channels(g)


def batch(node: Node, g: Value, *_: Value | None) -> Gradients:
    """As in inference: the statistics stay as they are, scale and bias learn."""
    if node.attributes.get("training_mode", 0):
        raise refusal(node, "it is in training mode", "export the model in inference mode")
    x, scale, mean, variance = (node.inputs[at] for at in (0, 1, 3, 4))
    root = g.graph.op("Sqrt", variance + node.attributes.get("epsilon", 1e-5))
    z = (x - _per_channel(mean, x)) / _per_channel(root, x)
    return g * _per_channel(scale / root, x), _over_channels(g * z), _over_channels(g)


def _standardised(x: Value, axes: Sequence[int], node: Node) -> tuple[Value, Value]:
    """Return *x* with mean 0 and variance 1 over *axes*, and its deviation."""
    centred = x - x.mean(axes)
    variance = (centred * centred).mean(axes) + node.attributes.get("epsilon", 1e-5)
    deviation = x.graph.op("Sqrt", variance)
    return centred / deviation, deviation


def _to_input(g: Value, z: Value, deviation: Value, axes: Sequence[int]) -> Value:
    """Pass the gradient of a standardised tensor back (Ioffe and Szegedy 2015)."""
    return (g - g.mean(axes) - z * (g * z).mean(axes)) / deviation


def _per_channel(value: Value, x: Value) -> Value:
    return value.unsqueeze(range(1, len(x.shape) - 1))


def _over_channels(value: Value) -> Value:
    return value.sum([axis for axis in range(len(value.shape)) if axis != 1])
