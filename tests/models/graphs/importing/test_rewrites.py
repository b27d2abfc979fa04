"""What exporters write takes any number of rows afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.importing.replay import Replay
from headwater_models.graphs.importing.rewrites import rewrites
from headwater_models.graphs.importing.source import standard_source


def replayed(
    *nodes: onnx.NodeProto, rows: int | str = "N", arrays: dict[str, Any] | None = None
) -> Value:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [rows, 2, 3])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in (arrays or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    made = Graph()
    x = made.input("x", ("N", 2, 3))
    return Replay(made, standard_source(model, "m.onnx"), {}, (), rewrites()).run(x)


def node(operator: str, *inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], name=operator, **attributes)


@pytest.mark.parametrize(
    ("rows", "target", "expected"),
    [
        (1, [1, 6], ("N", 6)),
        (1, [1, -1], ("N", 6)),
        (1, [1, 2, 3, 1], ("N", 2, 3, 1)),
        (4, [4, 6], ("N", 6)),
        ("N", [-1, 6], ("N", 6)),
        ("N", [-1, 3], ("2*N", 3)),
        ("N", [0, 3, 2], ("N", 3, 2)),
    ],
)
def test_a_reshape_leaves_the_rows_open(
    rows: int | str, target: list[int], expected: tuple[int | str, ...]
) -> None:
    assert replayed(node("Reshape", "x", "t"), rows=rows, arrays={"t": target}).shape == expected


def test_a_target_that_fixes_the_rows_is_refused_by_name() -> None:
    with pytest.raises(
        UnsupportedError, match=r"'Reshape'.* \[8, 3\] fixes the number of rows; exp"
    ):
        replayed(node("Reshape", "x", "t"), rows=4, arrays={"t": [8, 3]})


def test_rows_are_followed_where_they_are_not_in_front() -> None:
    turned = node("Transpose", "x", output="u", perm=[1, 0, 2])
    made = replayed(turned, node("Reshape", "u", "t"), rows=4, arrays={"t": [2, 4, 1, 3]})
    assert made.shape == (2, "N", 1, 3)


def test_a_target_that_is_computed_from_shapes_is_followed() -> None:
    made = replayed(
        node("Shape", "x", output="s"),
        node("Gather", "s", "first", output="n"),
        node("Concat", "n", "rest", output="t", axis=0),
        node("Reshape", "x", "t"),
        arrays={"first": [0], "rest": [3, 2]},
    )
    assert made.shape == ("N", 3, 2)


def test_a_fill_by_shape_is_followed() -> None:
    shape = node("Shape", "x", output="s")
    assert replayed(shape, node("ConstantOfShape", "s")).shape == ("N", 2, 3)
    expanded = node("Expand", "one", "s")
    assert replayed(shape, expanded, arrays={"one": np.float32(1)}).shape == ("N", 2, 3)


def test_a_target_that_depends_on_data_is_refused_by_name() -> None:
    first = node("Gather", "x", "first", output="f")
    target = node("Cast", "f", output="c", to=onnx.TensorProto.INT64)
    flat = node("Reshape", "c", "flat", output="t")
    with pytest.raises(UnsupportedError, match=r"Reshape \(node 'Reshape'\).*depends on data"):
        replayed(first, target, flat, node("Reshape", "x", "t"), arrays={"first": 0, "flat": [6]})


def test_dropout_and_identity_are_left_out() -> None:
    made = replayed(node("Dropout", "x", output="d"), node("Identity", "d"))
    assert made.name == "x"
    assert not made.graph.nodes


def test_doubles_become_floats() -> None:
    made = replayed(node("Cast", "x", to=onnx.TensorProto.DOUBLE))
    assert made.name == "x"


def test_a_squeeze_without_axes_drops_those_of_size_one() -> None:
    first = node("Reshape", "x", "t", output="u")
    assert replayed(first, node("Squeeze", "u"), arrays={"t": [0, 1, 6]}).shape == ("N", 6)
