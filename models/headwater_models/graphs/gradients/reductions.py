"""Rules of what goes over axes: reductions, running sums, softmax."""

from __future__ import annotations

from headwater_models.graphs.expression import Node, Value
from headwater_models.graphs.gradients.rule import Gradients, given


def total(node: Node, g: Value) -> Gradients:
    """Sum."""
    return (_kept(node, g).expand_like(node.inputs[0]),)


def mean(node: Node, g: Value) -> Gradients:
    """Mean."""
    x, y, graph = node.inputs[0], node.outputs[0], g.graph
    count = graph.op("Size", x).cast(g.dtype) / graph.op("Size", y).cast(g.dtype)
    return total(node, g / count)


def extreme(node: Node, g: Value) -> Gradients:
    """Maximum and minimum: what ties shares the gradient."""
    graph, x = g.graph, node.inputs[0]
    hits = graph.op("Equal", x, _kept(node, node.outputs[0])).cast(g.dtype)
    count = graph.op("Max", _again(node, "ReduceSum", hits), 1.0)
    return (hits * _kept(node, g / count),)


def norm_1(node: Node, g: Value) -> Gradients:
    """Sum of absolute values; at 0 the gradient is 0."""
    return (_kept(node, g) * g.graph.op("Sign", node.inputs[0]),)


def norm_2(node: Node, g: Value) -> Gradients:
    """Root of the sum of squares; of the zero vector the gradient is 0."""
    graph, y = g.graph, node.outputs[0]
    share = graph.op("Where", graph.op("Equal", y, 0.0), 0.0, g / y)
    return (_kept(node, share) * node.inputs[0],)


def sum_of_squares(node: Node, g: Value) -> Gradients:
    """Sum of squares."""
    return (_kept(node, g * 2.0) * node.inputs[0],)


def log_sum(node: Node, g: Value) -> Gradients:
    """Logarithm of the sum."""
    return total(node, g / g.graph.op("Exp", node.outputs[0]))


def log_sum_exp(node: Node, g: Value) -> Gradients:
    """Logarithm of the sum of exponentials."""
    share = g.graph.op("Exp", node.inputs[0] - _kept(node, node.outputs[0]))
    return (_kept(node, g) * share,)


def running_sum(node: Node, g: Value) -> Gradients:
    """Sum over all that comes later what came from an element."""
    turned = {**node.attributes, "reverse": 1 - node.attributes.get("reverse", 0)}
    return (g.graph.op("CumSum", g, node.inputs[1], **turned),)


def softmax(node: Node, g: Value) -> Gradients:
    """``y = exp(x) / sum(exp(x))``."""
    y, axis = node.outputs[0], node.attributes.get("axis", -1)
    return (y * (g - (g * y).sum([axis], keepdims=True)),)


def log_softmax(node: Node, g: Value) -> Gradients:
    """``y = x - log(sum(exp(x)))``."""
    y, axis = node.outputs[0], node.attributes.get("axis", -1)
    return (g - g.graph.op("Exp", y) * g.sum([axis], keepdims=True),)


def _kept(node: Node, reduced: Value) -> Value:
    """Give what has the shape of a reduction's result its reduced axes back, with size 1."""
    axes = given(node, 1)
    if node.attributes.get("keepdims", 1) or len(reduced.shape) == len(node.inputs[0].shape):
        return reduced
    if axes is not None:
        return reduced.graph.op("Unsqueeze", reduced, axes)
    return reduced.unsqueeze(range(len(node.inputs[0].shape)))


def _again(node: Node, operator: str, x: Value) -> Value:
    """Reduce another tensor along the same axes."""
    axes = [value for value in node.inputs[1:] if value.name]
    return x.graph.op(operator, x, *axes, **node.attributes)
