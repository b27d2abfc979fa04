"""Rules of what picks elements by index or condition, and puts them by index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater_models.graphs.expression import Value
from headwater_models.graphs.stacking.rule import Call, Stacked


def gather(call: Call) -> Sequence[Stacked]:
    """Pick slices of each member's own, of what all share, or by each member's own indices."""
    x, indices = call.inputs
    rank, depth, axis = call.rank(), call.rank(1), call.axis(0) - 1
    if not indices.own:
        return call.again(x.value, indices.value, axis=axis + 1)
    if not x.own:
        taken = call.op("Gather", x.value, indices.value, axis=axis)
        others = [i for i in range(len(taken.shape)) if i != axis]
        return [Stacked(_moved(call, taken, [axis, *others]))]
    front = x.value.transpose([0, axis + 1, *(i + 1 for i in range(rank) if i != axis)])
    taken = call.op("GatherND", front, indices.value.unsqueeze([-1]), batch_dims=1)
    before = [1 + depth + i for i in range(axis)]
    after = [1 + depth + i for i in range(axis, rank - 1)]
    return [Stacked(_moved(call, taken, [0, *before, *range(1, depth + 1), *after]))]


def gather_nd(call: Call) -> Sequence[Stacked]:
    """Pick by indices that go one axis less deep for each that is shared in order."""
    shared = int(call.node.attributes.get("batch_dims", 0))
    x, indices = call.inputs
    if not (x.own or shared):
        return call.again(x.value, indices.value)
    return call.again(call.each(0), call.each(1), batch_dims=shared + 1)


def by_element(call: Call) -> Sequence[Stacked]:
    """GatherElements and ScatterElements: all have the same axes."""
    return call.again(*(call.each(at) for at in range(len(call.inputs))), axis=call.axis(0))


def scatter_nd(call: Call) -> Sequence[Stacked]:
    """Put by indices that begin with the member's number."""
    if call.inputs[1].kept is not None:
        return _replaced(call, call.inputs[1].kept)
    x, indices, updates = (call.each(at) for at in range(3))
    numbers = call.graph.op("Range", np.array(0), call.count.squeeze([0]), np.array(1))
    numbers = numbers.unsqueeze(range(1, call.rank(1) + 1))
    before = call.graph.op("Shape", indices, shape=(call.rank(1),), end=-1)
    target = call.op("Concat", before, np.array([1]), axis=0)
    column = call.graph.op("Expand", numbers, target, shape=(*indices.shape[:-1], 1))
    return call.again(x, call.op("Concat", column, indices, axis=-1), updates)


def top_k(call: Call) -> Sequence[Stacked]:
    """Take as many of each member's own."""
    return call.again(call.inputs[0].value, call.shared(1), axis=call.axis(-1))


def compress(call: Call) -> Sequence[Stacked]:
    """Keep the same slices of all; of a single one, note which members keep it."""
    x, condition = call.inputs
    axis = call.node.attributes.get("axis")
    if axis is None:
        raise call.refusal("it has no axis")
    if not condition.own:
        return call.again(x.value, condition.value, axis=call.axis(0))
    if call.node.inputs[1].shape != (1,) or call.node.inputs[0].shape[0] != 1 or axis != 0:
        raise call.refusal("members keep different numbers of rows")
    return [Stacked(x.value, x.own, condition.value)]


def _replaced(call: Call, kept: Value) -> Sequence[Stacked]:
    """Put a single row in the place of a single row, for the members that keep it."""
    data = call.node.inputs[0]
    if data.shape[:1] != (1,) or call.node.attributes.get("reduction", "none") != "none":
        raise call.refusal("members put different numbers of rows")
    chosen = kept.unsqueeze(range(2, len(data.shape) + 1))
    return [Stacked(call.last("Where", chosen, call.inputs[2].value, call.inputs[0].value))]


def _moved(call: Call, value: Value, order: Sequence[int]) -> Value:
    return call.last("Transpose", value, perm=list(order))
