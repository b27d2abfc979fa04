from __future__ import annotations

import csv
import io
import json
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from headwater.errors import SettingsError
from headwater_models.bundle import Bundle
from headwater_models.offline.fit import Course
from headwater_models.offline.predicting import (
    Predicted,
    check_ending,
    encode,
    predict,
    roles_for,
)
from headwater_models.offline.recordings import Roles, Wishes
from headwater_models.offline.training import Plan, train
from headwater_models.session import Predictor
from tests.models.offline.tables import BEGIN_MS, MINUTE, table, waves

ROWS = 300


@cache
def model(kind: str) -> Bundle:
    fields: dict[str, object] = {"kind": "mlp", "window": 2, "hidden": [4]}
    wishes = Wishes()
    if kind == "classes":
        wishes = Wishes(label="state")
    elif kind == "anomaly":
        fields |= {"kind": "autoencoder"}
    else:
        fields |= {"target": "level"}
    if kind in ("quantiles", "ends"):
        levels = [0.1, 0.5, 0.9] if kind == "quantiles" else [0.1, 0.9]
        fields |= {"quantiles": levels, "loss": "quantile"}
    plan = Plan(wishes=wishes, fields=fields, course=Course(epochs=1))
    return train(table(waves(ROWS)), ["x"] * ROWS, plan).bundle


def predicted(kind: str, *, label: str | None = None) -> Predicted:
    roles = Roles(time="time", stream="tank", label=label)
    return predict(model(kind), table(waves(30, seed=1, streams=2)), [], roles)


def test_every_window_of_every_stream_has_a_prediction() -> None:
    found = predicted("forecast")
    columns = found.columns()
    assert list(columns) == ["time", "valid", "stream", "prediction", "label"]
    assert columns["stream"] == ["tank-0"] * 29 + ["tank-1"] * 29
    assert columns["time"][0] == "2026-01-01T00:01:00.000Z"
    assert columns["valid"][0] == "2026-01-01T00:02:00.000Z"
    assert columns["label"][-1] is None
    assert found.examples.times[0] == BEGIN_MS + MINUTE


def test_it_is_the_graph_that_predicts() -> None:
    found = predicted("forecast")
    bundle = model("forecast")
    examples = found.examples
    alone = [
        Predictor(bundle.infer).run(
            examples.windows(np.array([at])), examples.times[at : at + 1], bundle.weights
        )[0]
        for at in (0, 7, 40)
    ]
    np.testing.assert_allclose(found.made[[0, 7, 40]], alone, rtol=1e-6)


def test_each_task_has_its_columns() -> None:
    classes = predicted("classes", label="state").columns()
    assert list(classes) == ["time", "stream", "prediction", "p_high", "p_low", "label"]
    assert set(classes["prediction"]) | set(classes["label"]) <= {"high", "low"}
    assert classes["p_high"][0] + classes["p_low"][0] == pytest.approx(1)
    quantiles = predicted("quantiles").columns()
    assert list(quantiles)[3:] == ["prediction", "q0.1", "q0.5", "q0.9", "label"]
    assert quantiles["prediction"] == quantiles["q0.5"]
    assert list(predicted("anomaly").columns()) == ["time", "stream", "score"]


def test_the_mean_error_is_told_where_labels_are_known() -> None:
    found = predicted("forecast")
    known = np.isfinite(found.examples.labels)
    error = np.abs(found.made[known, 0] - found.examples.labels[known]).mean()
    assert found.error() == pytest.approx(error)
    assert predicted("classes").error() is None
    assert predicted("anomaly").error() is None
    assert predicted("quantiles").error() is not None
    assert predicted("ends").error() is None
    share = predicted("classes", label="state").error()
    assert share is not None
    assert 0 <= share <= 1


def test_a_table_without_a_whole_window_is_refused() -> None:
    with pytest.raises(SettingsError, match="no whole window: 2 rows of 1min"):
        predict(model("forecast"), table(waves(1)), ["x"], Roles(time="time"))


def test_a_channel_that_is_missing_is_named() -> None:
    columns = {name: cells for name, cells in waves(10).items() if name != "flow"}
    with pytest.raises(SettingsError, match="has no column 'flow'"):
        predict(model("forecast"), table(columns), ["x"] * 10, Roles(time="time"))


def test_columns_mean_what_they_meant_in_training_unless_someone_says_otherwise() -> None:
    facts = {"data": {"columns": {"time": "time", "stream": "tank", "label": "gone"}}}
    data = table(waves(3))
    assert roles_for(data, Wishes(), facts) == Roles(time="time", stream="tank")
    assert roles_for(data, Wishes(stream="state"), facts).stream == "state"
    assert roles_for(data, Wishes(), {}) == Roles(time="time")
    with pytest.raises(SettingsError, match="has no column 'x'"):
        roles_for(data, Wishes(label="x"), facts)


def test_a_calendar_means_what_it_meant_in_training() -> None:
    facts = {"data": {"columns": {"time": "y,m,d"}}}
    days = table({"y": [2026], "m": [1], "d": [1], "level": [1]})
    assert roles_for(days, Wishes(), facts).time == "y,m,d"
    assert roles_for(table(waves(3)), Wishes(), facts).time == "time"


def test_csv_json_lines_and_parquet_hold_the_same() -> None:
    columns = predicted("forecast").columns()
    rows = list(csv.DictReader(io.StringIO(encode(columns, Path("p.csv")).decode())))
    lines = [json.loads(x) for x in encode(columns, Path("p.jsonl")).decode().splitlines()]
    parquet = pq.read_table(io.BytesIO(encode(columns, Path("p.parquet")))).to_pydict()
    assert parquet == columns
    assert [row["prediction"] for row in lines] == columns["prediction"]
    assert [float(row["prediction"]) for row in rows] == columns["prediction"]
    assert (rows[-1]["label"], lines[-1]["label"]) == ("", None)


def test_an_ending_that_says_nothing_is_refused() -> None:
    check_ending(Path("p.parquet"))
    with pytest.raises(SettingsError, match=r"p\.xls: the name must end in one of \.csv"):
        check_ending(Path("p.xls"))
