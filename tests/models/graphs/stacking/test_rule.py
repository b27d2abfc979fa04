from __future__ import annotations

import numpy as np
import pytest

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.serialisation import decode, encode
from headwater_models.graphs.stack import stack
from tests.models.graphs.harness import runner


def graph_of(*values: Value) -> bytes:
    graph = values[0].graph
    for number, value in enumerate(values):
        graph.output(graph.op("Identity", value, name=f"y{number}"))
    return encode(graph)


def test_what_is_computed_of_shared_values_alone_is_computed_once() -> None:
    graph = Graph()
    window, w = graph.input("window", ("N", 3)), graph.input("w", (3, 2))
    features = graph.op("Tanh", window * 2.0)
    made = decode(stack(graph_of(features @ w), ["w"]))
    shapes = {node.operator: node.outputs[0].shape for node in made.nodes}
    assert shapes["Tanh"] == ("N", 3)
    assert shapes["MatMul"] == ("M", "N", 2)
    assert "Expand" not in shapes


def test_an_output_that_members_share_is_repeated_for_each() -> None:
    graph = Graph()
    x, w = graph.input("x", (2,)), graph.input("w", (2,))
    run = runner(stack(graph_of(x + 1.0, x * w), ["w"]))
    found = run({"x": np.ones(2, np.float32), "w": np.ones((3, 2), np.float32)})
    assert found["y0"].tolist() == [[2, 2]] * 3


def test_shapes_stay_those_of_a_member() -> None:
    graph = Graph()
    x, w = graph.input("x", ("N", 2)), graph.input("w", (4,))
    shape, size = graph.op("Shape", x), graph.op("Size", x)
    found = runner(stack(graph_of(shape, size, x, w), ["x", "w"]))(
        {"x": np.ones((3, 5, 2), np.float32), "w": np.ones((3, 4), np.float32)}
    )
    assert found["y0"].tolist() == [[5, 2]] * 3
    assert found["y1"].tolist() == [10] * 3


def test_a_shape_that_differs_between_members_is_refused() -> None:
    graph = Graph()
    x, shape = graph.input("x", (4,)), graph.input("shape", (2,), np.int64)
    y = graph.op("Reshape", x, shape, shape=("A", "B"))
    with pytest.raises(UnsupportedError, match=r"Reshape .*its input 'shape' differs"):
        stack(graph_of(y), ["shape", "x"])


def test_an_axis_that_is_computed_is_refused() -> None:
    graph = Graph()
    x, axis = graph.input("x", (2, 2)), graph.input("axis", (), np.int64)
    with pytest.raises(UnsupportedError, match="its input 'axis' is computed"):
        stack(graph_of(graph.op("CumSum", x, axis)), ["x"])
