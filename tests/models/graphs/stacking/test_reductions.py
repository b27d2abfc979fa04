from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from headwater_models.graphs.expression import Graph
from tests.models.graphs.gradients.test_reductions import CASES
from tests.models.graphs.stacking.cases import agrees, assert_equal_to_a_loop
from tests.models.graphs.stacking.test_rule import graph_of

test_a_stack_agrees_with_a_loop = agrees(CASES)


@settings(max_examples=8, derandomize=True, deadline=None)
@given(st.integers(-2, 1), st.integers(0, 1), st.integers(0, 1), st.integers(0, 2**32 - 1))
def test_the_place_of_the_largest_is_each_member_s(
    axis: int, last: int, keep: int, seed: int
) -> None:
    graph = Graph()
    x = graph.input("x", ("N", 3))
    y = graph.op("ArgMax", x, axis=axis, select_last_index=last, keepdims=keep)
    values = np.random.default_rng(seed).integers(0, 3, (2, 4, 3)).astype(np.float32)
    assert_equal_to_a_loop(graph_of(y), ["x"], {"x": values}, rtol=0)


@pytest.mark.parametrize("operator", ["ReduceSum", "ReduceL2", "ReduceSumSquare"])
def test_a_single_number_of_each_member_is_reduced_by_itself(operator: str) -> None:
    graph = Graph()
    y = graph.op(operator, graph.input("x", ()))
    assert_equal_to_a_loop(graph_of(y), ["x"], {"x": np.array([-2, 3], np.float32)}, rtol=1e-6)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_the_last_axis_is_meant_where_none_is_named(operator: str) -> None:
    graph = Graph()
    y = graph.op(operator, graph.input("x", (2, 3)))
    values = np.random.default_rng(0).normal(size=(2, 2, 3)).astype(np.float32)
    assert_equal_to_a_loop(graph_of(y), ["x"], {"x": values}, rtol=1e-6)
