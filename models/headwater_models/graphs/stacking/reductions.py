"""Rules of what goes over axes: reductions, running sums, softmax."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater_models.graphs.stacking.rule import Call, Stacked


def reduction(call: Call) -> Sequence[Stacked]:
    """Reduce the same axes, one further on; all but the members' where none is named."""
    axes = call.frozen(1).ravel() if call.given(1) else np.zeros(0, np.int64)
    x, rank = call.inputs[0].value, call.rank()
    if not axes.size:
        if call.node.attributes.get("noop_with_empty_axes", 0):
            return call.again(x)
        axes = np.arange(rank)
    if rank == 0:
        return call.again(x.unsqueeze([1]), np.array([1]), keepdims=0)
    return call.again(x, axes % rank + 1)


def running_sum(call: Call) -> Sequence[Stacked]:
    """Add up along the same axis, one further on."""
    axis = np.asarray(call.frozen(1) % call.rank() + 1)
    return call.again(call.inputs[0].value, axis)


def along_last(call: Call) -> Sequence[Stacked]:
    """Work along one axis, the last where none is named."""
    return call.again(*(stacked.value for stacked in call.inputs), axis=call.axis(-1))


def along_first(call: Call) -> Sequence[Stacked]:
    """Work along one axis, the first where none is named."""
    return call.again(*(stacked.value for stacked in call.inputs), axis=call.axis(0))
