"""What a fresh model is, and that its graph is what the manifest says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.errors import BundleError, UnsupportedError
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.graphs.scaling import Scaling, scaling_from_ranges
from headwater_models.graphs.stack import stack_inference
from headwater_models.interface import check_graphs
from headwater_models.session import Predictor
from tests.models.graphs.example import (
    all_specs,
    kind_specs,
    model_spec,
    random_weights,
    rows,
    spec_id,
)
from tests.models.graphs.harness import runner


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def fresh_prediction(spec: ModelSpec, window: Any) -> NDArray[np.float32]:
    built = build(spec, rng())
    array = np.array(window, np.float32)
    return Predictor(built.infer).run(array, np.zeros(len(array), np.int64), built.weights)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_fresh_forecast_is_persistence(kind: str) -> None:
    batch = rows(model_spec(), rng(), 20, missing=0).cast("float32")
    found = fresh_prediction(model_spec(kind=kind), batch.window.tolist())
    np.testing.assert_array_equal(found[:, 0], batch.window[:, -1, 0])


def test_persistence_holds_the_last_value_that_is_there() -> None:
    nan = np.nan
    window = [
        [[1, 0], [2, 0], [nan, 0]],
        [[1, nan], [nan, nan], [nan, nan]],
        [[nan, 0], [nan, 0], [7, nan]],
    ]
    assert fresh_prediction(model_spec(), window).tolist() == [[2], [1], [7]]


def test_a_forecast_of_a_target_missing_all_along_starts_at_its_mean() -> None:
    window = [[[np.nan, 1000], [np.nan, 1001], [np.nan, np.nan]]]
    assert fresh_prediction(model_spec(), window).tolist() == [[15]]


def test_a_window_with_nothing_in_it_still_gets_a_finite_prediction() -> None:
    spec = model_spec(kind="mlp", activation="relu")
    built = build(spec, rng())
    weights = random_weights(built.weights, rng())
    empty = np.full((2, 3, 2), np.nan, np.float32)
    assert np.isfinite(Predictor(built.infer).run(empty, np.zeros(2, np.int64), weights)).all()


def test_a_fresh_regression_is_the_labels_mean() -> None:
    window = rows(model_spec(), rng()).window.tolist()
    found = fresh_prediction(model_spec(task="regression"), window)
    assert found.tolist() == [[3.0]] * 5


def test_a_fresh_classification_is_even_odds() -> None:
    window = rows(model_spec(), rng()).window.tolist()
    found = fresh_prediction(model_spec(task="classification"), window)
    np.testing.assert_allclose(found, np.full((5, 3), 1 / 3), rtol=1e-6)


@pytest.mark.parametrize("spec", all_specs("adam"), ids=spec_id)
def test_the_graphs_are_what_the_manifest_says(spec: ModelSpec) -> None:
    built = build(spec, rng())
    built.manifest.check()
    check_graphs(built.manifest, built.infer, built.train)
    assert {a.name: a.shape for a in built.manifest.arrays} == {
        name: array.shape for name, array in built.weights.items()
    }
    assert all(array.merge == "mean" for array in built.manifest.arrays)


@pytest.mark.parametrize("spec", all_specs("adam"), ids=spec_id)
def test_float32_predictions_agree_with_the_float64_twin(spec: ModelSpec) -> None:
    single, double = build(spec, rng()), build(spec, rng(), "float64")
    weights, batch = random_weights(single.weights, rng()), rows(spec, rng(), 20)
    narrow = {name: array.astype(np.float32) for name, array in weights.items()}
    found = Predictor(single.infer).run(batch.window, batch.time, narrow)
    exact = Predictor(double.infer).run(batch.window, batch.time, weights)
    assert [str(a.dtype) for a in (found, exact)] == ["float32", "float64"]
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4)


def test_the_same_specification_and_seed_give_the_same_bytes() -> None:
    for spec in all_specs("adam"):
        one, other = build(spec, rng()), build(spec, rng())
        assert (one.infer, one.train) == (other.infer, other.train)
        assert one.manifest.encode() == other.manifest.encode()


def test_another_seed_gives_other_weights_under_the_same_manifest() -> None:
    one, other = build(model_spec(), rng()), build(model_spec(), np.random.default_rng(1))
    assert one.manifest == other.manifest
    assert one.train == other.train
    assert (one.weights["hidden.1.weight"] != other.weights["hidden.1.weight"]).any()


def test_the_graph_runs_on_its_first_weights_when_it_is_fed_none() -> None:
    built = build(model_spec(), rng())
    batch = rows(model_spec(), rng()).cast("float32")
    alone = runner(built.infer)({"window": batch.window})["prediction"]
    fed = Predictor(built.infer).run(batch.window, batch.time, built.weights)
    np.testing.assert_array_equal(alone, fed)


def test_a_missing_cell_starts_as_the_mean_and_can_be_told_apart_by_learning() -> None:
    built = build(model_spec(), rng())
    first = built.weights["hidden.1.weight"]
    assert first.shape == (12, 4)
    assert (first[6:] == 0).all()
    assert (first[:6] != 0).all()
    weights = {**built.weights, "hidden.1.weight": first.copy()}
    weights["hidden.1.weight"][6:] = 1
    weights["head.weight"] = np.ones((4, 1), np.float32)
    gap, mean = (np.array([[[v, 1000.0]] * 2 + [[5, 1000]]], np.float32) for v in (np.nan, 15.0))
    predict = Predictor(built.infer).bind(weights)
    time = np.zeros(1, np.int64)
    assert predict(gap, time) != predict(mean, time)


@pytest.mark.parametrize("spec", kind_specs(), ids=lambda spec: spec.kind)
def test_every_kind_is_what_its_manifest_says_with_equal_bytes_for_equal_seeds(
    spec: ModelSpec,
) -> None:
    one, other = build(spec, rng()), build(spec, rng())
    one.manifest.check()
    check_graphs(one.manifest, one.infer, one.train)
    assert (one.infer, one.train) == (other.infer, other.train)
    assert one.manifest.encode() == other.manifest.encode()
    assert all((array == other.weights[name]).all() for name, array in one.weights.items())


@pytest.mark.parametrize("normalise", ["none", "layer"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
@pytest.mark.parametrize("kind", range(6))
def test_every_kind_agrees_with_its_float64_twin(
    kind: int, activation: str, normalise: str
) -> None:
    spec = kind_specs(activation=activation, normalise=normalise, personal="blend")[kind]
    single, double = build(spec, rng()), build(spec, rng(), "float64")
    weights, batch = random_weights(single.weights, rng()), rows(spec, rng(), 20)
    narrow = {name: array.astype(np.float32) for name, array in weights.items()}
    found = Predictor(single.infer).run(batch.window, batch.time, narrow)
    exact = Predictor(double.infer).run(batch.window, batch.time, weights)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spec", kind_specs()[:-1], ids=lambda spec: spec.kind)
def test_every_fresh_forecast_is_persistence(spec: ModelSpec) -> None:
    batch = rows(spec, rng(), 20, missing=0).cast("float32")
    built = build(spec, rng())
    found = Predictor(built.infer).run(batch.window, batch.time, built.weights)
    np.testing.assert_array_equal(found[:, 0], batch.window[:, -1, 0])


@pytest.mark.parametrize("spec", kind_specs(), ids=lambda spec: spec.kind)
def test_the_features_are_those_that_the_last_layer_multiplies(spec: ModelSpec) -> None:
    built = build(spec, rng())
    batch = rows(spec, rng()).cast("float32")
    features = Predictor(built.infer).features(batch.window, batch.time, built.weights)
    bottleneck = spec.kind == "autoencoder"
    assert features.shape == (5, 3 if bottleneck else len(built.weights["head.weight"]))


def test_frozen_are_the_arrays_that_a_pattern_matches() -> None:
    built = build(model_spec(hidden=(4, 3), freeze=("hidden.1.*", "*.bias")), rng())
    frozen = {array.name for array in built.manifest.arrays if array.frozen}
    assert frozen == {"hidden.1.weight", "hidden.1.bias", "hidden.2.bias", "head.bias"}


def test_a_pattern_that_matches_nothing_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UnsupportedError, match=r"freeze: 'layer.\*' matches none .* head.weight"):
        build(model_spec(freeze=("head.*", "layer.*")), rng())


def test_without_statistics_the_ranges_scale() -> None:
    spec = model_spec(scaling=None)
    explicit = model_spec(scaling=scaling_from_ranges(spec.channels))
    assert build(spec, rng()).infer == build(explicit, rng()).infer


@pytest.mark.parametrize(("kind", "task"), [("mlp", "anomaly"), ("autoencoder", "regression")])
def test_anomalies_are_for_autoencoders_and_the_other_way_round(kind: str, task: str) -> None:
    with pytest.raises(UnsupportedError, match=f"kind {kind} and task {task} do not fit"):
        build(model_spec(kind=kind, task=task), rng())


@pytest.mark.parametrize("kind", ["resnet", "cnn", "gru"])
def test_a_network_without_hidden_layers_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedError, match=f"hidden: {kind} needs at least one"):
        build(model_spec(kind=kind, hidden=()), rng())


def test_facts_that_no_manifest_can_have_are_refused() -> None:
    with pytest.raises(BundleError, match="target 'z' must name"):
        build(model_spec(target="z"), rng())


@pytest.mark.parametrize(
    ("mean", "scale"), [((0.0,), (1.0,)), ((0.0, 0.0), (1.0, 0.0)), ((0.0, np.inf), (1.0, 1.0))]
)
def test_scaling_that_does_not_fit_is_refused(mean: Any, scale: Any) -> None:
    with pytest.raises(UnsupportedError, match="scaling"):
        build(model_spec(scaling=Scaling(mean=mean, scale=scale)), rng())


@pytest.mark.parametrize(
    ("log", "words"),
    [({"a": (0.0, 0.0)}, "scales finite and above 0"), ({"z": (0.0, 1.0)}, "log: 'z'")],
)
def test_a_logarithm_that_does_not_fit_is_refused(log: Any, words: str) -> None:
    scaling = Scaling(mean=(0.0, 0.0), scale=(1.0, 1.0), log=log)
    with pytest.raises(UnsupportedError, match=words):
        build(model_spec(scaling=scaling), rng())


def test_as_a_bundle_it_has_the_graph_of_many_members_where_there_can_be_one() -> None:
    built = build(model_spec(kind="mlp"), np.random.default_rng(0))
    bundle = built.bundle({"seed": 0})
    assert bundle.stacked == stack_inference(built.infer, built.manifest)
    assert bundle.stacked is not None
    assert (bundle.infer, bundle.train, bundle.facts) == (built.infer, built.train, {"seed": 0})
