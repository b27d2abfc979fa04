from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from headwater.errors import SettingsError
from headwater_agent.events import Batch
from headwater_agent.rivers.head import BIAS, WEIGHT
from headwater_agent.rivers.inputs import feature_names
from headwater_agent.rivers.personal import RiverPersonal
from headwater_agent.rivers.settings import RiverSettings
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import Built
from headwater_models.graphs.builders.specification import Kind
from headwater_models.manifest import Task
from headwater_models.session import Predictor
from tests.agent.rivers.bundles import (
    Dtype,
    anomaly_manifest,
    bundle,
    personal,
    settings,
    stream,
)

SCALER = "river.preprocessing.StandardScaler"
TREE: dict[str, Any] = {
    "model": "river.tree.HoeffdingTreeClassifier",
    "arguments": {"grace_period": 20},
}
LINEAR = settings("river.linear_model.LinearRegression")

CLASSIFIERS: dict[str, tuple[RiverSettings, int]] = {
    "logistic regression": (settings("river.linear_model.LogisticRegression"), 2),
    "passive-aggressive": (settings("river.linear_model.PAClassifier"), 2),
    "softmax regression": (settings("river.linear_model.SoftmaxRegression"), 3),
    "one logistic regression for each class": (
        settings(
            "river.multiclass.OneVsRestClassifier",
            arguments={"classifier": "river.linear_model.LogisticRegression"},
        ),
        3,
    ),
    "Hoeffding tree": (settings(**TREE), 3),
    "adaptive random forest": (
        settings("river.forest.ARFClassifier", arguments={"n_models": 3, "seed": 1}),
        3,
    ),
    "Mondrian forest": (
        settings("river.forest.AMFClassifier", arguments={"n_estimators": 5, "seed": 1}),
        2,
    ),
    "nearest neighbours": (settings("river.neighbors.KNNClassifier"), 3),
    "naive Bayes": (settings("river.naive_bayes.GaussianNB"), 3),
    "bagged trees": (
        settings("river.ensemble.BaggingClassifier", arguments={"model": TREE, "n_models": 3}),
        2,
    ),
    "boosted pipelines": (
        settings(
            "river.ensemble.AdaBoostClassifier",
            arguments={"model": TREE | {"before": [SCALER]}, "n_models": 3, "seed": 1},
        ),
        2,
    ),
    "a tree of channels": (settings(**TREE, inputs="channels"), 3),
}
WITH_BIAS = {
    "model": "river.feature_extraction.PolynomialExtender",
    "arguments": {"degree": 1, "include_bias": True},
}
REGRESSORS: dict[str, RiverSettings] = {
    "linear regression": LINEAR,
    "scaled linear regression": settings("river.linear_model.LinearRegression", before=[SCALER]),
    "passive-aggressive": settings("river.linear_model.PARegressor", arguments={"C": 0.03}),
    "Bayesian linear regression": settings(
        "river.linear_model.BayesianLinearRegression", before=[WITH_BIAS]
    ),
    "Hoeffding tree": settings("river.tree.HoeffdingTreeRegressor"),
    "adaptive random forest": settings(
        "river.forest.ARFRegressor", arguments={"n_models": 3, "seed": 1}
    ),
    "rules": settings("river.rules.AMRules"),
    "nearest neighbours": settings("river.neighbors.KNNRegressor"),
    "a tree of channels": settings("river.tree.HoeffdingTreeRegressor", inputs="channels"),
}
ROOM = {"model": "river.compose.Discard", "arguments": {"keys": ["gate"]}}
UNIT = "river.preprocessing.MinMaxScaler"
DETECTORS: dict[str, RiverSettings] = {
    "half-space trees": settings(
        "river.anomaly.HalfSpaceTrees",
        arguments={"seed": 1, "window_size": 50},
        before=[ROOM, UNIT],
        inputs="channels",
    ),
    "local outlier factor": settings(
        "river.anomaly.LocalOutlierFactor", before=[ROOM], inputs="channels"
    ),
    "a filter around half-space trees": settings(
        "river.anomaly.QuantileFilter",
        arguments={
            "anomaly_detector": {
                "model": "river.anomaly.HalfSpaceTrees",
                "arguments": {"seed": 1, "window_size": 50},
            },
            "q": 0.99,
        },
        before=[ROOM, UNIT],
        inputs="channels",
    ),
}


