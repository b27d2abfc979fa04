"""Whole models: gradients against finite differences, steps against NumPy."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.errors import BundleError, UnsupportedError
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.optimisers import optimisers
from headwater_models.graphs.serialisation import encode
from headwater_models.graphs.training import derive_training, freeze, state_arrays
from headwater_models.interface import check_graphs
from headwater_models.manifest import Array, Optimiser
from headwater_models.session import Predictor, Trainer, initial_state
from tests.models.graphs.example import (
    all_specs,
    kind_specs,
    model_spec,
    optimiser,
    random_weights,
    rows,
    spec_id,
)
from tests.models.graphs.harness import numeric_gradient

Arrays = dict[str, NDArray[Any]]
ADAM, SGD = Optimiser(name="adam"), Optimiser(name="sgd")
OPTIMISERS = sorted(optimisers())


def mean_loss(losses: NDArray[Any], weight: NDArray[Any]) -> float:
    return float((losses * weight).sum() / weight.sum())


KINDS = [*kind_specs(), model_spec(loss="quantile", quantiles=(0.1, 0.5, 0.8))]


@pytest.mark.parametrize(
    "spec",
    [msgspec.structs.replace(s, optimiser=SGD) for s in (*all_specs("sgd"), *KINDS)],
    ids=spec_id,
)
def test_a_step_of_descent_follows_the_gradient_of_the_weighted_mean_loss(spec: ModelSpec) -> None:
    rng = np.random.default_rng(7)
    built = build(spec, rng, "float64")
    trainer, batch = Trainer(built.train), rows(spec, rng)
    weights = random_weights(built.weights, rng)

    def loss(moved: Any) -> float:
        return mean_loss(trainer.step(batch, moved, {}, 0.0)[2], batch.weight)

    new, _, _ = trainer.step(batch, weights, {}, 1.0)
    for name, before in weights.items():
        numeric = numeric_gradient(loss, weights, name)
        np.testing.assert_allclose(before - new[name], numeric, rtol=1e-6, atol=1e-8)


def numpy_adam(
    weights: Arrays, gradients: Arrays, state: Arrays, rate: float
) -> tuple[Arrays, Arrays]:
    """Algorithm 1 of Kingma and Ba (2015); the state is a row for all, without ``1 - decay``."""
    step = state["adam.step"] + 1
    g = np.concatenate([gradients[name].ravel() for name in weights])[np.newaxis]
    m = 0.9 * 0.1 * state["adam.m"] + 0.1 * g
    v = 0.999 * 0.001 * state["adam.v"] + 0.001 * g**2
    ratio = ((m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8))[0]
    parts = np.split(ratio, np.cumsum([w.size for w in weights.values()])[:-1])
    pairs = zip(weights.items(), parts, strict=True)
    new = {name: w - rate * part.reshape(w.shape) for (name, w), part in pairs}
    return new, {"adam.step": step, "adam.m": m / 0.1, "adam.v": v / 0.001}


@pytest.mark.parametrize("spec", all_specs("adam"), ids=spec_id)
def test_adam_steps_as_the_paper_says(spec: ModelSpec) -> None:
    rng = np.random.default_rng(3)
    built = build(spec, rng, "float64")
    descent = Trainer(derive_training(built.infer, spec.loss, SGD, built.manifest.arrays))
    adam = Trainer(built.train)
    weights: Arrays = random_weights(built.weights, rng)
    reference = weights
    state: Arrays = {
        name: a.astype(np.float64) for name, a in initial_state(built.manifest).items()
    }
    kept = state
    for _ in range(3):
        batch = rows(spec, rng)
        moved, _, _ = descent.step(batch, reference, {}, 1.0)
        gradients = {name: reference[name] - moved[name] for name in reference}
        reference, kept = numpy_adam(reference, gradients, kept, 0.01)
        weights, state, _ = adam.step(batch, weights, state, 0.01)
    for name in weights:
        np.testing.assert_allclose(weights[name], reference[name], rtol=1e-9, atol=1e-9)
    for name in state:
        np.testing.assert_allclose(state[name], kept[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("spec", all_specs("sgd", "adam"), ids=spec_id)
def test_the_float32_step_agrees_with_its_float64_twin(spec: ModelSpec) -> None:
    rng = np.random.default_rng(5)
    single, double = (build(spec, np.random.default_rng(1), d) for d in ("float32", "float64"))
    weights, batch = random_weights(single.weights, rng), rows(spec, rng)
    start: Arrays = {a.name: rng.uniform(0.1, 1, a.shape) for a in single.manifest.state}
    narrow = {name: a.astype(np.float32) for name, a in weights.items()}
    found = Trainer(single.train).step(batch.cast("float32"), narrow, start, 0.01)
    exact = Trainer(double.train).step(batch, weights, start, 0.01)
    assert found[2].dtype == np.float32
    np.testing.assert_allclose(found[2], exact[2], rtol=2e-4, atol=2e-4)
    for have, want in zip(found[:2], exact[:2], strict=True):
        for name in want:
            np.testing.assert_allclose(have[name], want[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spec", all_specs("sgd", "adam"), ids=spec_id)
def test_without_weight_nothing_changes_bit_for_bit(spec: ModelSpec) -> None:
    rng = np.random.default_rng(11)
    built = build(spec, rng)
    odd = np.array([-0.0, 1e-45, np.float32(3.4e38), 0.0], np.float32)
    arrays = {a.name: rng.choice(odd, a.shape) for a in built.manifest.arrays}
    state = {a.name: rng.choice(odd, a.shape) for a in built.manifest.state}
    batch = rows(spec, rng).cast("float32")
    batch = replace(batch, weight=np.zeros_like(batch.weight))
    new, kept, _ = Trainer(built.train).step(batch, arrays, state, 0.1)
    for before, after in ((arrays, new), (state, kept)):
        assert {k: v.tobytes() for k, v in before.items()} == {
            k: v.tobytes() for k, v in after.items()
        }


def one_step(spec: ModelSpec, **changes: Any) -> tuple[Arrays, Arrays, Arrays]:
    """Step once from random weights; return weights, new weights and losses under ``loss``."""
    rng = np.random.default_rng(2)
    built = build(spec, rng)
    weights = {k: v.astype(np.float32) for k, v in random_weights(built.weights, rng).items()}
    batch = replace(rows(spec, rng).cast("float32"), **changes)
    new, _, losses = Trainer(built.train).step(batch, weights, initial_state(built.manifest), 0.1)
    return weights, new, {"loss": losses}


def assert_same(one: Arrays, other: Arrays) -> None:
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


NO_LABELS = [
    pytest.param(model_spec(), np.nan, id="forecast-nan"),
    pytest.param(model_spec(task="classification"), np.nan, id="class-nan"),
    pytest.param(model_spec(task="classification"), 3.0, id="class-beyond-the-last"),
    pytest.param(model_spec(task="classification"), -1.0, id="class-below-zero"),
]


@pytest.mark.parametrize(("spec", "label"), NO_LABELS)
def test_a_row_without_a_usable_label_counts_as_if_it_were_not_there(
    spec: ModelSpec, label: float
) -> None:
    batch = rows(spec, np.random.default_rng(4)).cast("float32")
    labels = batch.label.copy()
    labels[0] = label
    weight = batch.weight.copy()
    weight[0] = 0
    _, unlabelled, losses = one_step(
        spec, window=batch.window, time=batch.time, label=labels, weight=batch.weight
    )
    _, unweighted, _ = one_step(
        spec, window=batch.window, time=batch.time, label=batch.label, weight=weight
    )
    assert_same(unlabelled, unweighted)
    assert losses["loss"][0] == 0


def test_a_batch_whose_loss_is_not_finite_changes_nothing() -> None:
    label = np.array([[1], [2], [np.inf], [3], [4]], np.float32)
    before, after, losses = one_step(model_spec(), label=label)
    assert_same(before, after)
    assert np.isinf(losses["loss"][2])


def test_a_weight_of_two_is_the_row_twice() -> None:
    spec = model_spec()
    batch = rows(spec, np.random.default_rng(9), count=2)
    twice = {name: getattr(batch, name)[[0, 0, 1]] for name in ("window", "time", "label")}
    once = {name: getattr(batch, name) for name in ("window", "time", "label")}
    _, doubled, _ = one_step(spec, **twice, weight=np.ones(3))
    _, weighted, _ = one_step(spec, **once, weight=np.array([2.0, 1.0]))
    for name in doubled:
        np.testing.assert_allclose(doubled[name], weighted[name], rtol=1e-4, atol=1e-5)


def test_a_batch_of_no_rows_changes_nothing() -> None:
    spec = model_spec()
    empty = {
        "window": np.zeros((0, 3, 2), np.float32),
        "time": np.zeros(0, np.int64),
        "label": np.zeros((0, 1), np.float32),
        "weight": np.zeros(0, np.float32),
    }
    before, after, losses = one_step(spec, **empty)
    assert_same(before, after)
    assert losses["loss"].shape == (0,)


def test_the_same_graph_gives_the_same_training_bytes() -> None:
    spec = model_spec()
    built = build(spec, np.random.default_rng(0))
    again = derive_training(built.infer, spec.loss, spec.optimiser, built.manifest.arrays)
    assert again == built.train


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("task", ["forecast", "regression", "classification"])
def test_training_learns_what_can_be_learned(task: str, name: str) -> None:
    rate = {"sgd": 0.1, "momentum": 0.01, "adam": 0.01, "adamw": 0.01}[name]
    spec = model_spec(task=task, activation="relu", optimiser=optimiser(name))
    rng = np.random.default_rng(1)
    built = build(spec, rng)
    batch = rows(spec, rng, 64, missing=0.05).cast("float32")
    signal = np.nan_to_num(batch.window[:, 0, 0], nan=15.0)
    label = (signal > 15).astype(np.float32) if spec.classes else signal
    batch = replace(batch, label=label[:, None].astype(np.float32))
    trainer, state, weights = Trainer(built.train), initial_state(built.manifest), built.weights
    history = []
    for _ in range(200):
        weights, state, losses = trainer.step(batch, weights, state, rate)
        history.append(mean_loss(losses, batch.weight))
    assert history[-1] < 0.3 * history[0]


def test_state_is_a_step_count_and_two_moments_of_all_that_is_trained() -> None:
    arrays = (
        Array(name="w", shape=(3, 2)),
        Array(name="held", shape=(5,), frozen=True),
        Array(name="solved", shape=(2,), merge="solved"),
        Array(name="b", shape=(2,)),
    )
    state = {a.name: (a.shape, a.merge) for a in state_arrays(ADAM, arrays)}
    assert state == {
        "adam.step": ((1,), "local"),
        "adam.m": ((1, 8), "local"),
        "adam.v": ((1, 8), "local"),
    }
    assert state_arrays(SGD, arrays) == ()
    assert state_arrays(ADAM, arrays[1:3]) == ()


def test_patterns_freeze_the_arrays_that_they_match() -> None:
    names = ("hidden.1.weight", "hidden.1.bias", "head.weight")
    arrays = tuple(Array(name=name, shape=(1,)) for name in names)
    assert [a.name for a in freeze(arrays, ["hidden.*"]) if a.frozen] == list(names[:2])
    assert all(a.frozen for a in freeze(arrays, ["*.bias", "*.weight"]))
    assert freeze(arrays, []) == arrays


def test_a_pattern_that_freezes_nothing_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"'hiden\.\*' matches none of the arrays w"):
        freeze((Array(name="w", shape=(1,)),), ["hiden.*"])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_what_is_frozen_stays_bit_for_bit_and_the_rest_steps_as_ever(name: str) -> None:
    settings = optimiser(name, weight_decay=0.1)
    free = build(model_spec(optimiser=settings), np.random.default_rng(0))
    held = build(model_spec(optimiser=settings, freeze=("hidden.*",)), np.random.default_rng(0))
    check_graphs(held.manifest, held.infer, held.train)
    rng = np.random.default_rng(1)
    weights, batch = random_weights(free.weights, rng), rows(model_spec(), rng).cast("float32")
    moved = Trainer(free.train).step(batch, weights, initial_state(free.manifest), 0.1)[0]
    kept = Trainer(held.train).step(batch, weights, initial_state(held.manifest), 0.1)[0]
    for array, before in weights.items():
        after = before.astype(np.float32) if array.startswith("hidden.") else moved[array]
        np.testing.assert_array_equal(kept[array], after)


def test_a_model_of_which_all_is_frozen_still_says_its_loss() -> None:
    spec = model_spec(freeze=("*",))
    built = build(spec, np.random.default_rng(0))
    check_graphs(built.manifest, built.infer, built.train)
    batch = rows(spec, np.random.default_rng(1)).cast("float32")
    new, state, losses = Trainer(built.train).step(batch, built.weights, {}, 0.1)
    assert_same(new, built.weights)
    assert (state, losses.shape) == ({}, (5,))


def test_clipping_bounds_the_step_of_descent_by_rate_times_limit() -> None:
    spec = model_spec(optimiser=optimiser("sgd", clip=1e-3))
    built, rng = build(spec, np.random.default_rng(0), "float64"), np.random.default_rng(2)
    weights = random_weights(built.weights, rng)
    new, _, _ = Trainer(built.train).step(rows(spec, rng), weights, {}, 0.5)
    squares = sum(float(((new[name] - weights[name]) ** 2).sum()) for name in weights)
    assert math.isclose(math.sqrt(squares), 0.5e-3, rel_tol=1e-9)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "gru"])
def test_a_blend_s_fleet_learns_as_if_alone_and_its_person_learns_what_is_left(kind: str) -> None:
    spec = model_spec(kind=kind, optimiser=SGD, personal="blend")
    plain = build(
        msgspec.structs.replace(spec, personal="none"), np.random.default_rng(0), "float64"
    )
    blend = build(spec, np.random.default_rng(0), "float64")
    rng = np.random.default_rng(3)
    weights, batch = random_weights(blend.weights, rng), rows(spec, rng)
    trainer = Trainer(blend.train)
    new, _, _ = trainer.step(batch, weights, {}, 1.0)
    fleet = {name: weights[name] for name in plain.weights}
    alone, _, _ = Trainer(plain.train).step(batch, fleet, {}, 1.0)
    for name in fleet:
        np.testing.assert_allclose(new[name], alone[name], rtol=1e-9)
    for name in weights.keys() - fleet.keys():
        numeric = numeric_gradient(
            lambda moved: mean_loss(trainer.step(batch, moved, {}, 0.0)[2], batch.weight),
            weights,
            name,
        )
        np.testing.assert_allclose(weights[name] - new[name], numeric, rtol=1e-6, atol=1e-8)


def test_an_anomaly_model_learns_without_labels_and_its_loss_is_its_score() -> None:
    spec = kind_specs()[-1]
    built, rng = build(spec, np.random.default_rng(0)), np.random.default_rng(1)
    batch = rows(spec, rng, 32).cast("float32")
    batch = replace(batch, label=np.full_like(batch.label, np.nan))
    trainer, state, weights = Trainer(built.train), initial_state(built.manifest), built.weights
    score = Predictor(built.infer).run(batch.window, batch.time, weights)[:, 0]
    np.testing.assert_allclose(trainer.step(batch, weights, state, 0.01)[2], score, rtol=1e-5)
    for _ in range(200):
        weights, state, losses = trainer.step(batch, weights, state, 0.01)
    assert losses.mean() < 0.9 * score.mean()


def test_a_graph_that_lacks_a_parameter_of_the_manifest_is_refused() -> None:
    built = build(model_spec(), np.random.default_rng(0))
    with pytest.raises(UnsupportedError, match="no input 'other'"):
        derive_training(built.infer, "mse", ADAM, (Array(name="other", shape=(1,)),))


def test_cross_entropy_needs_a_softmax_at_the_end() -> None:
    built = build(model_spec(), np.random.default_rng(0))
    with pytest.raises(UnsupportedError, match="let Softmax be its last operator"):
        derive_training(built.infer, "cross_entropy", ADAM, built.manifest.arrays)


def test_a_model_with_an_operator_that_has_no_rule_cannot_learn() -> None:
    graph = Graph()
    window = graph.input("window", ("N", 1, 1))
    flat = graph.op("Reshape", window, np.array([0, 1], np.int64))
    weight = graph.parameter("w", np.ones((1, 1)))
    graph.output(graph.op("Hardmax", flat @ weight, name="prediction"))
    with pytest.raises(UnsupportedError, match="Operator Hardmax"):
        derive_training(encode(graph), "mse", ADAM, (Array(name="w", shape=(1, 1)),))


def test_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(BundleError, match="not an ONNX model"):
        derive_training(b"\xff\xff", "mse", ADAM, ())
