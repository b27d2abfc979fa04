"""A sigmoid that is written out learns where its exponential overflows, and so do shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Value
from tests.models.graphs.harness import evaluate
from tests.models.graphs.importing.test_rewrites import replayed


def node(operator: str, *inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], name=output, **attributes)


ONE, ONES = np.array([1], np.float32), np.ones((2, 3), np.float32)
NEGATED = node("Neg", "x", output="n")
RAISED = node("Exp", "n", output="e")
ADDED = node("Add", "e", "one", output="a")
TURNED = node("Mul", "x", "minus", output="n")
LOGISTIC = {
    "as SGDClassifier has it": [TURNED, RAISED, ADDED, node("Reciprocal", "a")],
    "with a negation": [NEGATED, RAISED, ADDED, node("Reciprocal", "a")],
    "by division": [NEGATED, RAISED, ADDED, node("Div", "one", "a")],
    "of many ones": [
        NEGATED, RAISED, node("Add", "ones", "e", output="a"), node("Div", "ones", "a"),
    ],
    "the other way round": [
        node("Mul", "minus", "x", output="n"), RAISED, node("Add", "one", "e", output="a"),
        node("Reciprocal", "a"),
    ],
    "of a difference": [
        node("Sub", "zero", "x", output="n"), RAISED, ADDED, node("Div", "one", "a"),
    ],
    "of ones by shape": [
        node("Shape", "x", output="s"),
        node("ConstantOfShape", "s", output="one", value=numpy_helper.from_array(ONE)),
        NEGATED, RAISED, ADDED, node("Div", "one", "a"),
    ],
}  # fmt: skip
NUMBERS = {"one": ONE, "ones": ONES, "minus": -ONE[0], "zero": 0 * ONE}
"""Ways to write a sigmoid out."""


def original(
    nodes: Sequence[onnx.NodeProto], arrays: Mapping[str, Any], x: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What the runtime makes of the nodes as they are."""
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 2, 3])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()],
    )  # fmt: skip
    sets = [helper.make_opsetid("", 21)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=10).SerializeToString()
    return np.asarray(ort.InferenceSession(model).run(None, {"x": x})[0])


def logistic(*nodes: onnx.NodeProto) -> Value:
    made = {name for each in nodes for name in each.output}
    return replayed(*nodes, arrays={k: v for k, v in NUMBERS.items() if k not in made})


@pytest.mark.parametrize("nodes", LOGISTIC.values(), ids=LOGISTIC)
def test_a_sigmoid_written_out_is_one(nodes: list[onnx.NodeProto]) -> None:
    x = np.linspace(-200, 200, 600).reshape(-1, 2, 3).astype(np.float32)
    y = logistic(*nodes)
    y.graph.output(y)
    assert {each.operator for each in y.graph.needed()} <= {"Sigmoid", "Neg", "Sub"}
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(evaluate(y, {"x": x}), expected, atol=1e-6)


