"""Sigmoids written out, and shares of several: as what they are, so that they can learn.

scikit-learn's exporter writes ``1 / (1 + exp(-x))``, and divides such scores by their sum. Where
exp is infinite the score is 0, as it should be, but its gradient 0 times infinity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater_models.graphs.expression import Node, Value
from headwater_models.graphs.gradients.rule import given
from headwater_models.graphs.importing.folding import broadcast
from headwater_models.graphs.importing.replay import Step, maker


def divide(step: Step) -> Sequence[Value] | None:
    """Find a sigmoid, or shares of sigmoids; any other quotient stays what it is."""
    top, bottom = step.needed(0), step.needed(1)
    if step.repeats(top, 1) and broadcast(top.shape, bottom.shape) == bottom.shape:
        return _sigmoid(step, bottom)
    return _shares(step, top, bottom)


def reciprocal(step: Step) -> Sequence[Value] | None:
    """Find a sigmoid; any other reciprocal stays what it is."""
    return _sigmoid(step, step.needed(0))


def _sigmoid(step: Step, below: Value) -> Sequence[Value] | None:
    """Return 1 / *below* where *below* is 1 + exp(x): the sigmoid of -x, whatever x."""
    for one, power in _summands(below):
        raised = _made_by(power, "Exp")
        if raised and step.repeats(one, 1) and power.shape == below.shape:
            return [step.graph.op("Sigmoid", _negated(step, raised.inputs[0]))]
    return None


def _negated(step: Step, x: Value) -> Value:
    """Return -x, which is what x was made of where it is a negation itself."""
    if negation := _made_by(x, "Neg"):
        return negation.inputs[0]
    if product := _made_by(x, "Mul"):
        for one, other in (product.inputs, product.inputs[::-1]):
            if step.repeats(other, -1) and one.shape == x.shape:
                return one
    return -x


def _shares(step: Step, top: Value, bottom: Value) -> Sequence[Value] | None:
    """Return sigmoids divided by their sum s: the softmax of their logarithms.

    The exporter divides y + (s == 0) by s + (s == 0) * count, so that the shares of scores that
    are all 0 are equal. They are so where every exp is infinite.
    """
    for scores, total, padded in _quotients(step, top, bottom):
        scored = _made_by(scores, "Sigmoid")
        if scored is None or not _is_sum(total, scores):
            continue
        power, graph = _negated(step, scored.inputs[0]), step.graph
        logarithms = -graph.op("Softplus", power)
        if padded:
            least = graph.op("ReduceMin", graph.op("Exp", power), np.array([-1]), keepdims=1)
            logarithms = graph.op("Where", graph.op("Equal", least, np.inf), 0.0, logarithms)
        return [graph.op("Softmax", logarithms, axis=-1)]
    return None


def _quotients(step: Step, top: Value, bottom: Value) -> list[tuple[Value, Value, bool]]:
    """Return what may be scores and their sum, and whether both are padded where that is 0."""
    found = [(top, bottom, False)]
    for scores, pad in _summands(top):
        for total, pads in _summands(bottom):
            counted = _made_by(pads, "Mul")
            if counted and counted.inputs[0] is pad and _is_zero(pad, total):
                count = top.shape[-1]
                if isinstance(count, int) and step.repeats(counted.inputs[1], count):
                    found.append((scores, total, True))
    return found


def _is_sum(total: Value, scores: Value) -> bool:
    """Say whether a value is the sum of *scores* over their last axis, which it keeps."""
    summed = _made_by(total, "ReduceSum")
    if summed is None or summed.inputs[0] is not scores or not summed.attributes.get("keepdims", 1):
        return False
    axes = given(summed, 1)
    known = None if axes is None else total.graph.constants.get(axes.name)
    return known is not None and (known % len(scores.shape)).tolist() == [len(scores.shape) - 1]


def _is_zero(flag: Value, total: Value) -> bool:
    """Say whether a number is 1 where *total* is 0."""
    for operator in ("Cast", "Not", "Cast"):
        node = _made_by(flag, operator)
        if node is None:
            return False
        flag = node.inputs[0]
    return flag is total


def _summands(value: Value) -> list[tuple[Value, Value]]:
    """Return the two numbers that a value is the sum of, in both orders."""
    added = _made_by(value, "Add")
    return [] if added is None else [(a, b) for a, b in (added.inputs, added.inputs[::-1])]


def _made_by(value: Value, operator: str) -> Node | None:
    node = maker(value)
    return node if node and node.operator == operator else None
