"""Recorded files come again: client by client, on the grid, once or over and over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import SettingsError
from headwater.settings import Duration
from headwater_simulator.scenario.settings import HOUR, Replay
from headwater_simulator.sources.replay import ReplayedStreams

NAN = float("nan")
LINES = """\
time,who,x,y,state
2026-01-01T00:10:00Z,a,1,10,on
2026-01-01T01:10:00Z,a,2,20,off
2026-01-01T04:10:00Z,a,,50,on
2026-02-01T12:00:00Z,b,7,70,off
2026-02-01T11:00:00Z,b,6,60,
"""


def write(folder: Path, text: str = LINES, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def replayed(*files: Path, **chosen: Any) -> ReplayedStreams:
    said: dict[str, Any] = {"period": HOUR, "client": "who"} | chosen
    return ReplayedStreams(Replay(files=files, **said), window=1)


def test_each_client_begins_with_its_first_record_and_gaps_stay_gaps(tmp_path: Path) -> None:
    source = replayed(write(tmp_path), target="x", horizon=HOUR)
    rows = source.rows(0, 0, 5)
    assert rows.labels is None
    np.testing.assert_array_equal(
        rows.values, [[1, 10], [2, 20], [NAN, NAN], [NAN, NAN], [NAN, 50]]
    )
    np.testing.assert_array_equal(source.rows(1, 0, 2).values, [[6, 60], [7, 70]])
    facts = source.facts
    assert (facts.task, facts.target, facts.horizon, facts.grid.period) == (
        "forecast",
        "x",
        HOUR,
        HOUR,
    )


def test_clients_are_used_again_where_there_are_more_devices(tmp_path: Path) -> None:
    source = replayed(write(tmp_path), target="x", horizon=HOUR)
    np.testing.assert_array_equal(source.rows(5, 0, 2).values, source.rows(1, 0, 2).values)


def test_it_begins_again_after_the_last_record_or_ends_there(tmp_path: Path) -> None:
    again = replayed(write(tmp_path), target="x", horizon=HOUR)
    np.testing.assert_array_equal(again.rows(1, 1, 3).values[:, 0], [7, 6, 7])
    once = replayed(write(tmp_path), target="x", horizon=HOUR, loop=False)
    np.testing.assert_array_equal(once.rows(1, 1, 3).values[:, 0], [7])
    assert once.rows(1, 9, 3).values.shape == (0, 2)


def test_classes_come_as_labels_of_their_rows(tmp_path: Path) -> None:
    source = replayed(write(tmp_path), label="state", label_delay=Duration(2 * HOUR))
    assert source.facts.task == "classification"
    assert source.facts.classes == ("off", "on")
    assert source.label_delay == 2 * HOUR
    np.testing.assert_array_equal(source.rows(0, 0, 5).labels, [1, 0, NAN, NAN, 1])
    np.testing.assert_array_equal(source.rows(1, 0, 2).labels, [NAN, 0])


def test_numbers_of_many_kinds_are_a_regression(tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"{n},{n / 7}\n" for n in np.random.default_rng(0).random(50))
    source = replayed(write(tmp_path, text), client="", label="y")
    assert source.facts.task == "regression"
    assert source.facts.scaling is not None
    assert source.facts.scaling.label_scale != 1
    rows = source.rows(0, 3, 9)
    assert rows.labels is not None
    np.testing.assert_allclose(rows.labels, rows.values[:, 0] / 7)


def test_without_a_client_each_file_is_one_and_without_times_rows_are_a_period_apart(
    tmp_path: Path,
) -> None:
    rows = "".join(f"{n % 3},{n * n}\n" for n in range(30))
    one, other = (
        write(tmp_path, "x,y\n" + rows[cut:], name) for cut, name in ((0, "a.csv"), (4, "b.csv"))
    )
    source = replayed(one, other, client="", target="x", horizon=HOUR)
    np.testing.assert_array_equal(source.rows(0, 0, 4).values[:, 0], [0, 1, 2, 0])
    np.testing.assert_array_equal(source.rows(1, 0, 2).values[:, 0], [1, 2])


@given(
    device=st.integers(0, 3),
    first=st.integers(0, 20),
    one=st.integers(0, 9),
    other=st.integers(0, 9),
    loop=st.booleans(),
)
def test_stretches_follow_each_other(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    device: int,
    first: int,
    one: int,
    other: int,
    loop: bool,
) -> None:
    path = write(tmp_path_factory.mktemp("replay"))
    source = replayed(path, label="state", loop=loop)
    whole = source.rows(device, first, one + other)
    parts = source.rows(device, first, one), source.rows(device, first + one, other)
    np.testing.assert_array_equal(np.concatenate([p.values for p in parts]), whole.values)
    np.testing.assert_array_equal(
        np.concatenate([p.labels for p in parts if p.labels is not None]), whole.labels
    )


def test_a_horizon_beyond_every_client_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"data\.horizon: 5h is 5 rows ahead, and no client"):
        replayed(write(tmp_path), target="x", horizon=Duration(5 * HOUR))


def test_only_the_channels_that_are_named_are_read(tmp_path: Path) -> None:
    source = replayed(write(tmp_path), target="y", horizon=HOUR, channels=("y",))
    assert [channel.name for channel in source.facts.channels] == ["y"]


def test_parquet_is_read_too(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"x": [1.0, 2.0, 4.0], "y": [3.0, 5.0, 6.0]}), path)
    source = replayed(path, client="", target="x", horizon=HOUR)
    np.testing.assert_array_equal(source.rows(0, 0, 3).values, [[1, 3], [2, 5], [4, 6]])
