"""Each loss against its formula in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_models.graphs.expression import Graph
from headwater_models.graphs.losses import losses, reconstruction
from headwater_models.graphs.serialisation import encode
from tests.models.graphs.harness import evaluate, runner

Floats = NDArray[np.float64]


def graph_loss(
    name: str,
    prediction: Floats,
    label: Floats,
    scale: float | None = None,
    quantiles: Sequence[float] = (),
) -> Floats:
    graph = Graph(np.float64)
    value = graph.input("given", ("N", prediction.shape[1]))
    operator = "Softmax" if name == "cross_entropy" else "Identity"
    output = graph.op(operator, value, name="prediction")
    if scale is not None:
        graph.constant(scale, "label.scale")
    row = losses(quantiles)[name](output, graph.input("label", ("N", 1)))
    found: Floats = evaluate(row.by_row("loss"), {"given": prediction, "label": label})
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


@pytest.mark.parametrize("name", FORMULAS)
@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=4),
    st.floats(-9, 9),
)
def test_the_error_of_a_start_and_scaled_values_is_that_of_what_they_come_to(
    name: str, pairs: list[tuple[float, float]], start: float
) -> None:
    values, label = (np.array(column)[:, None] for column in zip(*pairs, strict=True))
    graph = Graph(np.float64)
    scaled = graph.constant(3.0, "label.scale") * graph.input("values", ("N", 1))
    prediction = graph.op("Add", graph.constant(start, "label.start"), scaled, name="prediction")
    row = losses()[name](prediction, graph.input("label", ("N", 1)))
    found = evaluate(row.by_row("loss"), {"values": values, "label": label})
    assert "prediction" not in {value.name for node in graph.needed() for value in node.outputs}
    expected = graph_loss(name, start + 3.0 * values, label, scale=3.0)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


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


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4, unique=True),
    st.integers(0, 2**32 - 1),
)
def test_the_quantile_loss_is_the_mean_over_quantiles_of_the_pinball(
    quantiles: list[float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    prediction, label = rng.normal(size=(3, len(quantiles))), rng.normal(size=(3, 1))
    above = (label - prediction) / 2.0
    expected = np.where(
        above >= 0, np.multiply(quantiles, above), np.subtract(quantiles, 1) * above
    )
    found = graph_loss("quantile", prediction, label, scale=2.0, quantiles=quantiles)
    np.testing.assert_allclose(found, expected.mean(axis=1), rtol=1e-12)


def test_the_loss_of_a_quantile_is_least_at_the_quantile() -> None:
    labels = np.arange(1.0, 11.0)[:, None]
    candidates = np.arange(0.5, 11.0)
    costs = [
        graph_loss("quantile", np.full_like(labels, at), labels, quantiles=[0.8]).sum()
        for at in candidates
    ]
    assert candidates[np.argmin(costs)] == 8.5


@pytest.mark.parametrize("name", losses())
def test_a_row_without_a_label_has_loss_zero(name: str) -> None:
    wide = {"cross_entropy": [[1.0, 2.0]], "quantile": [[1.0, 2.0]]}
    prediction = np.array(wide.get(name, [[1.0]]))
    found = graph_loss(name, prediction, np.array([[np.nan]]), quantiles=[0.1, 0.9])
    assert found.tolist() == [0.0]


def test_an_anomaly_model_s_loss_is_its_prediction_and_needs_no_label() -> None:
    graph = Graph()
    prediction = graph.input("prediction", ("N", 1))
    row = reconstruction(prediction, graph.input("label", ("N", 1)))
    graph.output(row.by_row("loss"))
    graph.output(graph.op("Not", row.unknown, name="known"))
    score, nothing = np.array([[3.0], [0.5]], np.float32), np.full((2, 1), np.nan, np.float32)
    found = runner(encode(graph))({"prediction": score, "label": nothing})
    assert found["loss"].tolist() == [3.0, 0.5]
    assert found["known"].tolist() == [[True]]
