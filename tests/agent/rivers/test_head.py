from __future__ import annotations

import msgspec
import numpy as np
import pytest

from headwater_agent.rivers.head import BIAS, WEIGHT, Coefficients, Head, find_head, head_output
from headwater_agent.rivers.trial import trial_windows
from headwater_models.graphs.builders import Built
from headwater_models.graphs.builders.specification import Kind
from headwater_models.manifest import Task
from headwater_models.session import Predictor
from tests.agent.rivers.bundles import anomaly_manifest, bundle, stream


def head_of(built: Built) -> Head:
    head = find_head(
        Predictor(built.infer), built.manifest, built.weights, *trial_windows(built.manifest)
    )
    assert head is not None
    return head


@pytest.mark.parametrize("kind", ["linear", "mlp", "resnet", "cnn", "gru"])
@pytest.mark.parametrize("task", ["regression", "forecast"])
def test_a_prediction_is_start_plus_scale_times_the_head(task: Task, kind: Kind) -> None:
    built, batch = bundle(task, kind=kind), stream(50)
    head, rng = head_of(built), np.random.default_rng(1)
    arrays = head.write(
        Coefficients(rng.normal(size=built.weights[WEIGHT].shape), rng.normal(size=(1,))),
        built.weights,
    )
    features = head.predictor.features(batch.window, batch.time, arrays)
    logits = features.astype(np.float64) @ arrays[WEIGHT] + arrays[BIAS]
    predicted = head.predictor.run(batch.window, batch.time, arrays)
    start = head.start(batch.window, batch.time, arrays)
    np.testing.assert_allclose(predicted, start + head.scale * logits, rtol=1e-5, atol=1e-5)


def test_a_forecast_starts_at_the_last_value() -> None:
    built, batch = bundle("forecast"), stream(5)
    start = head_of(built).start(batch.window, batch.time, built.weights)
    np.testing.assert_array_equal(start[:, 0], batch.window[:, -1, 0])


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_the_softmax_of_the_head(classes: int) -> None:
    built, batch = bundle("classification", classes), stream(50)
    head, rng = head_of(built), np.random.default_rng(1)
    arrays = head.write(
        Coefficients(rng.normal(size=built.weights[WEIGHT].shape), rng.normal(size=classes)),
        built.weights,
    )
    features = head.predictor.features(batch.window, batch.time, arrays)
    want = head_output(features.astype(np.float64) @ arrays[WEIGHT] + arrays[BIAS], built.manifest)
    have = head.predictor.run(batch.window, batch.time, arrays)
    np.testing.assert_allclose(have, want, atol=1e-6)


def test_one_logit_over_two_classes_leaves_what_they_have_in_common() -> None:
    built = bundle("classification", 2)
    head, rng = head_of(built), np.random.default_rng(1)
    arrays = {n: rng.normal(size=a.shape).astype(np.float32) for n, a in built.weights.items()}
    again = head.write(head.read(arrays, logits=1), arrays)
    for name, array in arrays.items():
        np.testing.assert_allclose(again[name], array, rtol=1e-6, atol=1e-6)


def test_reading_undoes_writing() -> None:
    for built, logits in ((bundle(), 1), (bundle("classification", 3), 3)):
        rng = np.random.default_rng(1)
        wide = built.weights[WEIGHT].shape
        given = Coefficients(rng.normal(size=wide), rng.normal(size=(wide[1],)))
        read = head_of(built).read(head_of(built).write(given, built.weights), logits)
        np.testing.assert_allclose(read.weight, given.weight, rtol=1e-6)
        np.testing.assert_allclose(read.bias, given.bias, rtol=1e-6)


def test_a_model_without_a_linear_last_layer_has_no_head() -> None:
    built = bundle()
    windows = trial_windows(built.manifest)
    predictor = Predictor(built.infer)
    assert find_head(predictor, anomaly_manifest(), built.weights, *windows) is None
    named = msgspec.structs.replace(built.manifest, arrays=built.manifest.arrays[:1])
    assert find_head(predictor, named, built.weights, *windows) is None


def test_a_last_layer_that_never_learns_is_no_head() -> None:
    built = bundle(freeze=("head.*",))
    windows = trial_windows(built.manifest)
    assert find_head(Predictor(built.infer), built.manifest, built.weights, *windows) is None
