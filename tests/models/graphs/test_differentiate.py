from __future__ import annotations

import numpy as np
import pytest

from headwater.errors import UnsupportedError
from headwater_models.graphs.differentiate import differentiate, sum_to
from headwater_models.graphs.expression import Graph
from tests.models.graphs.harness import evaluate


def test_an_operator_without_a_rule_is_refused_by_name_with_its_node_and_parameters() -> None:
    graph = Graph()
    x, other, unused = (graph.parameter(name, np.ones(3)) for name in ("x", "other", "unused"))
    y = graph.op("Hardmax", x * other, name="bump") + unused
    refusal = (
        r"Operator Hardmax \(node 'bump'\) lies between the parameters 'x', 'other' and the loss"
        r".*Replace it by operators that can \(Abs, .*\), or freeze these parameters"
    )
    with pytest.raises(UnsupportedError, match=refusal):
        differentiate(graph, y, [x, other, unused])


def test_an_operator_before_the_parameters_needs_no_rule() -> None:
    graph = Graph(np.float64)
    data = graph.op("Sin", graph.constant(np.array([1.0, 2.0])))
    x = graph.parameter("x", np.ones(2))
    gradient = differentiate(graph, x * data, [x])["x"]
    np.testing.assert_allclose(evaluate(gradient), np.sin([1.0, 2.0]))


def test_an_operator_that_does_not_reach_the_loss_needs_no_rule() -> None:
    graph = Graph()
    x = graph.parameter("x", np.ones(2))
    graph.op("Hardmax", x)
    assert evaluate(differentiate(graph, x * 2.0, [x])["x"]).tolist() == [2, 2]


def test_what_is_used_twice_receives_both_gradients() -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.array([3.0]))
    gradient = differentiate(graph, x * x + x, [x])["x"]
    assert evaluate(gradient).tolist() == [7.0]


def test_a_parameter_that_the_output_ignores_has_gradient_zero() -> None:
    graph = Graph()
    x, unused = graph.parameter("x", np.ones(2)), graph.parameter("unused", np.ones((2, 3)))
    gradient = differentiate(graph, x.sum([0]), [x, unused])["unused"]
    np.testing.assert_array_equal(evaluate(gradient), np.zeros((2, 3)))


def test_the_gradient_of_a_parameter_with_respect_to_itself_is_the_seed() -> None:
    graph = Graph()
    x = graph.parameter("x", np.ones(2))
    assert evaluate(differentiate(graph, x, [x], 3.0)["x"]).tolist() == [3, 3]


def test_no_gradient_flows_through_whole_numbers() -> None:
    graph = Graph()
    x = graph.parameter("x", np.array([1.5]))
    whole = x.cast(np.int64).cast(np.float32)
    assert evaluate(differentiate(graph, x * whole, [x])["x"]).tolist() == [1.0]


def test_the_gradient_s_gradient_is_the_second_derivative() -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.array([0.3]))
    first = differentiate(graph, graph.op("Tanh", x), [x])["x"]
    second = differentiate(graph, first, [x])["x"]
    tanh = np.tanh([0.3])
    np.testing.assert_allclose(evaluate(second), -2 * tanh * (1 - tanh**2), rtol=1e-12)


def test_a_size_that_may_or_may_not_have_been_repeated_is_refused() -> None:
    graph = Graph()
    x = graph.input("x", ("N", 2))
    with pytest.raises(UnsupportedError, match="fixed shapes"):
        sum_to(x, ("M", 2))
