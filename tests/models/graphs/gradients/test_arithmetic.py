from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import strategies as st

from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph, Value
from tests.models.graphs.gradients.cases import (
    PAIRS,
    SHAPES,
    Case,
    Cases,
    Draw,
    agrees,
    off_halves,
    off_zero,
    op,
    positive,
    unary,
)
from tests.models.graphs.harness import evaluate


def binary(operator: str) -> st.SearchStrategy[Case]:
    return PAIRS.map(lambda pair: Case(op(operator), list(pair.input_shapes), off_zero))


def several(operator: str) -> st.SearchStrategy[Case]:
    shapes = st.integers(1, 3).flatmap(
        lambda n: hnp.mutually_broadcastable_shapes(num_shapes=n, max_dims=3, max_side=3)
    )
    return shapes.map(lambda s: Case(op(operator), list(s.input_shapes)))


@st.composite
def power(draw: Draw) -> Case:
    shapes = list(draw(PAIRS).input_shapes)
    fixed = draw(st.sampled_from([None, 2.0, 3.0, 0.0, -1.0]))
    if fixed is None:
        return Case(op("Pow"), shapes, positive)
    return Case(lambda x: x.graph.op("Pow", x, fixed), shapes[:1], off_zero)


@st.composite
def clip(draw: Draw) -> Case:
    low, high = draw(st.booleans()), draw(st.booleans())

    def make(x: Value, *bounds: Value) -> Value:
        given, omitted = list(bounds), Value(x.graph, "", x.dtype, ())
        low_bound = given.pop(0) - 2.5 if low else omitted
        return x.graph.op("Clip", x, low_bound, *(bound + 2.0 for bound in given))

    return Case(make, [draw(SHAPES), *[()] * (low + high)])


CASES: Cases = {
    "Abs": unary("Abs"),
    "Add": binary("Add"),
    "Cast": SHAPES.map(
        lambda shape: Case(lambda x: (x.cast(np.float64) * 2.0).cast(x.dtype), [shape])
    ),
    "Ceil": unary("Ceil", off_halves),
    "Clip": clip(),
    "Cos": unary("Cos"),
    "Div": binary("Div"),
    "Exp": unary("Exp"),
    "Floor": unary("Floor", off_halves),
    "Identity": unary("Identity"),
    "Log": unary("Log", positive),
    "Max": several("Max"),
    "Mean": several("Mean"),
    "Min": several("Min"),
    "Mul": binary("Mul"),
    "Neg": unary("Neg"),
    "Pow": power(),
    "Reciprocal": unary("Reciprocal"),
    "Round": unary("Round", off_halves),
    "Sign": unary("Sign"),
    "Sin": unary("Sin"),
    "Sqrt": unary("Sqrt", positive),
    "Sub": binary("Sub"),
    "Sum": several("Sum"),
}

test_a_rule_agrees_with_finite_differences = agrees(CASES)


def test_a_cast_between_widths_passes_the_gradient_in_the_input_s_dtype() -> None:
    graph = Graph(np.float32)
    x = graph.parameter("x", np.ones(3))
    wide = x.cast(np.float64)
    gradient = differentiate(graph, wide * wide, [x])["x"]
    assert gradient.dtype == np.float32


@pytest.mark.parametrize("operator", ["Max", "Min"])
def test_what_ties_shares_the_gradient(operator: str) -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.array([1.0, 2.0]))
    y = graph.op(operator, x, np.array([1.0, 2.0]))
    assert evaluate(differentiate(graph, y, [x])["x"]).tolist() == [0.5, 0.5]


def test_a_value_at_the_bound_still_learns() -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
    y = graph.op("Clip", x, -1.0, 1.0)
    assert evaluate(differentiate(graph, y, [x])["x"]).tolist() == [0, 1, 1, 1, 0]


def test_the_power_of_zero_has_gradient_zero_at_zero() -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.array([0.0, 3.0]))
    y = graph.op("Pow", x, np.array([0.0, 0.0]))
    assert evaluate(differentiate(graph, y, [x])["x"]).tolist() == [0, 0]


def test_to_an_exponent_nothing_flows_from_where_x_is_not_above_zero() -> None:
    graph = Graph(np.float64)
    x = np.array([-2.0, 0.0, 0.1, 3.0])
    p = graph.parameter("p", np.full(4, 2.0))
    found = evaluate(differentiate(graph, graph.op("Pow", x, p), [p])["p"])
    np.testing.assert_allclose(found, [0, 0, 0.01 * np.log(0.1), 9 * np.log(3)])


def test_the_size_of_zero_has_gradient_zero() -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.array([-2.0, 0.0, 3.0]))
    assert evaluate(differentiate(graph, graph.op("Abs", x), [x])["x"]).tolist() == [-1, 0, 1]