@pytest.mark.parametrize(
    "nodes",
    [
        [NEGATED, RAISED, ADDED, node("Div", "minus", "a")],
        [NEGATED, RAISED, ADDED, node("Div", "x", "a")],
        [NEGATED, RAISED, node("Add", "e", "minus", output="a"), node("Reciprocal", "a")],
        [NEGATED, RAISED, node("Add", "e", "x", output="a"), node("Reciprocal", "a")],
        [NEGATED, RAISED, node("Sub", "e", "one", output="a"), node("Reciprocal", "a")],
        [NEGATED, node("Cos", "n", output="e"), ADDED, node("Reciprocal", "a")],
        [node("Abs", "x", output="a"), node("Div", "one", "a")],
        [node("Reciprocal", "x")],
        [node("ReduceMax", "x", "axis", output="m"), node("Exp", "m", output="e"), ADDED,
         node("Div", "ones", "a")],
    ],
)  # fmt: skip
def test_what_only_looks_like_a_sigmoid_stays_what_it_is(nodes: list[onnx.NodeProto]) -> None:
    arrays = {**NUMBERS, "axis": [1, 2]}
    y = replayed(*nodes, arrays=arrays)
    y.graph.output(y)
    assert [each.operator for each in y.graph.needed()] == [each.op_type for each in nodes]
    x = np.random.default_rng(0).uniform(0.5, 2, (4, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(evaluate(y, {"x": x}), original(nodes, arrays, x), rtol=1e-6)


def test_a_sigmoid_written_out_has_a_gradient_where_its_exponential_overflows() -> None:
    y = logistic(*LOGISTIC["as SGDClassifier has it"])
    x = y.graph.value("x")
    found = evaluate(differentiate(y.graph, y, [x])["x"], {"x": np.full((1, 2, 3), -150, "f")})
    assert np.isfinite(found).all()


FLOAT, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL
SCORES = [TURNED, RAISED, ADDED, node("Reciprocal", "a", output="p")]
PADDED = [
    *SCORES,
    node("ReduceSum", "p", "last", output="t", keepdims=1),
    node("Cast", "t", output="some", to=BOOL),
    node("Not", "some", output="none"),
    node("Cast", "none", output="pad", to=FLOAT),
    node("Add", "p", "pad", output="top"),
    node("Mul", "pad", "three", output="pads"),
    node("Add", "t", "pads", output="bottom"),
    node("Div", "top", "bottom"),
]
"""Probabilities as scikit-learn's exporter writes those of an SGDClassifier of three classes."""

PLAIN = [*PADDED[:5], node("Div", "p", "t")]
SHARES = {"one": ONE, "minus": -ONE[0], "last": np.array([2]), "three": 3 * ONE[0]}


@pytest.mark.parametrize("nodes", [PADDED, PLAIN])
def test_shares_of_sigmoids_are_a_softmax(nodes: list[onnx.NodeProto]) -> None:
    y = replayed(*nodes, arrays=SHARES)
    assert y.graph.nodes[-1].operator == "Softmax"
    x = np.random.default_rng(0).uniform(-60, 60, (500, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(evaluate(y, {"x": x}), original(nodes, SHARES, x), atol=1e-5)


def test_the_shares_of_scores_that_are_all_0_are_equal_as_in_the_file() -> None:
    y = replayed(*PADDED, arrays=SHARES)
    x = np.full((1, 2, 3), -200, np.float32)
    x[0, 1, 0] = -80
    found = evaluate(y, {"x": x})
    np.testing.assert_allclose(found, original(PADDED, SHARES, x), atol=1e-6)
    np.testing.assert_allclose(found[0], np.array([[1 / 3] * 3, [1.0, 0.0, 0.0]]), atol=1e-6)


@pytest.mark.parametrize("nodes", [PADDED, PLAIN])
def test_shares_of_small_scores_have_the_gradient_of_a_softmax(nodes: list[onnx.NodeProto]) -> None:
    y = replayed(*nodes, arrays=SHARES)
    x = y.graph.value("x")
    rows = np.array([[[-50, -51, -52]] * 2, [[-300, 300, 0]] * 2], np.float32)
    seed = y.graph.constant(np.array([1, 0, 0], np.float32)).expand_like(y)
    found = evaluate(differentiate(y.graph, y, [x], seed)["x"], {"x": rows})
    first = np.exp([0, -1, -2]) / np.exp([0, -1, -2]).sum()
    expected = first[0] * (np.array([1, 0, 0]) - first)
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-4)
    np.testing.assert_array_equal(found[0, 1], found[0, 0])
    assert not found[1].any()


def changed(at: int, other: onnx.NodeProto) -> list[onnx.NodeProto]:
    return [*PADDED[:at], other, *PADDED[at + 1 :]]


@pytest.mark.parametrize(
    "nodes",
    [
        changed(4, node("ReduceSum", "p", "before", output="t", keepdims=1)),
        changed(4, node("ReduceMax", "p", "last", output="t", keepdims=1)),
        changed(4, node("ReduceSum", "x", "last", output="t", keepdims=1)),
        changed(7, node("Cast", "some", output="pad", to=FLOAT)),
        changed(9, node("Mul", "pad", "one", output="pads")),
        changed(10, node("Add", "t", "pad", output="bottom")),
        [*PADDED[:5], node("Div", "x", "t")],
    ],
)
def test_what_only_looks_like_shares_stays_what_it_is(nodes: list[onnx.NodeProto]) -> None:
    arrays = {**SHARES, "before": np.array([1])}
    y = replayed(*nodes, arrays=arrays)
    assert y.graph.nodes[-1].operator == "Div"
    x = np.random.default_rng(0).uniform(-2, 2, (4, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(evaluate(y, {"x": x}), original(nodes, arrays, x), rtol=1e-4)
