from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import SettingsError
from headwater_models.offline.recordings import Wishes
from headwater_models.offline.schema import Schema, infer
from headwater_models.table import Table
from tests.models.offline.tables import minutes, table, waves


def found(data: Table, wishes: Wishes | None = None, **given: Any) -> Schema:
    return infer(data, ["x"] * data.rows, wishes or Wishes(), given)


def roles(schema: Schema) -> dict[str, str]:
    return {column.name: column.role for column in schema.columns}


def test_numbers_are_channels_dates_are_time_and_text_is_left_out() -> None:
    schema = found(table(waves(40)), target="level")
    assert roles(schema) == {
        "time": "time",
        "tank": "left out",
        "level": "channel, target",
        "flow": "channel",
        "state": "left out",
    }
    assert schema.roles.time == "time"
    assert [channel["name"] for channel in schema.fields["channels"]] == ["level", "flow"]
    assert "--category" in next(c.detail for c in schema.columns if c.name == "state")


@pytest.mark.parametrize(
    ("wishes", "given", "task", "kind", "window"),
    [
        (Wishes(), {"target": "level"}, "forecast", "mlp", 24),
        (Wishes(label="state"), {}, "classification", "mlp", 1),
        (Wishes(label="level"), {}, "regression", "mlp", 1),
        (Wishes(), {}, "anomaly", "autoencoder", 24),
        (Wishes(label="state"), {"task": "anomaly", "window": 3}, "anomaly", "autoencoder", 3),
    ],
)
def test_the_task_follows_from_what_is_to_be_predicted(
    wishes: Wishes, given: dict[str, Any], task: str, kind: str, window: int
) -> None:
    fields = found(table(waves(60)), wishes, **given).fields
    assert (fields["task"], fields["kind"], fields["window"]) == (task, kind, window)


def test_a_few_whole_numbers_are_classes_and_many_are_not() -> None:
    columns: dict[str, list[Any]] = {"time": minutes(60), "x": [i % 7 / 2 for i in range(60)]}
    few = table(columns | {"y": [i % 3 for i in range(60)]})
    many = table(columns | {"y": list(range(0, 120, 2))})
    assert found(few, Wishes(label="y")).fields["task"] == "classification"
    assert found(many, Wishes(label="y")).fields["task"] == "regression"


def test_what_is_said_stands() -> None:
    given = {"grid": {"period": "30s", "max_gap": "1min"}, "horizon": "2min", "target": "level"}
    schema = found(table(waves(40)), Wishes(ignore=("flow",)), **given)
    assert schema.fields["grid"] == {"period": "30s", "max_gap": "1min"}
    assert schema.fields["horizon"] == "2min"
    assert [channel["name"] for channel in schema.fields["channels"]] == ["level"]
    assert roles(schema)["flow"] == "left out"


def test_the_period_is_that_of_the_data_and_a_gap_five_of_it() -> None:
    assert found(table(waves(40))).fields["grid"] == {"period": "1min", "max_gap": "5min"}


def test_a_column_that_numbers_the_rows_of_each_file_is_left_out() -> None:
    columns: dict[str, list[Any]] = {
        "id": [1, 2, 3, 1, 2, 3],
        "time": [*minutes(3)] * 2,
        "x": [1, 5, 2, 7, 3, 4],
    }
    schema = infer(table(columns), ["a"] * 3 + ["b"] * 3, Wishes(), {})
    assert roles(schema)["id"] == "left out"
    assert "numbers the rows" in schema.columns[0].detail


def test_a_counting_column_is_found_in_shuffled_rows() -> None:
    order = [3, 0, 2, 1, 4]
    at = minutes(5)
    columns: dict[str, list[Any]] = {
        "id": order,
        "time": [at[i] for i in order],
        "x": [1, 5, 2, 7, 3],
    }
    assert roles(found(table(columns)))["id"] == "left out"


def test_with_channels_that_are_named_the_others_are_not_chosen() -> None:
    schema = found(table(waves(40)), Wishes(ignore=("state",)), channels=[{"name": "level"}])
    said = {column.name: column.detail for column in schema.columns}
    assert said["flow"].endswith("; not chosen")
    assert said["state"].endswith("; as asked")
    assert roles(schema)["level"] == "channel"


def test_the_columns_of_a_calendar_are_the_time() -> None:
    columns = {"year": [2026] * 5, "month": [1] * 5, "day": [1, 2, 3, 4, 5], "x": [1, 5, 2, 7, 3]}
    schema = found(table(columns))
    assert roles(schema) == {"year": "time", "month": "time", "day": "time", "x": "channel"}
    assert schema.fields["grid"]["period"] == "1d"


@pytest.mark.parametrize(
    ("cells", "label", "words"),
    [
        (["", "NA", ""], "y", "column y is empty"),
        (["no"] * 5, "y", "column y holds 'no' in every row"),
        ([1, 2, 3], "time", "--label time: this column says when"),
        ([*range(50), "warm"], "y", "column y, row 51: 'warm' is no number"),
    ],
)
def test_a_label_that_cannot_be_one_is_refused(cells: list[object], label: str, words: str) -> None:
    columns: dict[str, list[Any]] = {
        "time": minutes(len(cells)),
        "x": [i % 7 for i in range(len(cells))],
        "y": cells,
    }
    with pytest.raises(SettingsError, match=words):
        found(table(columns), Wishes(label=label))


def test_labels_without_an_anomaly_may_still_judge_scores() -> None:
    columns = waves(40) | {"odd": [0] * 40}
    assert found(table(columns), Wishes(label="odd"), task="anomaly").roles.label == "odd"


def test_a_column_to_ignore_must_be_there() -> None:
    with pytest.raises(SettingsError, match="has no column 'Nope'"):
        found(table(waves(40)), Wishes(ignore=("Nope",)))


def test_a_column_that_by_its_name_should_say_when_is_shown() -> None:
    with pytest.raises(SettingsError, match=r"\(date holds '04/02/2015', which is no time\)"):
        found(table({"date": ["04/02/2015", "05/02/2015"], "x": [1, 5]}))


def test_without_times_a_period_must_be_said() -> None:
    steady = table({"x": [1, 5, 2, 7, 3, 4]})
    with pytest.raises(SettingsError, match="--time, or say with --period"):
        found(steady)
    assert found(steady, grid={"period": "1s"}).roles.time is None


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match="has no column 'weight'"):
        found(table(waves(40)), Wishes(label="weight"))


def test_a_table_without_numbers_has_nothing_to_learn_from() -> None:
    with pytest.raises(SettingsError, match="no column of numbers"):
        found(table({"time": minutes(3), "name": ["a", "b", "c"]}))
