from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import SettingsError
from headwater_agent.rivers.dotted import find, make
from headwater_agent.rivers.settings import RiverPart
from tests.agent.rivers.bundles import settings

TABLE = "learn.river"


def test_a_class_is_found_by_its_dotted_name() -> None:
    from river.tree import HoeffdingTreeClassifier  # noqa: PLC0415 - only this test needs it

    assert find("river.tree.HoeffdingTreeClassifier", "model") is HoeffdingTreeClassifier


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("river.linear_model.LinearRegresion", "did you mean river.linear_model.LinearRegression?"),
        ("river.no_such_module.Model", "cannot be imported"),
        ("river.compat.River2SKLRegressor", "there is no"),
        ("river.linear_model.GLM", "there is no"),
        ("river.utils.VectorDict", "there is no"),
        ("collections.OrderedDict", "no class below river"),
    ],
)
def test_a_name_without_an_estimator_is_refused_with_what_to_do(name: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=r"^learn\.river\.model: ") as refusal:
        make(RiverPart(model=name), TABLE)
    assert complaint in str(refusal.value)


def test_arguments_are_given_to_the_constructor() -> None:
    tree = make(settings("river.tree.HoeffdingTreeClassifier", arguments={"max_depth": 3}), TABLE)
    assert tree.max_depth == 3


def test_a_value_may_be_a_part_by_name_or_as_a_table() -> None:
    wanted = settings(
        "river.linear_model.LogisticRegression",
        arguments={
            "loss": "river.optim.losses.BinaryFocalLoss",
            "optimizer": {"model": "river.optim.Adam", "arguments": {"lr": 0.5}},
        },
    )
    made = make(wanted, TABLE)
    assert type(made.loss).__name__ == "BinaryFocalLoss"
    assert made.optimizer.lr.learning_rate == 0.5


def test_parts_nest_with_pipelines_and_lists() -> None:
    scaled = {"model": "river.tree.SGTClassifier", "before": ["river.preprocessing.StandardScaler"]}
    wanted = settings(
        "river.ensemble.VotingClassifier",
        arguments={"models": [scaled, "river.naive_bayes.GaussianNB"]},
    )
    pipeline, bayes = make(wanted, TABLE).models
    assert list(pipeline.steps) == ["StandardScaler", "SGTClassifier"]
    assert type(bayes).__name__ == "GaussianNB"


def test_arguments_without_a_name_are_given_as_a_list_under_theirs() -> None:
    selector = make(RiverPart(model="river.compose.Select", arguments={"keys": ["a", "b"]}), TABLE)
    assert selector.transform_one({"a": 1, "b": 2, "c": 3}) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("model", "arguments", "complaint"),
    [
        ("tree.SGTClassifier", {"dpth": 3}, r"arguments\.dpth: .* no such argument; it takes"),
        ("ensemble.BaggingClassifier", {}, r"arguments: .* needs model"),
        ("forest.ARFClassifier", {"n_models": "ten"}, r"n_models: .* takes int here, not str"),
        ("forest.ARFClassifier", {"n_models": True}, r"n_models: .* takes int here, not bool"),
        ("anomaly.HalfSpaceTrees", {"n_trees": "ten"}, r"n_trees: .* int or float here, not str"),
        ("compose.Select", {"keys": "a"}, r"arguments\.keys: .* write a list"),
        ("tree.HoeffdingTreeRegressor", {"leaf_prediction": 3}, r"takes str here, not int"),
        ("linear_model.LinearRegression", {"l1": 1.0, "l2": 1.0}, r"does not take them"),
        ("base.Classifier", {}, r"does not take them"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_their_key(
    model: str, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        make(RiverPart(model=f"river.{model}", arguments=arguments), TABLE)


def test_only_transformers_and_filters_stand_before_a_model() -> None:
    model = "river.linear_model.LinearRegression"
    detector = {"anomaly_detector": "river.anomaly.HalfSpaceTrees", "q": 0.9}
    calm = RiverPart(model="river.anomaly.QuantileFilter", arguments=detector)
    assert len(make(RiverPart(model=model, before=(calm,)), TABLE)) == 2
    with pytest.raises(SettingsError, match=r"before\[0\]\.model: .* transforms nothing"):
        make(RiverPart(model=model, before=(model,)), TABLE)
