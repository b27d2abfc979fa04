"""Rules of what picks elements by index or condition, and puts them by index."""

from __future__ import annotations

import numpy as np

from headwater_models.graphs.expression import Node, Value
from headwater_models.graphs.gradients.rule import Gradients, refusal


def where(node: Node, g: Value) -> Gradients:
    """No gradient passes the side not taken, so a NaN there does no harm."""
    condition, pick = node.inputs[0], g.graph.op
    return None, pick("Where", condition, g, 0.0), pick("Where", condition, 0.0, g)


def gather(node: Node, g: Value) -> Gradients:
    """Add each slice of the gradient to where it came from, with the gathered axis in front."""
    x, indices = node.inputs
    rank, depth = len(x.shape), len(indices.shape)
    axis = node.attributes.get("axis", 0) % rank
    front = [axis, *(i for i in range(rank) if i != axis)]
    gathered = range(axis, axis + depth)
    rest = [i for i in range(len(g.shape)) if i not in gathered]
    zeros = x.zeros_like().transpose(front)
    slices = g.transpose([*gathered, *rest])
    added = g.graph.op("ScatterND", zeros, indices.unsqueeze([-1]), slices, reduction="add")
    return (added.transpose([int(i) for i in np.argsort(front)]),)


def gather_elements(node: Node, g: Value) -> Gradients:
    """Add each element to where it came from."""
    return (_add_elements(node.inputs[0], node.inputs[1], g, node.attributes.get("axis", 0)),)


def gather_nd(node: Node, g: Value) -> Gradients:
    """Add each slice to where it came from."""
    if node.attributes.get("batch_dims", 0):
        raise refusal(node, "it has batch_dims", "write the row's number into the indices")
    x, indices = node.inputs
    return (g.graph.op("ScatterND", x.zeros_like(), indices, g, reduction="add"),)


def top_k(node: Node, g: Value, _: None) -> Gradients:
    """Add each of the largest to where it came from."""
    return (_add_elements(node.inputs[0], node.outputs[1], g, node.attributes.get("axis", -1)),)


def scatter_elements(node: Node, g: Value) -> Gradients:
    """Give nothing to what was overwritten, and to what was written, what its new place has."""
    _, indices, updates = node.inputs
    graph, axis = g.graph, node.attributes.get("axis", 0)
    kept = g
    if not _adds(node):
        kept = graph.op("ScatterElements", g, indices, updates.zeros_like(), axis=axis)
    return kept, None, graph.op("GatherElements", g, indices, axis=axis)


def scatter_nd(node: Node, g: Value) -> Gradients:
    """Give nothing to what was overwritten, and to what was written, what its new place has."""
    _, indices, updates = node.inputs
    kept = g if _adds(node) else g.graph.op("ScatterND", g, indices, updates.zeros_like())
    return kept, None, g.graph.op("GatherND", g, indices)


def triangle(node: Node, g: Value) -> Gradients:
    """Trilu."""
    return (g.graph.op("Trilu", g, *node.inputs[1:], **node.attributes),)


def _add_elements(x: Value, indices: Value, g: Value, axis: int) -> Value:
    zeros = x.zeros_like()
    return g.graph.op("ScatterElements", zeros, indices, g, axis=axis, reduction="add")


def _adds(node: Node) -> bool:
    reduction = node.attributes.get("reduction", "none")
    if reduction not in ("none", "add"):
        raise refusal(node, f"its reduction is {reduction}", "use none or add")
    return bool(reduction == "add")
