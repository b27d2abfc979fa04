"""What cannot be imported, or learned through, is named with its node and a remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from headwater.errors import UnsupportedError
from headwater_models.graphs.importing import Imported, import_model, read_source
from headwater_models.graphs.importing.source import standard_source
from tests.models.graphs.importing.exports import FOLDER, spec


def node(operator: str, *inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], name=f"the {operator}", **attributes)


def made(*nodes: onnx.NodeProto, **changes: Any) -> Imported:
    rng = np.random.default_rng(0)
    arrays = {"first": (3, 4), "second": (4, 1), "noise": (4,)}
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n)
         for n, s in arrays.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    return import_model(standard_source(model, "m.onnx"), spec("regression", 1, **changes))


ENTER = node("MatMul", "x", "first", output="a")
LEAVE = node("MatMul", "b", "second", output="y")
HARD = node("Hardmax", "a", output="b")


def test_an_operator_behind_a_parameter_that_has_no_gradient_is_named() -> None:
    with pytest.raises(
        UnsupportedError,
        match=r"^Hardmax \(node 'the Hardmax'\) lies between the parameters first and the "
        r"prediction .*\(--freeze\)",
    ):
        made(ENTER, HARD, LEAVE)


def test_it_is_taken_once_the_parameters_before_it_are_frozen() -> None:
    manifest = made(ENTER, HARD, LEAVE, freeze=("first",)).built.manifest
    assert [(array.name, array.trained) for array in manifest.arrays] == [
        ("first", False),
        ("second", True),
    ]


def test_a_forest_is_refused_by_name() -> None:
    with pytest.raises(
        UnsupportedError,
        match=r"^TreeEnsembleRegressor \(node 'TreeEnsembleRegressor'\).*a forest .* no weights",
    ):
        read_source(FOLDER / "forest.sklearn.onnx")


def test_control_flow_is_refused_by_name() -> None:
    branch = helper.make_graph([node("Neg", "a", output="c")], "branch", [], [
        helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, None)])  # fmt: skip
    always = helper.make_node("Constant", [], ["t"], value=numpy_helper.from_array(np.array(True)))
    either = node("If", "t", output="b", then_branch=branch, else_branch=branch)
    with pytest.raises(UnsupportedError, match=r"If \(node 'the If'\).*graph inside.*branches"):
        made(ENTER, always, either, LEAVE)


def test_sizes_that_do_not_fit_are_told_with_the_node() -> None:
    wrong = node("MatMul", "a", "first", output="b")
    with pytest.raises(UnsupportedError, match=r"MatMul \(node 'the MatMul'\) cannot be imported"):
        made(ENTER, wrong, LEAVE)


def test_what_follows_from_constants_is_computed_once() -> None:
    root = node("Sqrt", "twice", output="root")
    twice = node("Abs", "noise", output="twice")
    built = made(ENTER, twice, root, node("Div", "a", "root", output="b"), LEAVE).built
    assert {n.op_type for n in onnx.load_model_from_string(built.infer).graph.node}.isdisjoint(
        {"Sqrt", "Abs"}
    )
    assert "noise" not in built.weights
