"""Each loss against its formula in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_models.graphs.expression import Graph
from headwater_models.graphs.losses import losses
from tests.models.graphs.harness import evaluate

Floats = NDArray[np.float64]


def graph_loss(name: str, prediction: Floats, label: Floats, scale: float | None = None) -> Floats:
    graph = Graph(np.float64)
    value = graph.input("given", ("N", prediction.shape[1]))
    operator = "Softmax" if name == "cross_entropy" else "Identity"
    graph.op(operator, value, name="prediction")
    if scale is not None:
        graph.constant(scale, "label.scale")
    loss = losses()[name](graph, graph.input("label", ("N", 1))).loss
    found: Floats = evaluate(loss, {"given": prediction, "label": label})
    return found


def huber(error: Floats) -> Floats:
    return np.asarray(np.where(np.abs(error) <= 1, error**2 / 2, np.abs(error) - 0.5))


FORMULAS: dict[str, Callable[[Floats], Any]] = {"mse": np.square, "mae": np.abs, "huber": huber}


@pytest.mark.parametrize("name", FORMULAS)
@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=4))
def test_a_loss_of_values_is_its_formula_of_the_scaled_error(
    name: str, pairs: list[tuple[float, float]]
) -> None:
    prediction, label = (np.array(column)[:, None] for column in zip(*pairs, strict=True))
    expected = FORMULAS[name]((prediction - label)[:, 0] / 3.0)
    found = graph_loss(name, prediction, label, scale=3.0)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_without_a_scale_the_error_counts_in_natural_units() -> None:
    assert graph_loss("mae", np.array([[5.0]]), np.array([[2.0]])).tolist() == [3.0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.sampled_from([1.0, 30.0, 2000.0]))
def test_cross_entropy_is_the_negative_log_of_the_labelled_class_s_probability(
    seed: int, classes: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (4, classes))
    label = rng.integers(0, classes, (4, 1))
    shifted = logits - logits.max(1, keepdims=True)
    likelihood = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    expected = -np.take_along_axis(likelihood, label, axis=1)[:, 0]
    found = graph_loss("cross_entropy", logits, label.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", losses())
def test_a_row_without_a_label_has_loss_zero(name: str) -> None:
    prediction = np.array([[1.0, 2.0]] if name == "cross_entropy" else [[1.0]])
    assert graph_loss(name, prediction, np.array([[np.nan]])).tolist() == [0.0]
