"""Rules of operators that work on elements, whatever their places."""

from __future__ import annotations

from collections.abc import Sequence

from headwater_models.graphs.stacking.rule import Call, Stacked


def elementwise(call: Call) -> Sequence[Stacked]:
    """Broadcast: each member's own values get as many axes as the largest has."""
    rank = max(map(call.rank, range(len(call.inputs))))
    return call.again(*(call.aligned(at, rank) for at in range(len(call.inputs))))


def p_relu(call: Call) -> Sequence[Stacked]:
    """Broadcast the slope to the values, which are not broadcast to it."""
    return call.again(call.each(0), call.aligned(1, call.rank()))


def clip(call: Call) -> Sequence[Stacked]:
    """Clip takes the same bounds for all; other bounds are a maximum and a minimum."""
    if not any(stacked.own for stacked in call.inputs[1:]):
        return call.again(*(stacked.value for stacked in call.inputs))
    value, rank = call.inputs[0].value, call.rank()
    for position, operator in ((1, "Max"), (2, "Min")):
        if call.given(position):
            bound = call.aligned(position, rank)
            value = call.last(operator, value, bound)
    return [Stacked(value)]


def dropout(call: Call) -> Sequence[Stacked]:
    """Pass everything, as in inference."""
    if call.given(2) and call.frozen(2):
        raise call.refusal("it drops at random")
    return call.again(call.inputs[0].value, *map(call.shared, range(1, len(call.inputs))))
