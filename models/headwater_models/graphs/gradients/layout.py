"""Rules of what moves elements as blocks: shapes, axes, joining, cutting, repeating."""

from __future__ import annotations

import numpy as np

from headwater_models.graphs.expression import Array, Node, Value
from headwater_models.graphs.gradients.rule import Gradients, fixed_sizes, frozen, refusal
from headwater_models.graphs.sizes import TO_THE_END


def reshape(node: Node, g: Value) -> Gradients:
    """Reshape, Flatten, Squeeze and Unsqueeze."""
    return (g.reshape_like(node.inputs[0]),)


def transpose(node: Node, g: Value) -> Gradients:
    """Permute back."""
    order = node.attributes.get("perm", range(len(g.shape))[::-1])
    return (g.transpose([int(axis) for axis in np.argsort(order)]),)


def concat(node: Node, g: Value) -> Gradients:
    """Split."""
    axis = node.attributes["axis"]
    sizes = fixed_sizes(node, [value.shape[axis] for value in node.inputs])
    return g.graph.apply("Split", (g, np.array(sizes)), {"axis": axis}, count=len(sizes))


def split(node: Node, *gradients: Value | None) -> Gradients:
    """Join; what was not used has gradient 0."""
    pairs = zip(gradients, node.outputs, strict=True)
    parts = [part.zeros_like() if g is None else g for g, part in pairs]
    return (parts[0].graph.op("Concat", *parts, axis=node.attributes.get("axis", 0)),)


def slice_(node: Node, g: Value) -> Gradients:
    """Put zeros where nothing was taken."""
    x = node.inputs[0]
    rank, starts, stops = len(x.shape), frozen(node, 1), frozen(node, 2)
    axes = frozen(node, 3, range(len(starts))) % rank
    steps = frozen(node, 4, [1] * len(starts))
    around = np.zeros((2, rank), np.int64)
    for axis, start, stop, step in np.stack([axes, starts, stops, steps], 1).tolist():
        if (start, step) == (0, 1) and stop >= TO_THE_END:
            continue
        (size,) = fixed_sizes(node, [x.shape[axis]])
        taken = np.arange(size)[start:stop:step]
        if step == 1:
            first = taken[0] if taken.size else 0
            around[:, axis] = first, size - first - taken.size
        else:
            g = _placed(g, axis, taken, size)
    return (g.graph.op("Pad", g, around.ravel()) if around.any() else g,)


def pad(node: Node, g: Value) -> Gradients:
    """Cut the border off; where it repeats elements, give them its gradient too."""
    graph, x = g.graph, node.inputs[0]
    axes = frozen(node, 3, range(len(x.shape))) % len(x.shape)
    around = np.zeros((2, len(x.shape)), np.int64)
    around[:, axes] = frozen(node, 1).reshape(2, -1)
    mode = node.attributes.get("mode", "constant")
    if mode == "constant":
        inside, every = graph.op("Pad", g, -around.ravel()), range(len(x.shape))
        return inside, None, g.sum(every) - inside.sum(every)
    if around.min() < 0:
        raise refusal(node, f"it cuts in mode {mode}", "cut with Slice")
    for axis in np.flatnonzero(around.any(0)).tolist():
        (size,) = fixed_sizes(node, [x.shape[axis]])
        g = _gathered(g, axis, np.pad(np.arange(size), around[:, axis], mode=mode), size)
    return (g,)


def tile(node: Node, g: Value) -> Gradients:
    """Sum over the copies."""
    graph, x, repeats = g.graph, node.inputs[0], frozen(node, 1)
    pairs = graph.op("Concat", repeats[:, None], graph.op("Shape", x).unsqueeze([1]), axis=1)
    sizes = [size for pair in zip(repeats.tolist(), x.shape, strict=True) for size in pair]
    flat = graph.op("Reshape", pairs, np.array([-1]))
    copies = graph.op("Reshape", g, flat, shape=tuple(sizes))
    return (copies.sum(range(0, len(sizes), 2)),)


def _placed(g: Value, axis: int, at: Array, size: int) -> Value:
    """Spread slices over an axis of *size*, each to its own place, with zeros between."""
    source = np.full(size, at.size)
    source[at] = np.arange(at.size)
    around = np.zeros((2, len(g.shape)), np.int64)
    around[1, axis] = 1
    return g.graph.op("Gather", g.graph.op("Pad", g, around.ravel()), source, axis=axis)


def _gathered(g: Value, axis: int, source: Array, size: int) -> Value:
    """Add the slices along an axis up, each to the one of *size* that it came from."""
    rank = len(g.shape)
    order = [*(i for i in range(rank) if i != axis), axis]
    matrix = g.graph.constant((source[:, None] == np.arange(size)).astype(g.dtype))
    return (g.transpose(order) @ matrix).transpose([int(i) for i in np.argsort(order)])
