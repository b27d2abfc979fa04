from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headwater.errors import SettingsError
from headwater.settings import Duration
from headwater_models.manifest import Channel
from headwater_models.offline.recordings import Roles, read_recordings
from tests.models.offline.tables import BEGIN_MS, MINUTE, manifest, minutes, table


def test_rows_become_streams_in_the_order_of_time() -> None:
    data = table(
        {
            "time": [*minutes(2)[::-1], *minutes(1)],
            "tank": ["a", "a", "b"],
            "level": [2, 1, 7],
            "flow": ["", 4, "NA"],
        }
    )
    first, second = read_recordings(data, Roles(time="time", stream="tank"), manifest(), [])
    assert (first.stream, second.stream) == ("a", "b")
    assert first.times.tolist() == [BEGIN_MS, BEGIN_MS + MINUTE]
    np.testing.assert_array_equal(first.values, np.array([[1, 4], [2, np.nan]], np.float32))
    assert np.isnan(first.labels).all()


def test_without_a_column_the_file_is_the_stream_and_the_period_the_time() -> None:
    data = table({"level": [1, 2, 3], "flow": [1, 2, 3]})
    found = read_recordings(data, Roles(), manifest(), ["x", "y", "x"])
    assert [(r.stream, r.times.tolist()) for r in found] == [("x", [0, MINUTE]), ("y", [0])]


def test_what_lies_beyond_the_range_is_missing_and_doubted() -> None:
    data = table({"level": [1, 1000, 3], "flow": [1, 2, "inf"]})
    (found,) = read_recordings(data, Roles(), manifest(), ["x"] * 3)
    assert found.doubted.tolist() == [False, True, False]
    assert np.isnan(found.values[1, 0])
    assert np.isnan(found.values[2, 1])


def test_categories_are_read_by_name_or_index() -> None:
    mode = Channel(name="mode", minimum=0, maximum=1, categories=("off", "on"))
    wanted = manifest(channels=(*manifest().channels[:1], mode))
    data = table({"level": [1] * 4, "mode": ["on", "0", "NA", "off"]})
    (found,) = read_recordings(data, Roles(), wanted, ["x"] * 4)
    np.testing.assert_array_equal(found.values[:, 1], [1, 0, np.nan, 0])
    wrong = table({"level": [1], "mode": ["auto"]})
    with pytest.raises(SettingsError, match=r"column mode, row 1: 'auto' is unknown; .* off, on"):
        read_recordings(wrong, Roles(), wanted, ["x"])


@pytest.mark.parametrize(
    ("task", "cells", "labels"),
    [
        ("classification", ["storm", "calm", "1", "NA", "7"], [1, 0, 1, np.nan, np.nan]),
        ("regression", ["2.5", "-1", "NA", "1e3", "0"], [2.5, -1, np.nan, 1000, 0]),
        ("anomaly", ["True", "0", "1", "no", ""], [1, 0, 1, 0, np.nan]),
    ],
)
def test_labels_are_what_the_task_wants(task: str, cells: list[str], labels: list[float]) -> None:
    wanted = manifest(
        task=task,
        classes=("calm", "storm") if task == "classification" else (),
        loss="cross_entropy" if task == "classification" else "mse",
        target="",
        horizon=Duration(0),
    )
    data = table({"level": [1] * 5, "flow": [1] * 5, "right": cells})
    (found,) = read_recordings(data, Roles(label="right"), wanted, ["x"] * 5)
    np.testing.assert_array_equal(found.labels, np.array(labels, np.float32))


def test_a_label_that_is_no_class_is_named() -> None:
    wanted = manifest(
        task="classification",
        classes=("calm", "storm"),
        loss="cross_entropy",
        target="",
        horizon=Duration(0),
    )
    data = table({"level": [1], "flow": [1], "right": ["hail"]})
    with pytest.raises(SettingsError, match=r"column right, row 1: 'hail' .* knows calm, storm"):
        read_recordings(data, Roles(label="right"), wanted, ["x"])


def test_a_group_has_whole_streams() -> None:
    columns: dict[str, list[Any]] = {
        "tank": ["a", "a"],
        "site": ["n", "s"],
        "level": [1, 2],
        "flow": [1, 2],
    }
    with pytest.raises(SettingsError, match="Stream a is in 2 groups"):
        read_recordings(table(columns), Roles(stream="tank", group="site"), manifest(), [])
    (found,) = read_recordings(
        table(columns | {"site": ["n", "n"]}), Roles(stream="tank", group="site"), manifest(), []
    )
    assert (found.stream, found.group) == ("a", "n")


def test_a_group_alone_is_the_stream_too() -> None:
    data = table({"site": ["n", "s"], "level": [1, 2], "flow": [1, 2]})
    found = read_recordings(data, Roles(group="site"), manifest(), ["x", "x"])
    assert [(r.stream, r.group) for r in found] == [("n", "n"), ("s", "s")]
