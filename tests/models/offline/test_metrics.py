from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.settings import Duration
from headwater_models.manifest import Manifest
from headwater_models.offline.bootstrap import Bootstrap
from headwater_models.offline.examples import cut_examples
from headwater_models.offline.metrics import (
    Metric,
    Verdict,
    baseline_predictions,
    confusion,
    measure,
    roc_area,
    verdict,
)
from tests.models.offline.tables import manifest, recording

RNG = np.random.default_rng(0)
NOW = {"target": "", "horizon": Duration(0)}


def classifier() -> Manifest:
    return manifest(task="classification", classes=("a", "b", "c"), loss="cross_entropy", **NOW)


def measured(
    kind: Manifest, made: np.ndarray, baseline: np.ndarray, labels: np.ndarray
) -> dict[str, Metric]:
    count = len(labels)
    bootstrap = Bootstrap(np.zeros(count, np.intp), 1, whole=False, rng=np.random.default_rng(0))
    ours, theirs = (np.asarray(a, np.float32).reshape(count, -1) for a in (made, baseline))
    found = measure(kind, ours, theirs, np.asarray(labels, np.float32), bootstrap)
    return {metric.name: metric for metric in found}


def test_errors_of_numbers_stand_beside_the_baselines() -> None:
    labels = RNG.standard_normal(400)
    found = measured(manifest(), labels + 1, labels - 2, labels)
    absolute = found["mean absolute error"]
    assert absolute.baseline is not None
    assert absolute.model.value == pytest.approx(1, abs=1e-6)
    assert absolute.baseline.value == pytest.approx(2, abs=1e-6)
    share = found["mean absolute error, as a share of the baseline's"].model
    assert (share.low, share.value, share.high) == pytest.approx((0.5, 0.5, 0.5), abs=1e-6)
    assert found["root mean squared error"].model.value == pytest.approx(1, abs=1e-6)


def test_rows_without_a_baseline_count_for_neither() -> None:
    labels = np.zeros(100)
    baseline = np.where(np.arange(100) < 50, np.nan, 2.0)
    made = np.where(np.arange(100) < 50, 100.0, 1.0)
    assert measured(manifest(), made, baseline, labels)["mean absolute error"].model.value == 1.0


def test_quantiles_are_held_to_their_share() -> None:
    kind = manifest(task="regression", loss="quantile", quantiles=(0.1, 0.5), **NOW)
    labels = RNG.uniform(0, 1, 2000)
    made = np.tile([0.1, 0.5], (2000, 1))
    found = measured(kind, made, made, labels)
    covered = found["share of labels below quantile 0.1"].model
    assert covered.low < 0.1 < covered.high
    assert found["pinball loss"].model.value > 0


def test_without_the_median_there_is_no_mean_error_of_a_value() -> None:
    labels = RNG.uniform(0, 1, 400)
    made = np.tile([0.1, 0.9], (400, 1))
    kind = manifest(task="regression", loss="quantile", quantiles=(0.1, 0.9), **NOW)
    found = measured(kind, made, made + 5, labels)
    assert not any("absolute" in name or "squared" in name for name in found)
    assert found["pinball loss"].baseline is not None
    assert found["pinball loss, as a share of the baseline's"].model.value < 0.1
    median = manifest(task="regression", loss="quantile", quantiles=(0.1, 0.5), **NOW)
    assert "mean absolute error" in measured(median, made, made, labels)


@pytest.mark.parametrize(
    ("shift", "noise", "expected"),
    [(0.5, 0.0, Verdict.BETTER), (1.0, 0.0, Verdict.WORSE), (0.97, 2.0, Verdict.OPEN)],
)
def test_the_verdict_is_open_where_the_interval_holds_both_answers(
    shift: float, noise: float, expected: Verdict
) -> None:
    labels = np.zeros(400)
    made = labels + shift + noise * np.tile([-0.4, 0.4], 200) * RNG.uniform(0.5, 1.5, 400)
    assert verdict([*measured(manifest(), made, labels + 1, labels).values()]) is expected


def test_classes_and_scores_have_a_verdict_too() -> None:
    labels = np.array([0, 1] * 100)
    right, wrong = np.eye(3)[labels], np.eye(3)[1 - labels]
    even = np.tile([0.5, 0.4, 0.1], (200, 1))
    assert verdict([*measured(classifier(), right, even, labels).values()]) is Verdict.BETTER
    assert verdict([*measured(classifier(), wrong, even, labels).values()]) is Verdict.WORSE
    kind = manifest(task="anomaly", loss="mse", **NOW)
    assert verdict([*measured(kind, labels, labels, labels).values()]) is Verdict.BETTER
    assert verdict([*measured(kind, -labels, labels, labels).values()]) is Verdict.WORSE
    assert verdict([*measured(kind, labels, labels, np.full(200, np.nan)).values()]) is None


def test_classes_have_accuracy_and_macro_f1() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2] * 50)
    made = np.eye(3)[np.array([0, 0, 1, 1, 1, 0] * 50)] * 0.8 + 0.1
    majority = np.tile([0.5, 0.3, 0.2], (300, 1))
    found = measured(classifier(), made, majority, labels)
    assert found["accuracy"].model.value == pytest.approx(4 / 6)
    assert found["accuracy"].baseline is not None
    assert found["accuracy"].baseline.value == pytest.approx(3 / 6)
    assert found["macro F1"].model.value == pytest.approx((4 / 6 + 4 / 5 + 0) / 3)
    assert found["cross-entropy (nats)"].model.value == pytest.approx(
        -(4 * np.log(0.9) + 2 * np.log(0.1)) / 6, rel=1e-4
    )


def test_confusion_counts_what_was_taken_for_what() -> None:
    made = np.eye(3, dtype=np.float32)[[0, 1, 1]]
    counted = confusion(classifier(), made, np.array([0, 0, 1], np.float32))
    assert counted.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_scores_are_judged_by_labels_where_there_are_both_kinds() -> None:
    kind = manifest(task="anomaly", loss="mse", **NOW)
    labels = np.array([0, 0, 1, np.nan] * 50)
    scores = np.array([1, 2, 3, 100] * 50)
    found = measured(kind, scores, scores, labels)
    assert found["area under the ROC curve"].model.value == 1.0
    assert set(measured(kind, scores, scores, np.full(200, np.nan))) == {"mean score"}


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_the_roc_area_is_how_often_an_anomaly_scores_higher(
    pairs: list[tuple[int, bool]],
) -> None:
    scores = np.array([float(score) for score, _ in pairs])
    truth = np.array([anomalous for _, anomalous in pairs])
    found = roc_area(scores, truth)
    if truth.all() or not truth.any():
        assert np.isnan(found)
        return
    differences = scores[truth][:, None] - scores[~truth]
    assert found == pytest.approx(((differences > 0) + 0.5 * (differences == 0)).mean())


def test_the_baseline_is_the_last_known_value_the_shares_or_the_mean() -> None:
    one = recording([0, 1, 2], [[1, 1], [2, 1], [np.nan, 1]])
    examples = cut_examples([one], manifest())
    learned = np.array([0, 0, 1], np.float32)
    every = np.arange(2)
    assert baseline_predictions(manifest(), examples, every, learned).tolist() == [[2], [2]]
    shares = baseline_predictions(classifier(), examples, every, learned)
    assert shares[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    regression = manifest(task="regression", loss="mse", **NOW)
    mean = baseline_predictions(regression, examples, every, learned)
    assert mean[0, 0] == pytest.approx(1 / 3)
