from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import SettingsError
from headwater_models.graphs.builders import ModelSpec
from headwater_models.graphs.importing import ImportSpec
from headwater_models.options import check_given, explained, option_of


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"window": -1}, "--window: expected a whole number >= 1, not -1"),
        ({"window": 10**6}, "--window: expected a whole number <= 65536, not 1000000"),
        ({"window": "x"}, "--window: expected a whole number, not 'x'"),
        ({"quantiles": [0.5, 1.5]}, "--quantile: expected a number < 1.0, not 1.5"),
        ({"name": "a b/../c"}, "--name: expected letters, digits, "),
        ({"grid": {"period": "1x"}}, '--period: expected a duration such as "30s"'),
        ({"grid": {"max_gap": "0s"}}, "--max-gap: it must be above zero"),
        ({"grid": {"hold": -1}}, "--hold: expected a whole number >= 0, not -1"),
        ({"horizon": "soon"}, "--horizon: expected a duration"),
        ({"hidden": [64, 0]}, "--hidden: expected a whole number >= 1, not 0"),
        ({"kernel": 1}, "--kernel: expected a whole number >= 2, not 1"),
        ({"embedding": 0}, "--embedding: expected a whole number >= 1, not 0"),
        ({"ridge": 0.0}, "--ridge: expected a number > 0.0, not 0.0"),
        ({"min_count": 0}, "--min-count: expected a whole number >= 1, not 0"),
        ({"optimiser": {"learning_rate": -1.0}}, "--learning-rate: expected a number > 0.0, not"),
        ({"optimiser": {"batch": 0}}, "--batch: expected a whole number >= 1, not 0"),
        ({"optimiser": {"name": "newton"}}, "--optimiser: expected one of sgd, momentum, adam"),
    ],
)
def test_a_value_that_no_model_can_have_is_refused_by_its_option(
    given: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        check_given(given, ModelSpec, "here", options=True)
    assert str(refused.value).startswith(f"here: {complaint}")
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"layout": "abc"}, "layout: expected one of ntc, nct, flat, not 'abc'"),
        ({"scaled": ["input", "none"]}, "scaled: expected one of input, output, not 'none'"),
    ],
)
def test_the_words_that_may_be_said_are_told_of_what_may_be_left_out_or_said_often(
    given: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SettingsError, match=f"^m.toml: {complaint}"):
        check_given(given, ImportSpec, "m.toml", options=False)


def test_every_wrong_value_is_named_at_once() -> None:
    given = {"window": 0, "grid": {"period": "1x", "mx": 1}, "colour": 1}
    with pytest.raises(SettingsError) as refused:
        check_given(given, ModelSpec, "x.toml", options=False)
    assert [line.split(": ")[1] for line in str(refused.value).splitlines()] == [
        "window",
        "grid.period",
        "grid.mx",
        "colour",
    ]


def test_what_was_not_said_and_what_is_said_of_channels_is_left_to_the_whole_check() -> None:
    given: dict[str, Any] = {"window": None, "channels": ["level:m:0:10"], "log": ["level"]}
    check_given(given, ModelSpec, "here", options=True)
    given = {"window": 3, "grid": {"period": "5min"}, "quantiles": [0.1], "categories": {"a": []}}
    check_given(given, ModelSpec, "here", options=False)


def test_a_refusal_says_what_may_be_said_and_by_what() -> None:
    error = SettingsError(
        "here: task: this key is required\n"
        "here: grid.period: this key is required\n"
        "here: channels[0].minimum: Expected `float`, got `str`\n"
        "here: colour: there is no such key; remove it or check its spelling"
    )
    raw = {"name": "x", "channels": [{"minimum": "low"}]}
    lines = str(explained(error, "here", ModelSpec, raw)).splitlines()
    tasks = "classification, regression, forecast, anomaly"
    assert lines[:4] == [
        f"here: task: this key is required; say it with --task, one of {tasks}",
        "here: grid.period: this key is required; say it with --period",
        "here: channels[0].minimum: expected a number, not 'low'",
        "here: colour: there is no such key; remove it or check its spelling",
    ]
    assert lines[4:6] == [
        "here: grid: this key is required; say it with --period",
        "here: window: this key is required; say it with --window",
    ]
    assert "say it with the argument KIND, one of linear, mlp, resnet" in lines[6]


def test_options_are_called_as_they_are_typed() -> None:
    assert [option_of(path) for path in ("channels", "optimiser.name", "grid.hold")] == [
        "--channel",
        "--optimiser",
        "--hold",
    ]
