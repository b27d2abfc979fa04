"""Rules of what slides over places: convolution and pooling of ``[M, N, C, places...]``.

Where each member has a kernel of its own the windows are laid out side by side, and a product of
matrices does the rest; else members are so many more rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from headwater_models.graphs.expression import Array, Value
from headwater_models.graphs.gradients.sliding import Axis, sliding
from headwater_models.graphs.stacking.rule import Call, Stacked, fold, unfold


def pool(call: Call) -> Sequence[Stacked]:
    """Pool members as rows; the places of the largest count from each member's first."""
    x = call.inputs[0].value
    values = call.graph.apply(
        call.node.operator, (fold(call, x),), call.node.attributes, count=len(call.node.outputs)
    )
    y, *places = (unfold(call, value, x) for value in values)
    return [Stacked(y), *(Stacked(call.op("Mod", at, call.elements(x, 1))) for at in places)]


def convolution(call: Call) -> Sequence[Stacked]:
    """Conv."""
    if not call.inputs[1].own:
        return _as_rows(call)
    x, weight, y = *call.node.inputs[:2], call.node.outputs[0]
    tables = [_taken(axis) for axis in _axes(call, x, y)]
    kernel, group = call.inputs[1].value, _group(call)
    if group == 1:
        matrices = call.op("Reshape", kernel, np.array([0, 0, -1])).unsqueeze([1])
        return _product(call, matrices, tables)
    (out,) = _fixed(call, weight.shape[:1])
    apart = np.array([0, group, out // group, -1])
    return _product(call, call.op("Reshape", kernel, apart), tables)


def transposed(call: Call) -> Sequence[Stacked]:
    """ConvTranspose: each place takes from the windows that lie over it."""
    if not call.inputs[1].own:
        return _as_rows(call)
    x, weight, y = *call.node.inputs[:2], call.node.outputs[0]
    auto = call.node.attributes.get("auto_pad", "NOTSET")
    if auto != "NOTSET" or "output_shape" in call.node.attributes:
        raise call.refusal("its padding follows from the output's size")
    tables = [_given(axis) for axis in _axes(call, y, x)]
    into, out, *places = _fixed(call, weight.shape)
    group, cells = _group(call), math.prod(places)
    by_group = np.array([0, group, into // group, out, cells])
    apart = call.op("Reshape", call.inputs[1].value, by_group).transpose([0, 1, 3, 2, 4])
    joined = np.array([0, group, out, into // group * cells])
    return _product(call, call.op("Reshape", apart, joined), tables)


def _axes(call: Call, x: Value, y: Value) -> list[Axis]:
    """Return how windows of the kernel over *x* make *y*."""
    kernel = call.node.inputs[1].shape[2:]
    _fixed(call, (*x.shape[2:], *y.shape[2:], *kernel))
    return sliding(call.node, x, y, kernel)


def _fixed(call: Call, sizes: Sequence[int | str]) -> list[int]:
    if not all(isinstance(size, int) for size in sizes):
        raise call.refusal(f"of the sizes {list(sizes)} one is open")
    return [int(size) for size in sizes]


def _group(call: Call) -> int:
    return int(call.node.attributes.get("group", 1))


def _as_rows(call: Call) -> Sequence[Stacked]:
    """Slide one kernel over the rows of all members."""
    x, kernel = (stacked.value for stacked in call.inputs[:2])
    own, attributes = call.inputs[0].own, call.node.attributes
    rows = fold(call, x) if own else x
    y = call.op(call.node.operator, rows, kernel, **attributes)
    return [Stacked(_biased(call, unfold(call, y, x) if own else y))]


def _product(call: Call, matrices: Value, tables: Sequence[Array]) -> Sequence[Stacked]:
    """Multiply each member's ``[G, O, K]`` by the windows of each row, ``[G, K, places]``."""
    x, own = call.inputs[0].value, int(call.inputs[0].own)
    places = [table.shape[1] for table in tables]
    windows = _windows(call, x, 2 + own, tables)
    target = np.array([*[0] * (1 + own), _group(call), -1, math.prod(places)])
    product = call.op("MatMul", matrices.unsqueeze([1]), call.op("Reshape", windows, target))
    y = call.last("Reshape", product, np.array([0, 0, -1, *places]))
    return [Stacked(_biased(call, y))]


def _windows(call: Call, x: Value, first: int, tables: Sequence[Array]) -> Value:
    """Return ``[..., C, kernel places..., windows...]``; a place beyond the axis is 0."""
    rank = len(x.shape)
    around = np.zeros((2, rank), np.int64)
    around[1, first:] = 1
    value = call.op("Pad", x, around.ravel(), call.graph.constant(np.zeros((), x.dtype)))
    for number, table in enumerate(tables):
        value = call.op("Gather", value, table, axis=first + 2 * number)
    count = len(tables)
    kernels = [first + 2 * number for number in range(count)]
    return value.transpose([*range(first), *kernels, *(axis + 1 for axis in kernels)])


def _taken(axis: Axis) -> Array:
    """Return ``[kernel, windows]``: the place that each window has at each of its cells."""
    starts = np.arange(axis.windows) * axis.stride - axis.before
    places = starts + np.arange(axis.kernel)[:, np.newaxis] * axis.dilation
    return np.where((places >= 0) & (places < axis.size), places, axis.size)


def _given(axis: Axis) -> Array:
    """Return ``[kernel, places]``: the window that has each place at each of its cells."""
    ahead = np.arange(axis.size) + axis.before
    apart = ahead - np.arange(axis.kernel)[:, np.newaxis] * axis.dilation
    window, rest = np.divmod(apart, axis.stride)
    return np.where((rest == 0) & (window >= 0) & (window < axis.windows), window, axis.windows)


def _biased(call: Call, y: Value) -> Value:
    """Add the bias of each channel."""
    if not call.given(2):
        return y
    places, bias = call.rank() - 2, call.inputs[2]
    if bias.own:
        return y + bias.value.unsqueeze([1, *range(3, places + 3)])
    return y + bias.value.unsqueeze(range(1, places + 1))
