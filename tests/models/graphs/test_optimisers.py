"""The rules alone; whole steps are in ``test_training.py``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_models.graphs.expression import Graph
from headwater_models.graphs.optimisers import optimisers
from tests.models.graphs.harness import evaluate

Floats = NDArray[np.float64]


def first_step(name: str, weights: Floats, gradient: Floats, rate: float) -> Floats:
    graph = Graph(np.float64)
    graph.constant(weights, "w")
    rule = optimisers()[name]
    for state, shape in rule.state({"w": weights.shape}).items():
        graph.constant(np.zeros([int(size) for size in shape]), state)
    new = rule.step(graph, {"w": graph.constant(gradient)}, graph.constant(rate))
    found: Floats = evaluate(new["w"])
    return found


numbers = st.lists(st.floats(0.01, 100), min_size=1, max_size=4).map(np.array)


@settings(max_examples=20, deadline=None)
@given(numbers)
def test_sgd_moves_against_the_gradient_by_the_learning_rate(gradient: Floats) -> None:
    weights = np.ones_like(gradient)
    np.testing.assert_allclose(first_step("sgd", weights, gradient, 0.1), 1 - 0.1 * gradient)


@settings(max_examples=20, deadline=None)
@given(numbers)
def test_adam_s_first_step_is_the_learning_rate_whatever_the_gradient_s_size(
    gradient: Floats,
) -> None:
    weights = np.ones_like(gradient)
    found = first_step("adam", weights, -gradient, 0.1)
    np.testing.assert_allclose(found, 1.1, rtol=1e-6)


@pytest.mark.parametrize("name", optimisers())
def test_without_a_gradient_fresh_weights_stay(name: str) -> None:
    weights = np.array([1.0, -2.0])
    np.testing.assert_array_equal(first_step(name, weights, np.zeros(2), 0.1), weights)
