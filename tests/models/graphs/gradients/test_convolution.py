from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from headwater.errors import UnsupportedError
from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph
from tests.models.graphs.gradients.cases import SIDES, Case, Cases, Draw, agrees, op

AXES = st.sampled_from([1, 1, 2])


@st.composite
def windows(draw: Draw, axes: int, *, auto: bool = True) -> tuple[list[int], dict[str, Any]]:
    """Draw a kernel and how it slides."""

    def per_axis(low: int, high: int) -> list[int]:
        return [draw(st.integers(low, high)) for _ in range(axes)]

    kernel, strides, dilations = per_axis(1, 3), per_axis(1, 3), per_axis(1, 2)
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations}
    mode = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto and mode != "NOTSET":
        attributes["auto_pad"] = mode
        attributes["dilations"] = [1] * axes  # the runtime takes no others
    else:
        attributes["pads"] = [p for _ in range(2) for p in per_axis(0, 2)]
    return kernel, attributes


@st.composite
def convolution(draw: Draw) -> Case:
    axes = draw(AXES)
    kernel, attributes = draw(windows(axes))
    group, into, out = draw(st.integers(1, 2)), draw(SIDES), draw(SIDES)
    sizes = [draw(st.integers(3, 6)) for _ in range(axes)]
    pads = attributes.get("pads", [0] * 2 * axes)
    for i, size in enumerate(sizes):
        assume(size + pads[i] + pads[axes + i] > attributes["dilations"][i] * (kernel[i] - 1))
    shapes = [(2, group * into, *sizes), (group * out, into, *kernel)]
    if draw(st.booleans()):
        shapes.append((group * out,))
    attributes |= {} if group == 1 and draw(st.booleans()) else {"group": group}
    return Case(op("Conv", **attributes), shapes, rows=True)


@st.composite
def transposed(draw: Draw) -> Case:
    axes = draw(AXES)
    kernel, attributes = draw(windows(axes, auto=False))
    attributes["output_padding"] = [draw(st.integers(0, s - 1)) for s in attributes["strides"]]
    group, into, out = draw(st.integers(1, 2)), draw(SIDES), draw(SIDES)
    sizes = [draw(st.integers(2, 4)) for _ in range(axes)]
    for i, size in enumerate(sizes):
        reach = attributes["strides"][i] * (size - 1) + attributes["dilations"][i] * (kernel[i] - 1)
        assume(reach > attributes["pads"][i] + attributes["pads"][axes + i])
    shapes = [(2, group * into, *sizes), (group * into, out, *kernel)]
    if draw(st.booleans()):
        shapes.append((group * out,))
    attributes |= {} if group == 1 and draw(st.booleans()) else {"group": group}
    return Case(op("ConvTranspose", **attributes), shapes, rows=True)


CASES: Cases = {"Conv": convolution(), "ConvTranspose": transposed()}

test_a_rule_agrees_with_finite_differences = agrees(CASES)


def test_a_convolution_over_an_axis_of_open_size_is_refused() -> None:
    graph = Graph()
    x, w = graph.input("x", ("N", 2, "T")), graph.parameter("w", np.ones((1, 2, 3)))
    with pytest.raises(UnsupportedError, match=r"axis of open size \['T'\]; fix the size"):
        differentiate(graph, graph.op("Conv", x, w), [w])


@pytest.mark.parametrize("by_itself", [{"auto_pad": "SAME_UPPER"}, {"output_shape": [8]}])
def test_a_transposed_convolution_that_pads_by_itself_is_refused(by_itself: dict[str, Any]) -> None:
    graph = Graph()
    x, w = graph.input("x", ("N", 1, 4)), graph.parameter("w", np.ones((1, 1, 3)))
    y = graph.op("ConvTranspose", x, w, strides=[2], **by_itself)
    with pytest.raises(UnsupportedError, match="write pads instead"):
        differentiate(graph, y, [w])
