"""How the windows of convolution and pooling slide over the places of ``[N, C, places...]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from headwater_models.graphs.expression import Array, Node, Value
from headwater_models.graphs.gradients.rule import fixed_sizes


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows along one axis of *size*; the first begins ``before`` places ahead of it."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    windows: int

    @property
    def overhang(self) -> int:
        """How far the last window reaches beyond the axis; below 0, how far it stays inside."""
        reach = self.stride * (self.windows - 1) + self.dilation * (self.kernel - 1) + 1
        return reach - self.before - self.size

    def counts(self, *, padding: bool) -> Array:
        """Return how many places of the axis, or of it and its padding, each window has."""
        first = np.arange(self.windows) * self.stride - self.before
        places = first[:, None] + np.arange(self.kernel) * self.dilation
        low, high = (-self.before, self.size + self.after) if padding else (0, self.size)
        return np.asarray(((places >= low) & (places < high)).sum(1))


def sliding(node: Node, x: Value, y: Value, kernel: Sequence[int | str]) -> list[Axis]:
    """Return how windows of *kernel* over *x* make *y*.

    Raises
    ------
    UnsupportedError
        When sizes are not fixed.
    """
    axes = len(x.shape) - 2
    sizes, windows = fixed_sizes(node, x.shape[2:]), fixed_sizes(node, y.shape[2:])
    kernels = fixed_sizes(node, kernel)
    strides, dilations = (node.attributes.get(k, [1] * axes) for k in ("strides", "dilations"))
    pads = node.attributes.get("pads", [0] * (2 * axes))
    auto = node.attributes.get("auto_pad", "NOTSET")
    plain = [
        Axis(sizes[i], kernels[i], strides[i], dilations[i], pads[i], pads[axes + i], windows[i])
        for i in range(axes)
    ]
    return plain if auto == "NOTSET" else [_padded(axis, auto) for axis in plain]


def _padded(axis: Axis, auto: str) -> Axis:
    """Pad so much that there are as many windows as strides in the axis, or nothing."""
    total = max(replace(axis, before=0).overhang, 0)
    less, more = total // 2, total - total // 2
    sides = {"SAME_UPPER": (less, more), "SAME_LOWER": (more, less)}
    before, after = sides.get(auto, (0, 0))
    return replace(axis, before=before, after=after)


def spread(g: Value, kernel: Value, axes: Sequence[Axis], group: int) -> Value:
    """Add to each place what the windows over it have: the transpose of sliding."""
    return g.graph.op(
        "ConvTranspose",
        g,
        kernel,
        strides=[axis.stride for axis in axes],
        dilations=[axis.dilation for axis in axes],
        pads=[*(axis.before for axis in axes), *(max(axis.overhang, 0) for axis in axes)],
        output_padding=[max(-axis.overhang, 0) for axis in axes],
        group=group,
    )
