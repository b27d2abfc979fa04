from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import SettingsError
from headwater_models.fields import given_fields, overlay, parse_channel
from headwater_models.graphs.builders import ModelSpec
from headwater_models.graphs.importing import ImportSpec


def test_flags_lie_over_the_file_and_short_forms_are_written_out(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('window = 3\ngrid = { period = "1min" }\nchannels = ["level:m"]\n')
    flags = {"window": 4, "grid": {"hold": 1, "period": None}, "categories": ["mode=off,on"]}
    assert given_fields(ModelSpec, flags, "here", file) == {
        "window": 4,
        "grid": {"period": "1min", "hold": 1},
        "channels": [{"name": "level", "unit": "m"}],
        "categories": {"mode": ["off", "on"]},
    }


def test_what_is_wrong_in_the_file_is_named_as_there_and_in_flags_by_the_option(
    tmp_path: Path,
) -> None:
    file = tmp_path / "x.toml"
    file.write_text("window = 0\n")
    with pytest.raises(
        SettingsError, match=r"x\.toml: window: expected a whole number >= 1, not 0"
    ):
        given_fields(ModelSpec, {}, "here", file)
    with pytest.raises(SettingsError, match="here: --window: expected a whole number >= 1, not -3"):
        given_fields(ModelSpec, {"window": -3}, "here", None)


def test_logits_are_for_classes() -> None:
    given = {"task": "forecast", "logits": True}
    with pytest.raises(SettingsError, match="--logits is for a classification"):
        given_fields(ImportSpec, given, "here", None)
    assert given_fields(ImportSpec, given | {"task": "classification"}, "here", None)


@pytest.mark.parametrize("text", ["a:b:1", "a:b:x:2", "a:b:1:inf", "a:b:1:2:3"])
def test_a_channel_flag_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="expected NAME"):
        parse_channel(text)


def test_overlaying_changes_neither_side() -> None:
    below, above = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert overlay(below, above) == {"a": {"b": 1, "c": 2}}
    assert (below, above) == ({"a": {"b": 1}}, {"a": {"c": 2}})
