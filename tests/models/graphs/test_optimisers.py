"""The rules alone, each against its formula in NumPy; whole steps are in ``test_training.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_models.graphs.expression import Graph
from headwater_models.graphs.optimisers import clipped, optimisers
from headwater_models.graphs.serialisation import encode
from headwater_models.manifest import Optimiser
from tests.models.graphs.harness import evaluate, runner

Floats = NDArray[np.float64]
RATE = 0.1


def descend(optimiser: Optimiser, weights: Floats, gradients: list[Floats]) -> Floats:
    """Take a step for each gradient, from a state of zeros."""
    graph, rule = Graph(np.float64), optimisers()[optimiser.name]
    shapes = {"weights": weights.shape, **rule.state(weights.size)}
    for name, shape in {**shapes, "gradient": weights.shape}.items():
        graph.input(name, shape)
    before = graph.value("weights")
    change, state = rule.step(before, graph.value("gradient"), graph.constant(RATE), optimiser)
    for name, value in {"weights": before + change, **state}.items():
        graph.output(graph.op("Identity", value, name=f"new.{name}"))
    run = runner(encode(graph))
    now = {name: np.zeros([int(n) for n in shape]) for name, shape in shapes.items()}
    now["weights"] = weights
    for gradient in gradients:
        new = run({**now, "gradient": gradient})
        now = {name.removeprefix("new."): array for name, array in new.items()}
    return now["weights"]


def sgd(w: Floats, g: Floats, _: dict[str, Any], o: Optimiser) -> Floats:
    return w - RATE * (g + o.weight_decay * w)


def momentum(w: Floats, g: Floats, state: dict[str, Any], o: Optimiser) -> Floats:
    state["v"] = o.momentum * state.get("v", 0) - RATE * (g + o.weight_decay * w)
    return np.asarray(w + state["v"])


def adam(w: Floats, g: Floats, state: dict[str, Any], o: Optimiser) -> Floats:
    return _adam(w, g + o.weight_decay * w, state)


def adamw(w: Floats, g: Floats, state: dict[str, Any], o: Optimiser) -> Floats:
    return _adam(w, g, state) - RATE * o.weight_decay * w


def _adam(w: Floats, g: Floats, state: dict[str, Any]) -> Floats:
    """Algorithm 1 of Kingma and Ba (2015), word for word."""
    state["t"] = t = state.get("t", 0) + 1
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * g**2
    unbiased = state["m"] / (1 - 0.9**t), state["v"] / (1 - 0.999**t)
    return np.asarray(w - RATE * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8))


FORMULAS: dict[str, Callable[[Floats, Floats, dict[str, Any], Optimiser], Floats]] = {
    "sgd": sgd,
    "momentum": momentum,
    "adam": adam,
    "adamw": adamw,
}


def named(name: str, **changes: Any) -> Optimiser:
    return msgspec.convert({"name": name, **changes}, Optimiser)


def test_every_optimiser_has_a_formula_here() -> None:
    assert list(FORMULAS) == list(optimisers())


@pytest.mark.parametrize("name", FORMULAS)
@settings(max_examples=10, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.5, 0.9]))
def test_steps_follow_the_formula(name: str, seed: int, decay: float, friction: float) -> None:
    rng, optimiser = np.random.default_rng(seed), named(name, weight_decay=decay, momentum=friction)
    weights, gradients = rng.normal(size=(1, 5)), [*rng.normal(size=(3, 1, 5))]
    expected, state = weights, dict[str, Any]()
    for g in gradients:
        expected = FORMULAS[name](expected, g, state, optimiser)
    found = descend(optimiser, weights, gradients)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["adam", "adamw"])
@settings(max_examples=10, derandomize=True)
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=4).map(np.atleast_2d))
def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient_s_size(
    name: str, gradient: Floats
) -> None:
    found = descend(named(name), np.ones_like(gradient), [-gradient])
    np.testing.assert_allclose(found, 1 + RATE, rtol=1e-6)


@pytest.mark.parametrize("name", optimisers())
def test_without_a_gradient_fresh_weights_stay(name: str) -> None:
    weights = np.array([[1.0, -2.0]])
    np.testing.assert_array_equal(descend(named(name), weights, [np.zeros((1, 2))]), weights)


@settings(max_examples=20, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 1e3]))
def test_a_gradient_is_scaled_to_the_norm_it_may_have(seed: int, size: float) -> None:
    gradient = np.random.default_rng(seed).normal(0, size, (1, 5))
    found = evaluate(clipped(Graph(np.float64).constant(gradient), 2.0))
    share = min(1.0, 2.0 / float(np.linalg.norm(gradient)))
    np.testing.assert_allclose(found, share * gradient, rtol=1e-12)


def test_a_limit_of_zero_clips_nothing() -> None:
    gradient = Graph().constant(np.array([[1e9]]))
    assert clipped(gradient, 0.0) is gradient
