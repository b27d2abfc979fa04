"""Rules of what moves elements as blocks, and of the shapes that say where to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater_models.graphs.expression import Value
from headwater_models.graphs.stacking.rule import Call, Stacked


def concat(call: Call) -> Sequence[Stacked]:
    """Join along the axis, one further on."""
    return call.again(*(call.each(at) for at in range(len(call.inputs))), axis=call.axis(0))


def expand(call: Call) -> Sequence[Stacked]:
    """Repeat each member's own."""
    rank = len(call.node.outputs[0].shape)
    (length,) = call.node.inputs[1].shape
    target = call.prefixed(1, *[1] * (rank + 1 - int(length)))
    return [Stacked(call.last("Expand", call.aligned(0, rank), target))]


def flatten(call: Call) -> Sequence[Stacked]:
    """Make a matrix of each member's own."""
    x, axis = call.inputs[0].value, int(call.node.attributes.get("axis", 1))
    width = call.elements(x, axis + 1 if axis >= 0 else axis + call.rank() + 1)
    target = call.op("Concat", np.array([0, -1]), width.unsqueeze([0]), axis=0)
    return [Stacked(call.last("Reshape", x, target))]


def reshape(call: Call) -> Sequence[Stacked]:
    """Lay out in the same shape; a size of 0, the same as before, stands for the members."""
    if call.node.attributes.get("allowzero", 0):
        raise call.refusal("its allowzero is set")
    return [Stacked(call.last("Reshape", call.inputs[0].value, call.prefixed(1, 0)))]


def pad(call: Call) -> Sequence[Stacked]:
    """Put the same border around each member's own; where they fill it differently, choose."""
    named = call.frozen(3) if call.given(3) else np.arange(call.rank())
    x, pads, axes = call.each(0), call.shared(1), named % call.rank() + 1
    constant = call.node.attributes.get("mode", "constant") == "constant"
    if not (constant and call.given(2) and call.inputs[2].own):
        fill = call.shared(2) if constant and call.given(2) else _number(call, 0)
        return call.again(x, pads, fill, axes)
    inside = call.graph.op("Expand", _number(call, 1), call.sizes(x, 0), shape=x.shape)
    padded, there = (call.again(v, pads, _number(call, 0), axes)[0].value for v in (x, inside))
    chosen = call.op("Greater", there, _number(call, 0))
    return [Stacked(call.last("Where", chosen, padded, call.aligned(2, call.rank())))]


def slice_(call: Call) -> Sequence[Stacked]:
    """Cut the same axes, one further on."""
    count = call.node.inputs[1].shape[0]
    named = call.frozen(3) if call.given(3) else np.arange(int(count))
    steps = [call.shared(4)] if call.given(4) else []
    bounds = (call.shared(1), call.shared(2))
    return call.again(call.inputs[0].value, *bounds, named % call.rank() + 1, *steps)


def split(call: Call) -> Sequence[Stacked]:
    """Cut along the axis, one further on."""
    sizes = [call.shared(1)] if call.given(1) else []
    return call.again(call.inputs[0].value, *sizes, axis=call.axis(0))


def squeeze(call: Call) -> Sequence[Stacked]:
    """Drop the same axes, one further on; all of size 1 but the members' where none is named."""
    ones = [axis for axis, size in enumerate(call.node.inputs[0].shape) if size == 1]
    axes = call.frozen(1) if call.given(1) else np.array(ones, np.int64)
    if not axes.size:
        return [Stacked(call.last("Identity", call.inputs[0].value))]
    return call.again(call.inputs[0].value, axes % call.rank() + 1)


def unsqueeze(call: Call) -> Sequence[Stacked]:
    """Insert the same axes, one further on."""
    rank = len(call.node.outputs[0].shape)
    return call.again(call.inputs[0].value, call.frozen(1) % rank + 1)


def tile(call: Call) -> Sequence[Stacked]:
    """Repeat each member's own."""
    return [Stacked(call.last("Tile", call.inputs[0].value, call.prefixed(1, 1)))]


def transpose(call: Call) -> Sequence[Stacked]:
    """Permute the axes behind the members'."""
    order = call.node.attributes.get("perm", range(call.rank())[::-1])
    return call.again(call.inputs[0].value, perm=[0, *(axis + 1 for axis in order)])


def shape(call: Call) -> Sequence[Stacked]:
    """Return the shape that all members have."""
    attributes, axes = call.node.attributes, range(call.rank())
    axes = axes[attributes.get("start", 0) : attributes.get("end")]
    sizes = call.sizes(call.inputs[0].value, axes.start + 1, axes.stop + 1)
    value = call.graph.constant(sizes) if isinstance(sizes, np.ndarray) else sizes
    return [Stacked(value, own=False)]


def size(call: Call) -> Sequence[Stacked]:
    """Return how many elements a member has."""
    return [Stacked(call.elements(call.inputs[0].value, 1), own=False)]


def triangle(call: Call) -> Sequence[Stacked]:
    """Trilu works on the last two axes."""
    diagonal = [call.shared(1)] if call.given(1) else []
    return call.again(call.inputs[0].value, *diagonal)


def _number(call: Call, number: int) -> Value:
    """Return a number of the first input's dtype."""
    return call.graph.constant(np.array(number, call.node.inputs[0].dtype))
