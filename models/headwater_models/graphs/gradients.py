"""How gradients pass back through operators: one rule for each, in one table.

A rule takes a node and the gradient of each of its outputs, and returns one gradient for each
input, or None where none flows (indices, shapes, conditions). Three things a rule need not mind:
it may return a gradient in the shape to which the input was broadcast (the caller sums it down);
it may compute gradients nobody asked for (they are left out when the graph is encoded); and it
may build the same expression twice (the graph keeps one).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Node, Value

Gradients = Sequence[Value | None]
Rule = Callable[..., Gradients]
"""``rule(node, *output gradients) -> input gradients``"""


def rules() -> dict[str, Rule]:
    """Return the rule of each operator that can be differentiated."""
    return {
        # Arithmetic
        "Add": lambda _, g: (g, g),
        "Sub": lambda _, g: (g, -g),
        "Mul": _mul,
        "Div": _div,
        "Neg": lambda _, g: (-g,),
        # Functions of one element
        "Abs": lambda n, g: (g * n.inputs[0].graph.op("Sign", n.inputs[0]),),
        "Exp": lambda n, g: (g * n.outputs[0],),
        "Log": lambda n, g: (g / n.inputs[0],),
        "Relu": _relu,
        "Sigmoid": lambda n, g: (g * n.outputs[0] * (1.0 - n.outputs[0]),),
        "Sqrt": lambda n, g: (g * 0.5 / n.outputs[0],),
        "Tanh": lambda n, g: (g * (1.0 - n.outputs[0] * n.outputs[0]),),
        "Cast": lambda n, g: (g.cast(n.inputs[0].dtype),),
        "Identity": lambda _, g: (g,),
        # Products
        "MatMul": _matmul,
        "Gemm": _gemm,
        # Reductions and normalisations
        "ReduceSum": lambda n, g: (_spread(n, g), None)[: len(n.inputs)],
        "ReduceMean": _reduce_mean,
        "Softmax": _softmax,
        "LogSoftmax": _log_softmax,
        # Layout
        "Concat": _concat,
        "Expand": lambda _, g: (g, None),
        "Flatten": lambda n, g: (g.reshape_like(n.inputs[0]),),
        "Reshape": lambda n, g: (g.reshape_like(n.inputs[0]), None),
        "Squeeze": lambda n, g: (g.reshape_like(n.inputs[0]), None)[: len(n.inputs)],
        "Unsqueeze": lambda n, g: (g.reshape_like(n.inputs[0]), None),
        "Transpose": _transpose,
        # Selection
        "Gather": _gather,
        "GatherElements": _gather_elements,
        "Where": _where,
    }


def _mul(node: Node, g: Value) -> Gradients:
    a, b = node.inputs
    return g * b, g * a


def _div(node: Node, g: Value) -> Gradients:
    _, b = node.inputs
    share = g / b
    return share, -(share * node.outputs[0])


def _relu(node: Node, g: Value) -> Gradients:
    """At 0 the gradient is 0."""
    graph = g.graph
    return (graph.op("Where", graph.op("Greater", node.inputs[0], 0.0), g, 0.0),)


def _where(node: Node, g: Value) -> Gradients:
    """No gradient passes the side not taken, so a NaN there does no harm."""
    condition = node.inputs[0]
    where = g.graph.op
    return None, where("Where", condition, g, 0.0), where("Where", condition, 0.0, g)


def _matmul(node: Node, g: Value) -> Gradients:
    a, b = node.inputs
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise UnsupportedError(
            f"MatMul {node.name!r} multiplies a vector; only matrices can be differentiated. "
            "Give the vector a second axis of size 1."
        )
    return g @ _swapped(b), _swapped(a) @ g


def _gemm(node: Node, g: Value) -> Gradients:
    """``y = alpha * op(a) @ op(b) + beta * c``, where op may transpose."""
    a, b, *c = node.inputs
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    turned_a, turned_b = (node.attributes.get(key, 0) for key in ("transA", "transB"))
    scaled = g if alpha == 1.0 else g * alpha
    left = scaled @ (b if turned_b else _swapped(b))
    right = (a if turned_a else _swapped(a)) @ scaled
    return (
        _swapped(left) if turned_a else left,
        _swapped(right) if turned_b else right,
        *(g if beta == 1.0 else g * beta for _ in c),
    )


def _swapped(x: Value) -> Value:
    """Exchange the last two axes."""
    rank = len(x.shape)
    return x.transpose([*range(rank - 2), rank - 1, rank - 2])


def _spread(node: Node, g: Value) -> Value:
    """Repeat the gradient of a reduction over the axes that it reduced."""
    x, *axes = node.inputs
    if axes and not node.attributes.get("keepdims", 1):
        g = g.graph.op("Unsqueeze", g, axes[0])
    elif not axes:
        g = g.graph.op("Reshape", g, np.ones(len(x.shape), np.int64))
    return g.expand_like(x)


def _reduce_mean(node: Node, g: Value) -> Gradients:
    x, y, graph = node.inputs[0], node.outputs[0], g.graph
    count = graph.op("Size", x).cast(g.dtype) / graph.op("Size", y).cast(g.dtype)
    return (_spread(node, g / count), None)[: len(node.inputs)]


def _softmax(node: Node, g: Value) -> Gradients:
    y, axis = node.outputs[0], node.attributes.get("axis", -1)
    return (y * (g - (g * y).sum([axis], keepdims=True)),)


def _log_softmax(node: Node, g: Value) -> Gradients:
    y, axis = node.outputs[0], node.attributes.get("axis", -1)
    return (g - g.graph.op("Exp", y) * g.sum([axis], keepdims=True),)


def _concat(node: Node, g: Value) -> Gradients:
    axis = node.attributes["axis"]
    sizes = [value.shape[axis] for value in node.inputs]
    if not all(isinstance(size, int) for size in sizes):
        raise UnsupportedError(
            f"Concat {node.name!r} joins along an axis whose sizes are not fixed; fix them."
        )
    parts = np.array(sizes, np.int64)
    return g.graph.apply("Split", (g, parts), {"axis": axis}, count=len(sizes))


def _transpose(node: Node, g: Value) -> Gradients:
    rank = len(g.shape)
    order = node.attributes.get("perm", range(rank)[::-1])
    return (g.transpose([int(axis) for axis in np.argsort(order)]),)


def _gather(node: Node, g: Value) -> Gradients:
    """Add each slice of the gradient to where it came from, with the gathered axis in front."""
    x, indices = node.inputs
    rank, depth = len(x.shape), len(indices.shape)
    axis = node.attributes.get("axis", 0) % rank
    front = [axis, *(i for i in range(rank) if i != axis)]
    gathered = range(axis, axis + depth)
    rest = [i for i in range(len(g.shape)) if i not in gathered]
    zeros = x.zeros_like().transpose(front)
    at = g.graph.op("Unsqueeze", indices, np.array([-1], np.int64))
    added = g.graph.op("ScatterND", zeros, at, g.transpose([*gathered, *rest]), reduction="add")
    return added.transpose([int(i) for i in np.argsort(front)]), None


def _gather_elements(node: Node, g: Value) -> Gradients:
    x, indices = node.inputs
    axis = node.attributes.get("axis", 0)
    zeros = x.zeros_like()
    return g.graph.op("ScatterElements", zeros, indices, g, axis=axis, reduction="add"), None