def noise(built: Built, seed: int = 0) -> Arrays:
    """Weights of some release."""
    rng = np.random.default_rng(seed)
    return {n: rng.normal(0, 0.3, a.shape).astype(np.float32) for n, a in built.weights.items()}


def accuracy(model: RiverPersonal, batch: Batch) -> float:
    predicted = model.predict(batch.window, batch.time)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)
    return float((predicted.argmax(axis=1) == batch.label[:, 0]).mean())


def error(model: RiverPersonal, batch: Batch) -> float:
    return float(np.abs(model.predict(batch.window, batch.time) - batch.label).mean())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_of_river_learns(name: str) -> None:
    wanted, classes = CLASSIFIERS[name]
    model = personal(wanted, bundle("classification", classes))
    model.learn(stream(600, classes))
    assert accuracy(model, stream(200, classes, seed=1)) > 0.7  # chance is 0.33 or 0.5


@pytest.mark.parametrize("task", ["regression", "forecast"])
@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_of_river_learns_in_the_unit_of_the_target(name: str, task: Task) -> None:
    model = personal(REGRESSORS[name], bundle(task))
    model.learn(stream(600))
    assert error(model, stream(200, seed=1)) < 2  # the labels' mean deviation is 5


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_of_river_scores_what_it_has_not_seen_higher(name: str) -> None:
    manifest = anomaly_manifest()
    model = RiverPersonal(DETECTORS[name], manifest, Predictor(bundle().infer), {})
    rng = np.random.default_rng(0)
    usual = rng.normal([5, 25, 1], [0.3, 1, 0], (300, 2, 3)).astype(np.float32)
    time = np.arange(300, dtype=np.int64) * 60_000
    model.learn(Batch(usual, time, np.full((300, 1), np.nan, np.float32), np.ones(300, np.float32)))
    assert model.examples == 300
    unusual = np.full((20, 2, 3), [9.5, 2, 1], np.float32)
    scores = model.predict(unusual, time[:20])
    assert scores.shape == (20, 1)
    assert np.median(scores) > np.median(model.predict(usual[:20], time[:20]))


def test_before_its_first_example_a_model_says_nothing() -> None:
    model = personal(settings("river.forest.ARFRegressor"), bundle())
    batch = stream(3)
    assert np.isnan(model.predict(batch.window, batch.time)).all()
    assert model.predict(batch.window[:0], batch.time[:0]).shape == (0, 1)


def test_a_linear_model_starts_at_the_release() -> None:
    built, batch = bundle("forecast"), stream(20)
    weights = noise(built)
    model = personal(LINEAR, built, weights)
    released = Predictor(built.infer).run(batch.window, batch.time, weights)
    np.testing.assert_array_equal(model.predict(batch.window, batch.time), released)


def test_rows_without_a_usable_label_or_weight_are_left_out() -> None:
    batch = stream(6, classes=3)
    batch.label[:3, 0] = [np.nan, 7, 0.5]
    batch.weight[3] = 0
    model = personal(settings("river.naive_bayes.GaussianNB"), bundle("classification", 3))
    model.learn(batch)
    assert model.examples == 2


