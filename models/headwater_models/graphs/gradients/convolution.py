"""Rules of convolution: its gradients are convolutions again (Dumoulin and Visin 2016)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater_models.graphs.expression import Node, Value
from headwater_models.graphs.gradients.rule import Gradients, refusal
from headwater_models.graphs.gradients.sliding import Axis, sliding, spread


def convolution(node: Node, g: Value) -> Gradients:
    """Conv."""
    x, weight = node.inputs[:2]
    axes = sliding(node, x, g, weight.shape[2:])
    group = node.attributes.get("group", 1)
    return spread(g, weight, axes, group), _to_weight(x, g, axes, group), _over_channels(g)


def transposed(node: Node, g: Value) -> Gradients:
    """ConvTranspose: the convolution that makes *x* of *y* slides over *y*."""
    x, weight = node.inputs[:2]
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto != "NOTSET" or "output_shape" in node.attributes:
        raise refusal(node, "its padding follows from the output's size", "write pads instead")
    axes = sliding(node, g, x, weight.shape[2:])
    group = node.attributes.get("group", 1)
    to_x = g.graph.op(
        "Conv",
        g,
        weight,
        strides=[axis.stride for axis in axes],
        dilations=[axis.dilation for axis in axes],
        pads=_pads(axes),
        group=group,
    )
    return to_x, _to_weight(g, x, axes, group), _over_channels(g)


def _to_weight(x: Value, g: Value, axes: Sequence[Axis], group: int) -> Value:
    """Slide the gradient over the input, rows as channels: strides and dilations change roles."""
    graph, rest = g.graph, range(2, len(x.shape))
    if group == 1:
        rows_last = x.transpose([1, 0, *rest])
    else:
        sizes = [axis.size for axis in axes]
        channels = int(x.shape[1]) // group
        apart = graph.op("Reshape", x, np.array([0, group, channels, *sizes]))
        swapped = apart.transpose([2, 1, 0, *(axis + 1 for axis in rest)])
        rows_last = graph.op("Reshape", swapped, np.array([channels, -1, *sizes]))
    found = graph.op(
        "Conv",
        rows_last,
        g.transpose([1, 0, *rest]),
        strides=[axis.dilation for axis in axes],
        dilations=[axis.stride for axis in axes],
        pads=_pads(axes),
        group=group,
    )
    kernel = [axis.kernel for axis in axes]
    if list(found.shape[2:]) != kernel:
        stops = np.array(kernel)
        found = graph.op("Slice", found, 0 * stops, stops, np.array(rest))
    return found.transpose([1, 0, *rest])


def _pads(axes: Sequence[Axis]) -> list[int]:
    return [*(axis.before for axis in axes), *(axis.after for axis in axes)]


def _over_channels(g: Value) -> Value:
    return g.sum([axis for axis in range(len(g.shape)) if axis != 1])
