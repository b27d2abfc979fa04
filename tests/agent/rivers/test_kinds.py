from __future__ import annotations

import math

import pytest

from headwater.errors import SettingsError
from headwater_agent.rivers.kinds import build, takes_weights
from headwater_models.manifest import Task
from tests.agent.rivers.bundles import anomaly_manifest, bundle, settings

X = {"f0": 0.5, "f1": -1.0}


def test_classes_are_probabilities_in_the_order_of_the_manifest() -> None:
    manifest = bundle("classification", 3).manifest
    model, kind = build(settings("river.naive_bayes.GaussianNB"), manifest)
    for number in range(9):
        kind.learn(model, {"f0": number % 3 + number / 100}, float(number % 3))
    probabilities = kind.predict(model, {"f0": 2.0})
    assert sum(probabilities) == pytest.approx(1)
    assert probabilities.index(max(probabilities)) == 2


def test_a_class_that_the_model_has_not_seen_has_probability_0() -> None:
    model, kind = build(
        settings("river.naive_bayes.GaussianNB"), bundle("classification", 3).manifest
    )
    kind.learn(model, X, 1.0)
    assert kind.predict(model, X) == [0, 1, 0]


def test_a_classifier_without_an_answer_says_nothing() -> None:
    manifest = bundle("classification", 3).manifest
    model, kind = build(settings("river.neighbors.KNNClassifier"), manifest)
    assert all(math.isnan(p) for p in kind.predict(model, X))


def test_a_classifier_without_probabilities_is_sure_of_its_class() -> None:
    manifest = bundle("classification", 3).manifest
    ovo = {"classifier": "river.linear_model.LogisticRegression"}
    model, kind = build(settings("river.multiclass.OneVsOneClassifier", arguments=ovo), manifest)
    for label in (0.0, 2.0, 2.0, 2.0):
        kind.learn(model, X, label)
    assert kind.predict(model, X) == [0, 0, 1]


@pytest.mark.parametrize("model", ["LogisticRegression", "PAClassifier", "ALMAClassifier"])
def test_a_model_of_two_classes_knows_them_as_false_and_true(model: str) -> None:
    manifest = bundle("classification", 2).manifest
    made, kind = build(settings(f"river.linear_model.{model}"), manifest)
    for _ in range(20):
        kind.learn(made, {"f0": 1.0}, 1.0)
        kind.learn(made, {"f0": -1.0}, 0.0)
    assert kind.predict(made, {"f0": 1.0})[1] > 0.5 > kind.predict(made, {"f0": -1.0})[1]


@pytest.mark.parametrize(
    ("task", "classes", "model", "complaint"),
    [
        ("regression", 0, "tree.HoeffdingTreeClassifier", "is no river.base.Regressor"),
        ("forecast", 0, "anomaly.HalfSpaceTrees", "is no river.base.Regressor"),
        ("classification", 2, "linear_model.LinearRegression", "is no river.base.Classifier"),
        ("classification", 3, "linear_model.LogisticRegression", "OneVsRestClassifier"),
        ("classification", 2, "preprocessing.StandardScaler", "is no river.base.Classifier"),
    ],
)
def test_a_model_for_another_task_is_refused(
    task: Task, classes: int, model: str, complaint: str
) -> None:
    manifest = bundle(task, classes).manifest
    with pytest.raises(SettingsError, match=complaint):
        build(settings(f"river.{model}"), manifest)


def test_a_detector_that_needs_a_target_is_refused_for_anomalies() -> None:
    with pytest.raises(SettingsError, match="AnomalyDetector"):
        build(settings("river.anomaly.GaussianScorer"), anomaly_manifest())


def test_a_detector_scores_what_is_unusual_higher() -> None:
    model, kind = build(
        settings("river.anomaly.HalfSpaceTrees", arguments={"seed": 1, "window_size": 20}),
        anomaly_manifest(),
    )
    for _ in range(100):
        kind.learn(model, {"f0": 0.5}, math.nan)
    (usual,), (unusual,) = (kind.predict(model, {"f0": value}) for value in (0.5, 0.99))
    assert unusual > usual


def test_linear_models_take_weights_and_naive_bayes_does_not() -> None:
    manifest = bundle("classification", 2).manifest
    scaler = ["river.preprocessing.StandardScaler"]
    logistic, _ = build(settings("river.linear_model.LogisticRegression", before=scaler), manifest)
    bayes, _ = build(settings("river.naive_bayes.GaussianNB"), manifest)
    assert takes_weights(logistic)
    assert not takes_weights(bayes)


def test_probabilities_that_do_not_sum_to_one_are_made_to() -> None:
    class Loud:
        def predict_proba_one(self, x: dict[str, float]) -> dict[int, float]:
            return {0: 2.0, 2: 6.0}

    _, kind = build(settings("river.naive_bayes.GaussianNB"), bundle("classification", 3).manifest)
    assert kind.predict(Loud(), X) == [0.25, 0, 0.75]