# What leaves the device, and what stays


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (settings("river.forest.ARFRegressor"), "has no weights that could be averaged"),
        (REGRESSORS["scaled linear regression"], "know this device alone"),
        (settings("river.linear_model.LinearRegression", inputs="channels"), "from channels"),
        (
            settings(
                "river.linear_model.LinearRegression",
                arguments={"loss": "river.optim.losses.Poisson"},
            ),
            "not what the bundle's last layer holds",
        ),
    ],
)
def test_a_model_that_cannot_be_averaged_stays_and_says_why(
    wanted: RiverSettings, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    model = personal(wanted, bundle())
    assert not model.federates
    assert reason in model.stays
    assert f"{wanted.model} stays on this device" in caplog.text


@pytest.mark.parametrize("kind", ["linear", "cnn"])
@pytest.mark.parametrize(
    ("model", "task", "classes"),
    [
        ("LinearRegression", "regression", 0),
        ("LinearRegression", "forecast", 0),
        ("PARegressor", "forecast", 0),
        ("LogisticRegression", "classification", 2),
        ("PAClassifier", "classification", 2),
        ("Perceptron", "classification", 2),
        ("SoftmaxRegression", "classification", 2),
        ("SoftmaxRegression", "classification", 3),
    ],
)
def test_a_linear_model_federates(model: str, task: Task, classes: int, kind: Kind) -> None:
    built = bundle(task, classes, kind=kind)
    linear = personal(settings(f"river.linear_model.{model}"), built)
    assert linear.federates, linear.stays
    assert (linear.weights() or {}).keys() == built.weights.keys()


def test_where_the_last_layer_stays_so_does_the_model() -> None:
    model = personal(LINEAR, bundle(kind="mlp", personal="head"))
    assert "so does the bundle's last layer" in model.stays


def test_under_a_blend_the_released_last_layer_is_the_model() -> None:
    built, batch = bundle("regression", kind="linear", personal="blend"), stream(600)
    model = personal(LINEAR, built)
    model.learn(batch)
    weights = model.weights() or {}
    assert model.federates
    assert error(model, stream(100, seed=1)) < 2
    assert all((weights[n] == a).all() for n, a in built.weights.items() if "personal" in n)


def test_a_detector_learns_from_the_bottleneck_of_an_autoencoder() -> None:
    built, batch = bundle("anomaly", kind="autoencoder"), stream(200)
    wanted = settings(
        "river.anomaly.HalfSpaceTrees", arguments={"seed": 1, "window_size": 50}, before=[UNIT]
    )
    model = personal(wanted, built)
    model.learn(batch)
    scores = model.predict(batch.window, batch.time)
    assert scores.shape == (200, 1)
    assert np.isfinite(scores).all()


# Export: the bundle with the model's weights is the model

DTYPES: list[Dtype] = ["float32", "float64"]
LINEAR_MODELS = st.sampled_from(
    [
        ("LinearRegression", "regression", 0),
        ("LinearRegression", "forecast", 0),
        ("PARegressor", "forecast", 0),
        ("LogisticRegression", "classification", 2),
        ("PAClassifier", "classification", 2),
        ("Perceptron", "classification", 2),
        ("SoftmaxRegression", "classification", 2),
        ("SoftmaxRegression", "classification", 3),
    ]
)
SCALERS = st.sampled_from([(), (SCALER,), (UNIT,), (SCALER, UNIT)])


@given(LINEAR_MODELS, SCALERS, st.integers(0, 10_000), st.integers(1, 60), st.sampled_from(DTYPES))
@effort(max_examples=60)
def test_the_exported_graph_agrees_with_river(
    model: tuple[str, Task, int], before: tuple[str, ...], seed: int, count: int, dtype: Dtype
) -> None:
    """To 1e-6 of the sum of a prediction's terms in float32, and to 1e-12 in the float64 twin."""
    name, task, classes = model
    built = bundle(task, classes, dtype)
    wanted = settings(f"river.linear_model.{name}", before=before)
    start = {key: array.astype(dtype) for key, array in noise(built, seed).items()}
    learned = personal(wanted, built, start)
    learned.learn(stream(count, classes, seed))
    batch = stream(30, classes, seed + 1)
    exported = learned.weights()
    assert exported is not None
    predicted = Predictor(built.infer).run(batch.window, batch.time, exported)
    own, size = rivers_own(learned, built, exported, batch)
    tolerance = {"float32": 1e-6, "float64": 1e-12}[dtype]
    assert (np.abs(predicted - own) <= tolerance * size).all()


def rivers_own(
    model: RiverPersonal, built: Built, exported: Arrays, batch: Batch
) -> tuple[Any, Any]:
    """What river itself predicts, in the target's unit, and the size of the terms it adds up."""
    features = Predictor(built.infer).features(batch.window, batch.time, exported)
    names, engine = feature_names(features.shape[1]), model._engine
    rows = [engine._whole(dict(zip(names, row, strict=True))) for row in features.tolist()]
    river = engine._model
    terms = np.abs(features) @ np.abs(exported[WEIGHT]) + np.abs(exported[BIAS])
    size = 1 + terms.max(axis=1, keepdims=True)
    if built.manifest.classes:
        labels = range(len(built.manifest.classes))
        given_ = [river.predict_proba_one(row) for row in rows]
        return np.array([[p[label] for label in labels] for p in given_]), size
    forecast = built.manifest.task == "forecast"
    start = batch.window[:, -1, :1].astype(np.float64) if forecast else 0.0
    scale = 10 / np.sqrt(12) if forecast else 1.0
    own = np.array([[river.predict_one(row)] for row in rows])
    return start + scale * own, scale * size + np.abs(start)


def test_an_exported_bundle_is_saved_loaded_and_predicts_as_the_model_does(tmp_path: Path) -> None:
    built, batch = bundle("classification", 2), stream(50, 2, seed=1)
    model = personal(settings("river.linear_model.LogisticRegression"), built)
    model.learn(stream(300, 2))
    made = Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=model.weights() or {}
    )
    made.save(tmp_path / "weir")
    loaded = Bundle.load(tmp_path / "weir")
    again = Predictor(loaded.infer).run(batch.window, batch.time, loaded.weights)
    np.testing.assert_array_equal(again, model.predict(batch.window, batch.time))


