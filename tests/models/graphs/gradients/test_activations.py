from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from headwater.errors import UnsupportedError
from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph, Value
from tests.models.graphs.gradients.cases import (
    SHAPES,
    Case,
    Cases,
    Draw,
    agrees,
    off_zero,
    op,
    unary,
)
from tests.models.graphs.harness import evaluate


@st.composite
def p_relu(draw: Draw) -> Case:
    shape = draw(SHAPES)
    slope = draw(st.sampled_from([(1,), shape[-1:], shape]))
    return Case(op("PRelu"), [shape, slope], off_zero)


def either(one: st.SearchStrategy[Case], other: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    return st.one_of(one, other)


HALF = np.float32(0.5)


def dropout(*inputs: object) -> st.SearchStrategy[Case]:
    return SHAPES.map(lambda shape: Case(lambda x: x.graph.op("Dropout", x, *inputs), [shape]))


CASES: Cases = {
    "Dropout": st.one_of(
        dropout(), dropout(HALF.reshape(())), dropout(HALF.reshape(()), np.array(False))
    ),
    "Elu": either(unary("Elu"), unary("Elu", alpha=0.5)),
    "Erf": unary("Erf"),
    "Gelu": either(unary("Gelu"), unary("Gelu", approximate="tanh")),
    "HardSigmoid": either(unary("HardSigmoid"), unary("HardSigmoid", alpha=1.0, beta=0.3)),
    "HardSwish": SHAPES.map(
        lambda shape: Case(lambda x: x.graph.op("HardSwish", x * 3.0), [shape], off_zero)
    ),
    "LeakyRelu": either(unary("LeakyRelu"), unary("LeakyRelu", alpha=0.3)),
    "Mish": unary("Mish"),
    "PRelu": p_relu(),
    "Relu": unary("Relu"),
    "Selu": either(unary("Selu"), unary("Selu", alpha=1.5, gamma=1.2)),
    "Sigmoid": unary("Sigmoid"),
    "Softplus": unary("Softplus"),
    "Softsign": unary("Softsign"),
    "Tanh": unary("Tanh"),
    "ThresholdedRelu": either(unary("ThresholdedRelu"), unary("ThresholdedRelu", alpha=0.5)),
}

test_a_rule_agrees_with_finite_differences = agrees(CASES)


@pytest.mark.parametrize("operator", ["Relu", "ThresholdedRelu"])
def test_at_the_kink_nothing_flows(operator: str) -> None:
    graph = Graph()
    x = graph.parameter("x", np.array([0.0, 1.0]))
    shifted = x if operator == "Relu" else x + 1.0
    gradient = differentiate(graph, graph.op(operator, shifted), [x])["x"]
    assert evaluate(gradient).tolist() == [0, 1]


def test_dropout_that_drops_is_refused() -> None:
    graph = Graph()
    x = graph.parameter("x", np.ones(3))
    y = graph.op("Dropout", x, 0.5, np.array(True), name="lossy")
    with pytest.raises(UnsupportedError, match=r"Dropout 'lossy'.*inference mode"):
        differentiate(graph, y, [x])


def test_dropout_whose_mode_is_computed_is_refused() -> None:
    graph = Graph()
    x = graph.parameter("x", np.ones(3))
    mode: Value = graph.input("mode", (), np.bool_)
    with pytest.raises(UnsupportedError, match="drops at random"):
        differentiate(graph, graph.op("Dropout", x, 0.5, mode), [x])
