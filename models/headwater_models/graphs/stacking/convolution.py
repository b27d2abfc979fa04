"""Rules of what slides over places: convolution and pooling of ``[M, N, C, places...]``.

Where each member has a kernel of its own the windows are laid out side by side, and a product of
matrices does the rest; else members are so many more rows.
"""

from __future__ import annotations

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
    size = call.op("ReduceProd", call.sizes(x, 1), np.array([0]), keepdims=0)
    return [Stacked(y), *(Stacked(call.op("Mod", at, size)) for at in places)]


def convolution(call: Call) -> Sequence[Stacked]:
    """Conv."""
    if not call.inputs[1].own:
        return _as_rows(call)
    x, weight = call.node.inputs[:2]
    axes = sliding(call.node, x, call.node.outputs[0], weight.shape[2:])
    tables = [_taken(axis) for axis in axes]
    group = int(call.node.attributes.get("group", 1))
    kernel = call.inputs[1].value
    out = call.node.outputs[0].shape[1]
    target = [0, group, int(out) // group if group > 1 else -1, -1]
    if group == 1:  # the sizes of rows and channels may be open
        matrix = _rest_joined(call, kernel, 2).unsqueeze([1])
    else:
        matrix = call.op("Reshape", kernel, np.array(target))
    return _product(call, matrix, tables, group)


def transposed(call: Call) -> Sequence[Stacked]:
    """ConvTranspose: each place takes from the windows that lie over it."""
    if not call.inputs[1].own:
        return _as_rows(call)
    x, weight = call.node.inputs[:2]
    auto = call.node.attributes.get("auto_pad", "NOTSET")
    if auto != "NOTSET" or "output_shape" in call.node.attributes:
        raise call.refusal("its padding follows from the output's size")
    axes = sliding(call.node, call.node.outputs[0], x, weight.shape[2:])
    group = int(call.node.attributes.get("group", 1))
    into, out, *_ = weight.shape
    if not (isinstance(into, int) and isinstance(out, int)):
        raise call.refusal("its number of channels is open")
    cells = int(np.prod([axis.kernel for axis in axes]))
    kernel, sizes = call.inputs[1].value, [0, group, into // group, out, cells]
    apart = call.op("Reshape", kernel, np.array(sizes)).transpose([0, 1, 3, 2, 4])
    matrix = call.op("Reshape", apart, np.array([0, group, out, into // group * cells]))
    return _product(call, matrix, [_given(axis) for axis in axes], group)


def _as_rows(call: Call) -> Sequence[Stacked]:
    """Slide one kernel over the rows of all members."""
    if not call.inputs[0].own:  # only the bias is each member's own
        y = call.op(call.node.operator, *_values(call, 2), **call.node.attributes)
    else:
        x = call.inputs[0].value
        inputs = (fold(call, x), call.inputs[1].value)
        y = unfold(call, call.op(call.node.operator, *inputs, **call.node.attributes), x)
    return [Stacked(_biased(call, y))]


def _values(call: Call, count: int) -> list[Value]:
    return [stacked.value for stacked in call.inputs[:count]]


def _product(call: Call, matrix: Value, tables: Sequence[Array], group: int) -> Sequence[Stacked]:
    """Multiply kernels ``[M, G, O, K]`` by the windows, for each row."""
    x, own = call.inputs[0].value, int(call.inputs[0].own)
    places = [table.shape[1] for table in tables]
    windows = _windows(call, x, 2 + own, tables)
    keep = [0] * (1 + own)
    target = [*keep, group, -1, int(np.prod(places))]
    windows = call.op("Reshape", windows, np.array(target))
    y = call.op("MatMul", matrix.unsqueeze([1]), windows)
    shape = call.shapes[0]
    joined = np.array([0, 0, -1 if shape is None else _fixed_or_rest(shape[2]), *places])
    y = call.graph.op("Reshape", y, joined, shape=shape)
    return [Stacked(_biased(call, y))]


def _fixed_or_rest(size: int | str) -> int:
    return size if isinstance(size, int) else -1


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


def _rest_joined(call: Call, kernel: Value, kept: int) -> Value:
    """Join a kernel's inputs and cells in one axis."""
    return call.op("Reshape", kernel, np.array([*[0] * kept, -1]))


def _biased(call: Call, y: Value) -> Value:
    """Add the bias of each channel."""
    if not call.given(2):
        return y
    places, bias = call.rank() - 2, call.inputs[2]
    if bias.own:
        return y + bias.value.unsqueeze([1, *range(3, places + 3)])
    return y + bias.value.unsqueeze(range(1, places + 1))