# Federation by weight


@given(LINEAR_MODELS, st.integers(0, 10_000))
@effort(max_examples=25)
def test_devices_that_take_the_mean_of_their_weights_predict_as_the_averaged_model(
    model: tuple[str, Task, int], seed: int
) -> None:
    name, task, classes = model
    built = bundle(task, classes)
    wanted = settings(f"river.linear_model.{name}")
    devices = [personal(wanted, built, noise(built, seed)) for _ in range(2)]
    for number, device in enumerate(devices):
        device.learn(stream(40, classes, seed + number))
    updates = [device.weights() or {} for device in devices]
    mean = {n: (updates[0][n] + updates[1][n]) / np.float32(2) for n in updates[0]}
    batch = stream(20, classes, seed + 9)
    averaged = Predictor(built.infer).run(batch.window, batch.time, mean)
    for device in devices:
        assert device.rebase(mean)
        own, size = rivers_own(device, built, mean, batch)
        assert (np.abs(own - averaged) <= 1e-6 * size).all()
        served = device.predict(batch.window, batch.time)
        assert (np.abs(served - averaged) <= 1e-6 * size).all()


def test_learning_goes_on_from_a_release() -> None:
    built = bundle("regression")
    taught = personal(LINEAR, built)
    taught.learn(stream(600))
    fresh = personal(LINEAR, built)
    assert fresh.rebase(taught.weights() or {})
    assert error(fresh, stream(100, seed=1)) == error(taught, stream(100, seed=1))
    fresh.learn(stream(100, seed=2))
    taught.learn(stream(100, seed=2))
    for name, array in (taught.weights() or {}).items():
        np.testing.assert_allclose((fresh.weights() or {})[name], array, atol=1e-5)


def test_a_model_that_stays_is_not_touched_by_a_release_of_the_same_backbone() -> None:
    built, batch = bundle(kind="mlp"), stream(20, seed=1)
    model = personal(settings("river.tree.HoeffdingTreeRegressor"), built)
    model.learn(stream(200))
    before = model.predict(batch.window, batch.time)
    head = {name: noise(built)[name] for name in (WEIGHT, BIAS)}
    assert model.rebase(built.weights | head)
    np.testing.assert_array_equal(model.predict(batch.window, batch.time), before)


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (settings("river.tree.HoeffdingTreeRegressor"), False),
        (REGRESSORS["scaled linear regression"], False),
        (REGRESSORS["a tree of channels"], True),
        (LINEAR, True),
    ],
)
def test_a_release_that_changes_the_features_asks_for_learning_again(
    wanted: RiverSettings, holds: bool
) -> None:
    built = bundle(kind="mlp")
    model = personal(wanted, built)
    model.learn(stream(50))
    assert model.rebase(noise(built)) is holds


