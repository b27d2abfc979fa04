"""Rules of arithmetic and of the functions of one number."""

from __future__ import annotations

from headwater_models.graphs.expression import Node, Value
from headwater_models.graphs.gradients.rule import Gradients


def multiply(node: Node, g: Value) -> Gradients:
    """``y = a * b``."""
    a, b = node.inputs
    return g * b, g * a


def divide(node: Node, g: Value) -> Gradients:
    """``y = a / b``."""
    share = g / node.inputs[1]
    return share, -(share * node.outputs[0])


def power(node: Node, g: Value) -> Gradients:
    """``y = x ** p``; to an exponent nothing flows from where x is not above 0."""
    graph, (x, exponent) = g.graph, node.inputs
    fixed = graph.constants.get(exponent.name)
    if fixed is not None and fixed.size == 1 and fixed.item() == 2:
        return (g * 2.0 * x,)
    p = exponent.cast(x.dtype)
    slope = graph.op("Where", graph.op("Equal", p, 0.0), 0.0, p * graph.op("Pow", x, p - 1.0))
    positive = graph.op("Where", graph.op("Greater", x, 0.0), x, 1.0)
    return g * slope, (g * node.outputs[0] * graph.op("Log", positive)).cast(exponent.dtype)


def extreme(node: Node, g: Value) -> Gradients:
    """Max and Min: what ties shares the gradient."""
    graph, y = g.graph, node.outputs[0]
    hits = [graph.op("Equal", x, y).cast(g.dtype) for x in node.inputs]
    share = g / graph.op("Max", graph.op("Sum", *hits), 1.0)
    return [hit * share for hit in hits]


def clip(node: Node, g: Value) -> Gradients:
    """At a bound the gradient still goes to the clipped value; beyond it, to the bound."""
    graph, (x, *bounds) = g.graph, node.inputs
    inside, to_bounds = g, list[Value | None]()
    for bound, beyond in zip(bounds, ("Less", "Greater"), strict=False):
        outside = graph.op(beyond, x, bound) if bound.name else None
        to_bounds.append(graph.op("Where", outside, g, 0.0) if outside else None)
        inside = graph.op("Where", outside, 0.0, inside) if outside else inside
    return inside, *to_bounds


def mean(node: Node, g: Value) -> Gradients:
    """Mean of several tensors."""
    return [g / float(len(node.inputs))] * len(node.inputs)


def absolute(node: Node, g: Value) -> Gradients:
    """At 0 the gradient is 0."""
    return (g * g.graph.op("Sign", node.inputs[0]),)


def sine(node: Node, g: Value) -> Gradients:
    """``y = sin(x)``."""
    return (g * g.graph.op("Cos", node.inputs[0]),)


def cosine(node: Node, g: Value) -> Gradients:
    """``y = cos(x)``."""
    return (-(g * g.graph.op("Sin", node.inputs[0])),)
