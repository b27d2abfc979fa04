"""Rules of pooling."""

from __future__ import annotations

import functools
import operator

import numpy as np

from headwater_models.graphs.expression import Node, Value
from headwater_models.graphs.gradients.rule import Gradients
from headwater_models.graphs.gradients.sliding import sliding, spread


def maximum(node: Node, g: Value, _: None = None) -> Gradients:
    """MaxPool: all goes to the first of the largest in a window."""
    graph, x = g.graph, node.inputs[0]
    attributes = {k: v for k, v in node.attributes.items() if k != "storage_order"}
    at = graph.apply("MaxPool", (x,), attributes, count=2)[1]
    flat = np.array([-1])
    zeros = graph.op("Reshape", x.zeros_like(), flat)
    indices, slices = (graph.op("Reshape", value, flat) for value in (at, g))
    added = graph.op("ScatterElements", zeros, indices, slices, reduction="add")
    return (added.reshape_like(x),)


def average(node: Node, g: Value) -> Gradients:
    """AveragePool: each place of a window gets an equal share."""
    graph, x = g.graph, node.inputs[0]
    axes = sliding(node, x, g, node.attributes["kernel_shape"])
    padding = bool(node.attributes.get("count_include_pad", 0))
    counts = functools.reduce(
        operator.mul, np.ix_(*(axis.counts(padding=padding) for axis in axes))
    )
    share = g / counts.astype(g.dtype)
    apart = graph.op("Reshape", share, np.array([-1, 1, *(axis.windows for axis in axes)]))
    ones = np.ones([1, 1, *(axis.kernel for axis in axes)], g.dtype)
    return (spread(apart, graph.constant(ones), axes, 1).reshape_like(x),)


def global_average(node: Node, g: Value) -> Gradients:
    """GlobalAveragePool."""
    graph, x = g.graph, node.inputs[0]
    count = graph.op("Size", x).cast(g.dtype) / graph.op("Size", g).cast(g.dtype)
    return ((g / count).expand_like(x),)


def global_maximum(node: Node, g: Value) -> Gradients:
    """GlobalMaxPool: what ties shares the gradient."""
    x = node.inputs[0]
    hits = g.graph.op("Equal", x, node.outputs[0]).cast(g.dtype)
    count = g.graph.op("Max", hits.sum(range(2, len(x.shape)), keepdims=True), 1.0)
    return (hits * (g / count),)