# State


@pytest.mark.parametrize(
    "wanted", [LINEAR, REGRESSORS["scaled linear regression"], REGRESSORS["passive-aggressive"]]
)
def test_a_linear_model_goes_on_from_its_state_bit_for_bit(wanted: RiverSettings) -> None:
    built, batch = bundle("forecast"), stream(50, seed=1)
    model, again = personal(wanted, built), personal(wanted, built)
    model.learn(stream(100))
    again.resume(model.save(), examples=unread())
    assert again.examples == 100
    np.testing.assert_array_equal(
        again.predict(batch.window, batch.time), model.predict(batch.window, batch.time)
    )
    model.learn(batch)
    again.learn(batch)
    assert again.save() == model.save()


def unread() -> Iterator[Batch]:
    raise AssertionError("the buffer is read where the state would do")
    yield


def test_any_other_model_is_learned_again_from_the_buffer_and_says_what_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    built, batch = bundle(), stream(50, seed=1)
    wanted = settings("river.forest.ARFRegressor", arguments={"n_models": 2, "seed": 1})
    model, again = personal(wanted, built), personal(wanted, built)
    model.learn(stream(100))
    assert model.save() is None
    again.resume(None, [stream(100)])
    np.testing.assert_array_equal(
        again.predict(batch.window, batch.time), model.predict(batch.window, batch.time)
    )
    assert "learned again from 100 buffered examples" in caplog.text
    assert "what it knew from before them is gone" in caplog.text


def test_a_state_that_cannot_be_used_is_learned_again_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    built = bundle()
    model, again = personal(LINEAR, built), personal(LINEAR, built)
    model.learn(stream(100))
    state = msgspec.msgpack.decode(model.save() or b"") | {"layout": 0}
    again.resume(msgspec.msgpack.encode(state), [stream(60), stream(40, seed=1)])
    assert again.examples == 100
    assert "learned again from 100 buffered examples, for its saved state" in caplog.text
    assert "it has layout 0" in caplog.text


def test_a_first_start_has_nothing_to_say(caplog: pytest.LogCaptureFixture) -> None:
    personal(LINEAR, bundle()).resume(None, [])
    assert caplog.text == ""


# What goes wrong


def test_a_linear_model_whose_weights_run_away_is_paused_and_offers_the_release() -> None:
    built, batch = bundle("regression"), stream(200)
    wild = {"model": "river.optim.SGD", "arguments": {"lr": 1e6}}
    arguments = {"optimizer": wild, "clip_gradient": 1e300}
    model = personal(settings("river.linear_model.LinearRegression", arguments=arguments), built)
    model.learn(batch)
    assert "no longer finite" in model.paused
    assert np.isnan(model.predict(batch.window, batch.time)).all()
    assert model.save() is None
    weights = model.weights() or {}
    assert all((weights[name] == array).all() for name, array in built.weights.items())


def test_a_release_wakes_a_linear_model() -> None:
    built, batch = bundle("regression"), stream(200)
    wild = {"model": "river.optim.SGD", "arguments": {"lr": 1e6}}
    arguments = {"optimizer": wild, "clip_gradient": 1e300}
    model = personal(settings("river.linear_model.LinearRegression", arguments=arguments), built)
    model.learn(batch)
    assert model.paused
    model.rebase(noise(built))
    assert not model.paused
    assert np.isfinite(model.predict(batch.window, batch.time)).all()


def test_a_paused_model_is_not_woken_by_what_it_was_based_on_before() -> None:
    built, batch = bundle("regression"), stream(200)
    wild = {"model": "river.optim.SGD", "arguments": {"lr": 1e6}}
    arguments = {"optimizer": wild, "clip_gradient": 1e300}
    model = personal(settings("river.linear_model.LinearRegression", arguments=arguments), built)
    model.learn(batch)
    assert model.rebase(model.weights() or {})
    assert model.paused


def test_settings_that_describe_no_model_are_refused_at_start() -> None:
    with pytest.raises(SettingsError, match=r"is no river\.base\.Regressor"):
        personal(settings("river.tree.HoeffdingTreeClassifier"), bundle())
