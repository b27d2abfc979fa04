from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph
from tests.models.graphs.gradients.cases import (
    SHAPES,
    Case,
    Cases,
    Draw,
    agrees,
    along_axis,
    anywhere,
    ints,
    off_zero,
    positive,
)
from tests.models.graphs.harness import evaluate

REDUCTIONS = {
    "ReduceL1": off_zero,
    "ReduceL2": off_zero,
    "ReduceLogSum": positive,
    "ReduceLogSumExp": anywhere,
    "ReduceMax": anywhere,
    "ReduceMean": anywhere,
    "ReduceMin": anywhere,
    "ReduceSum": anywhere,
    "ReduceSumSquare": anywhere,
}


@st.composite
def reduction(draw: Draw, operator: str) -> Case:
    shape, keep = draw(SHAPES), draw(st.booleans())
    axes = draw(st.none() | st.sets(st.integers(-len(shape), len(shape) - 1), min_size=1))
    if axes is not None:
        axes = {axis % len(shape) for axis in axes}
    inputs = [] if axes is None else [ints(*sorted(axes))]
    unchanged = draw(st.booleans()) if axes is None and operator != "ReduceL2" else False
    return Case(
        lambda x: x.graph.op(
            operator, x, *inputs, keepdims=int(keep), noop_with_empty_axes=int(unchanged)
        ),
        [shape],
        REDUCTIONS[operator],
        rows=axes is not None,
    )


@st.composite
def running_sum(draw: Draw) -> Case:
    shape = draw(SHAPES)
    axis = np.array(draw(st.integers(-len(shape), len(shape) - 1)))
    flags = {"exclusive": draw(st.integers(0, 1)), "reverse": draw(st.integers(0, 1))}
    return Case(lambda x: x.graph.op("CumSum", x, axis, **flags), [shape], rows=True)


CASES: Cases = {
    **{operator: reduction(operator) for operator in REDUCTIONS},
    "CumSum": running_sum(),
    "LogSoftmax": along_axis("LogSoftmax"),
    "Softmax": along_axis("Softmax"),
}

test_a_rule_agrees_with_finite_differences = agrees(CASES)


@pytest.mark.parametrize("operator", ["ReduceMax", "ReduceMin"])
def test_what_ties_shares_the_gradient(operator: str) -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.array([[1.0, 1.0], [3.0, 3.0]]))
    y = graph.op(operator, x, ints(1), keepdims=0)
    assert evaluate(differentiate(graph, y, [x])["x"]).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_the_norm_of_nothing_has_gradient_zero() -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.zeros((2, 3)))
    y = graph.op("ReduceL2", x, ints(1))
    assert not evaluate(differentiate(graph, y, [x])["x"]).any()


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_the_last_axis_is_meant_where_none_is_named(operator: str) -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.arange(12.0).reshape(2, 3, 2) ** 2 / 50)
    seed = graph.constant(np.arange(12.0).reshape(2, 3, 2))
    found, said = (
        evaluate(differentiate(graph, y, [x], seed)["x"])
        for y in (graph.op(operator, x), graph.op(operator, x, axis=2))
    )
    assert found.any()
    np.testing.assert_array_equal(found, said)


def test_the_size_of_zero_has_gradient_zero_in_a_sum() -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.array([[-2.0, 0.0, 3.0]]))
    y = graph.op("ReduceL1", x, ints(1))
    assert evaluate(differentiate(graph, y, [x])["x"]).tolist() == [[-1, 0, 1]]
