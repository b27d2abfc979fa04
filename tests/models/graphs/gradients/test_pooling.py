from __future__ import annotations

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph
from tests.models.graphs.gradients.cases import SIDES, Case, Cases, Draw, Shape, agrees, op
from tests.models.graphs.gradients.test_convolution import AXES, windows
from tests.models.graphs.harness import evaluate


@st.composite
def pool(draw: Draw, operator: str) -> Case:
    axes = draw(AXES)
    kernel, attributes = draw(windows(axes))
    attributes["kernel_shape"] = kernel
    sizes = [draw(st.integers(3, 6)) for _ in range(axes)]
    if "pads" in attributes:
        attributes["pads"] = [
            min(p, (k - 1)) for p, k in zip(attributes["pads"], kernel * 2, strict=True)
        ]
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    else:  # the runtime has wrong sizes for others
        attributes["strides"] = [
            min(s, k) for s, k in zip(attributes["strides"], kernel, strict=True)
        ]
    if operator == "AveragePool":
        attributes |= draw(st.sampled_from([{}, *({"count_include_pad": n} for n in (0, 1))]))
    pads = attributes.get("pads", [0] * 2 * axes)
    for i, size in enumerate(sizes):
        room = size + pads[i] + pads[axes + i] - attributes["dilations"][i] * (kernel[i] - 1) - 1
        # ONNX and its runtime disagree on a last window that lies in the padding alone.
        last = -(-room // attributes["strides"][i]) * attributes["strides"][i]
        assume(room >= 0 and last < size + pads[i])
    return Case(op(operator, **attributes), [(2, draw(SIDES), *sizes)], rows=True)


@st.composite
def globally(draw: Draw, operator: str) -> Case:
    shape: Shape = (2, draw(SIDES), *(draw(SIDES) for _ in range(draw(AXES))))
    return Case(op(operator), [shape], rows=True)


CASES: Cases = {
    "AveragePool": pool("AveragePool"),
    "GlobalAveragePool": globally("GlobalAveragePool"),
    "GlobalMaxPool": globally("GlobalMaxPool"),
    "MaxPool": pool("MaxPool"),
}

test_a_rule_agrees_with_finite_differences = agrees(CASES)


def test_of_two_that_tie_in_a_window_the_first_learns() -> None:
    graph = Graph()
    x = graph.parameter("x", np.array([[[1.0, 1.0, 0.0]]]))
    y = graph.op("MaxPool", x, kernel_shape=[3])
    assert evaluate(differentiate(graph, y, [x])["x"]).tolist() == [[[1, 0, 0]]]


def test_of_two_that_tie_everywhere_both_learn() -> None:
    graph = Graph()
    x = graph.parameter("x", np.array([[[1.0, 1.0, 0.0]]]))
    y = graph.op("GlobalMaxPool", x)
    assert evaluate(differentiate(graph, y, [x])["x"]).tolist() == [[[0.5, 0.5, 0]]]
