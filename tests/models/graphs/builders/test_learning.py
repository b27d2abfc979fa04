"""What each kind of model learns: toy problems that need just what the kind is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater_models.graphs.builders import Built, ModelSpec, build
from headwater_models.graphs.scaling import Scaling
from headwater_models.manifest import Channel, Optimiser
from headwater_models.session import Predictor, Trainer, initial_state
from tests.models.graphs.example import Rows, kind_specs, model_spec, random_weights, rows

Floats = NDArray[Any]
Label = Callable[[Floats], Floats]
UNIT = Scaling(mean=(0.0, 0.0), scale=(1.0, 1.0))
MODE = Channel(name="mode", minimum=0, maximum=2, categories=("off", "on", "auto"))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def spec(**changes: Any) -> ModelSpec:
    """A regression of four rows of two channels whose values are of scale 1."""
    optimiser = Optimiser(learning_rate=0.02)
    given = {"task": "regression", "window": 4, "scaling": UNIT, "optimiser": optimiser}
    return model_spec(**given | changes)


def batch(window: Floats, label: Floats) -> Rows:
    count = len(window)
    made = Rows(window, np.zeros(count, np.int64), label.reshape(count, 1), np.ones(count))
    return made.cast("float32")


def learn(
    built: Built, draw: Callable[[np.random.Generator], Rows], steps: int
) -> tuple[dict[str, Floats], float, float]:
    """Take steps on fresh batches; return the weights, and the mean loss of the first and last."""
    trainer, drawn = Trainer(built.train), rng(1)
    weights, state, curve = built.weights, initial_state(built.manifest), []
    for _ in range(steps):
        rate = built.manifest.optimiser.learning_rate
        weights, state, loss = trainer.step(draw(drawn), weights, state, rate)
        curve.append(float(loss.mean()))
    edge = steps // 10
    return weights, float(np.mean(curve[:edge])), float(np.mean(curve[-edge:]))


def problem(label: Label, rows: int = 4) -> Callable[[np.random.Generator], Rows]:
    def draw(drawn: np.random.Generator) -> Rows:
        window = drawn.normal(size=(64, rows, 2))
        return batch(window, label(window))

    return draw


def a_sum(window: Floats) -> Floats:
    return np.asarray(window[:, -1, 0] - 2 * window[:, 0, 1] + 3)


def a_product(window: Floats) -> Floats:
    return np.asarray(window[:, -1, 0] * window[:, -1, 1])


def the_greatest_rise(window: Floats) -> Floats:
    """It may be anywhere, so that a flat network has to learn it once for each place."""
    return np.asarray(np.diff(window[:, :, 0], axis=1).max(axis=1))


def a_decaying_sum(window: Floats) -> Floats:
    decay = 0.7 ** np.arange(window.shape[1])[::-1]
    return np.asarray(np.tanh(window[:, :, 0] @ decay))


@pytest.mark.parametrize(
    ("kind", "label", "window", "factor"),
    [
        ("linear", a_sum, 4, 1000),
        ("mlp", a_product, 4, 10),
        ("resnet", a_product, 4, 10),
        ("cnn", the_greatest_rise, 12, 10),
        ("gru", a_decaying_sum, 6, 10),
    ],
)
def test_each_kind_learns_what_it_is_for(
    kind: str, label: Label, window: int, factor: float
) -> None:
    built = build(spec(kind=kind, window=window, hidden=(32,), activation="silu"), rng())
    _, first, last = learn(built, problem(label, window), 600)
    assert last < first / factor


def test_an_autoencoder_learns_what_is_usual_and_scores_the_rest_higher() -> None:
    def usual(drawn: np.random.Generator) -> Rows:
        level, slope = drawn.normal(size=(2, 64, 1))
        series = level + slope * np.linspace(-1, 1, 4)
        return batch(np.stack([series, -series], axis=2), np.full(64, np.nan))

    built = build(
        spec(kind="autoencoder", task="anomaly", hidden=(16, 2), activation="tanh"), rng()
    )
    weights, first, last = learn(built, usual, 600)
    assert last < first / 10
    known, other = usual(rng(5)), usual(rng(6))
    other.window[:, :, 1] *= -1
    predictor = Predictor(built.infer)
    low = predictor.run(known.window, known.time, weights)
    high = predictor.run(other.window, other.time, weights)
    assert np.median(high) > 20 * np.median(low)


def test_categories_are_learned_each_for_itself() -> None:
    effect = np.array([2.0, -1.0, 0.5, 4.0])

    def draw(drawn: np.random.Generator) -> Rows:
        mode = drawn.integers(0, 4, (64, 1, 1)).astype(float)
        label = effect[mode[:, 0, 0].astype(int)]
        mode[mode == 3] = np.nan
        return batch(mode, label)

    one = Scaling(mean=(0.0,), scale=(1.0,))
    built = build(spec(kind="linear", channels=(MODE,), window=1, scaling=one), rng())
    _, first, last = learn(built, draw, 600)
    assert last < first / 1000


def test_quantiles_are_learned_where_the_noise_depends_on_the_window() -> None:
    def draw(drawn: np.random.Generator) -> Rows:
        window = drawn.normal(size=(64, 4, 2))
        spread = np.exp(0.5 * window[:, -1, 1])
        return batch(window, window[:, -1, 0] + spread * drawn.normal(size=64))

    levels = (0.1, 0.5, 0.9)
    built = build(spec(kind="mlp", loss="quantile", quantiles=levels, hidden=(32,)), rng())
    weights, first, last = learn(built, draw, 600)
    assert last < 0.9 * first
    drawn = [draw(rng(seed)) for seed in range(100, 140)]
    window, label = (np.concatenate([getattr(b, n) for b in drawn]) for n in ("window", "label"))
    time = np.zeros(len(window), np.int64)
    found = Predictor(built.infer).run(window, time, weights)
    np.testing.assert_allclose((label < found).mean(axis=0), levels, atol=0.08)
    width = found[:, 2] - found[:, 0]
    calm, wild = window[:, -1, 1] < -1, window[:, -1, 1] > 1
    assert width[wild].mean() > 2 * width[calm].mean()


def test_what_is_frozen_stays_and_the_rest_learns_around_it() -> None:
    built = build(spec(kind="mlp", hidden=(64,), freeze=("hidden.*",)), rng())
    weights, first, last = learn(built, problem(a_sum), 600)
    for name, array in built.weights.items():
        assert (weights[name] == array).all() == name.startswith("hidden.")
    assert last < first / 10


def test_the_released_part_of_a_blend_learns_as_if_it_stood_alone() -> None:
    plain, blend = (build(spec(personal=p), rng()) for p in ("none", "blend"))
    alone, _, _ = learn(plain, problem(a_product), 20)
    beside, _, _ = learn(blend, problem(a_product), 20)
    for name, array in alone.items():
        np.testing.assert_allclose(beside[name], array, rtol=1e-5, atol=1e-6)


def test_a_blend_learns_what_is_a_device_s_own_and_the_fleet_what_is_common() -> None:
    """Two devices whose labels lie apart by 4, averaged after each step."""
    built = build(spec(personal="blend", kind="linear", optimiser=Optimiser(name="sgd")), rng())
    trainer, own = Trainer(built.train), (2.0, -2.0)
    local = {a.name for a in built.manifest.arrays if a.merge == "local"}
    weights = [built.weights] * 2
    for step in range(300):
        for device in range(2):
            window = rng(2 * step + device).normal(size=(64, 4, 2))
            labelled = batch(window, a_sum(window) + own[device])
            weights[device], _, _ = trainer.step(labelled, weights[device], {}, 0.03)
        mean = {n: np.mean([w[n] for w in weights], axis=0) for n in built.weights}
        weights = [{n: w[n] if n in local else mean[n] for n in w} for w in weights]
    data, predictor = problem(a_sum)(rng(9999)), Predictor(built.infer)
    common = predictor.released(data.window, data.time, weights[0])
    assert np.abs(common - data.label).mean() < 0.2
    for device in range(2):
        said = predictor.run(data.window, data.time, weights[device])
        assert np.abs(said - own[device] - data.label).mean() < 0.2


@pytest.mark.parametrize("personal", ["none", "blend"])
@pytest.mark.parametrize("kind", range(6))
def test_gradients_agree_with_those_of_the_float64_twin(kind: int, personal: str) -> None:
    wanted = kind_specs(
        personal=personal, normalise="layer", activation="silu", optimiser=Optimiser(name="sgd")
    )[kind]
    single, double = build(wanted, rng()), build(wanted, rng(), "float64")
    weights, data = random_weights(single.weights, rng()), rows(wanted, rng(), 16)
    narrow = {name: array.astype(np.float32) for name, array in weights.items()}
    found, _, _ = Trainer(single.train).step(data.cast("float32"), narrow, {}, 1.0)
    exact, _, _ = Trainer(double.train).step(data, weights, {}, 1.0)
    for name, array in exact.items():
        gradient, size = weights[name] - array, np.abs(weights[name] - array).max()
        got = weights[name] - found[name].astype(np.float64)
        np.testing.assert_allclose(got, gradient, rtol=1e-4, atol=1e-4 * max(size, 1))
