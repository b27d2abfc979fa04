"""Layers compute what their sources say and start where they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater_models.graphs.builders.layers import Layers
from headwater_models.graphs.builders.specification import Activation
from headwater_models.graphs.expression import Graph
from tests.models.graphs.harness import evaluate

X = np.random.default_rng(1).normal(size=(6, 5))


def layers(activation: Activation = "relu", *, normalised: bool = False) -> Layers:
    return Layers(Graph(np.float64), np.random.default_rng(0), activation, normalised)


@pytest.mark.parametrize(
    ("activation", "formula"),
    [
        ("relu", lambda x: np.maximum(x, 0)),
        ("tanh", np.tanh),
        ("silu", lambda x: x / (1 + np.exp(-x))),
    ],
)
def test_a_hidden_layer_is_linear_then_activated(activation: Activation, formula: Any) -> None:
    made = layers(activation)
    hidden = made.hidden("h", made.graph.input("x", ("N", 5)), 4)
    found = evaluate(hidden, {"x": X})
    weight = made.graph.defaults["h.weight"]
    np.testing.assert_allclose(found, formula(X @ weight), rtol=1e-12)


def test_normalisation_comes_between_and_starts_with_mean_0_and_deviation_1() -> None:
    made = layers("tanh", normalised=True)
    hidden = made.hidden("h", made.graph.input("x", ("N", 5)), 4)
    drive = X @ made.graph.defaults["h.weight"]
    spread = np.sqrt(drive.var(axis=1, keepdims=True) + 1e-5)
    expected = np.tanh((drive - drive.mean(axis=1, keepdims=True)) / spread)
    np.testing.assert_allclose(evaluate(hidden, {"x": X}), expected, rtol=1e-6)
    assert list(made.graph.defaults) == ["h.bias", "h.weight", "h.norm.scale", "h.norm.bias"]


@pytest.mark.parametrize(
    ("activation", "spread"),
    [
        ("relu", np.sqrt(2 / 600)),
        ("silu", np.sqrt(2 / 600)),
        ("tanh", np.sqrt(2 / (600 + 500))),
    ],
)
def test_first_weights_have_the_spread_of_their_source(
    activation: Activation, spread: float
) -> None:
    gaps = np.arange(1000) >= 600
    weight = layers(activation).first_weights(gaps, 500)
    assert (weight[gaps] == 0).all()
    np.testing.assert_allclose(weight[~gaps].std(), spread, rtol=0.01)


def test_the_last_layer_starts_at_zero() -> None:
    made = layers()
    last = made.last("head", made.graph.input("x", ("N", 5)), 2)
    zeros: NDArray[np.float64] = np.zeros((6, 2))
    np.testing.assert_array_equal(evaluate(last, {"x": X}), zeros)


def test_first_weights_are_numbers_that_float32_holds() -> None:
    made = layers()
    made.hidden("h", made.graph.input("x", ("N", 5)), 4)
    weight = made.graph.defaults["h.weight"]
    np.testing.assert_array_equal(weight, weight.astype(np.float32))
