"""The occupancy case, small: labels come late, and what is compared is scored on the same rows."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks.accuracy import app
from benchmarks.occupancy import (
    CHANNELS,
    DELAYS,
    MINUTE,
    SCORED,
    TRAINED,
    WINDOW,
    Case,
    Period,
    Right,
    read_periods,
    repeat_last,
    run,
    summary,
    validation_case,
)

RIGHT = Right(
    rows=100,
    unpredicted=2,
    majority=60,
    frozen=80,
    online={"at_once": 90, "after_an_hour": 85},
    served={"at_once": 88, "after_an_hour": 82},
    persistence={"at_once": 99, "after_an_hour": 70},
)


def period(name: str, minutes: int, seed: int = 0) -> Period:
    """An office whose air is worse while someone is in it, every other hour."""
    rng = np.random.default_rng(seed)
    labels = np.arange(minutes) // 60 % 2
    values = rng.normal(0.5, 0.05, (minutes, len(CHANNELS))).astype(np.float32)
    values[:, 2] = 500 + 300 * labels + rng.normal(0, 20, minutes)
    values[:, 3] /= 100
    return Period(name, np.arange(minutes) * int(MINUTE), values, labels)


def test_a_reading_of_the_last_second_belongs_to_the_minute_that_begins(tmp_path: Path) -> None:
    head = "id,date,Temperature,Humidity,Light,CO2,HumidityRatio,Occupancy\n"
    rows = "1,2015-02-04 17:51:00,23,27,426,721,0.004,1\n2,2015-02-04 17:51:59,22,26,0,714,0.004,0"
    for name in (TRAINED, *SCORED):
        with gzip.open(tmp_path / f"{name}.csv.gz", "wt", encoding="utf-8") as file:
            file.write(head + rows)

    read = read_periods(tmp_path)["datatest"]

    assert np.diff(read.times).tolist() == [int(MINUTE)]
    assert read.values[0].tolist() == pytest.approx([23, 27, 721, 0.004])
    assert read.labels.tolist() == [1, 0]


def test_no_two_readings_of_the_real_files_share_a_minute(data_folder: Path) -> None:
    periods = read_periods(data_folder / "occupancy")

    assert [len(periods[name].labels) for name in (TRAINED, *SCORED)] == [8_143, 2_665, 9_752]
    for one in periods.values():
        assert (np.diff(one.times) == int(MINUTE)).all()


def test_validation_looks_at_the_first_period_alone(data_folder: Path) -> None:
    periods = read_periods(data_folder / "occupancy")

    case = validation_case(periods)

    (scored,) = case.score
    assert case.train.times[-1] < scored.times[0]
    assert len(case.train.times) + len(scored.times) == len(periods[TRAINED].times)


@given(st.lists(st.integers(0, 1), min_size=1), st.integers(0, 70))
def test_persistence_knows_no_label_before_it_came(labels: list[int], delay: int) -> None:
    repeated = repeat_last(np.array(labels), delay)

    assert len(repeated) == len(labels)
    for i, label in enumerate(repeated):
        assert label == (labels[i - delay - 1] if i > delay else 0)


def test_what_is_learned_online_never_changes_what_the_frozen_model_says() -> None:
    scored = period("datatest", 240)
    flipped = replace(scored, labels=1 - scored.labels)
    train = period("datatraining", 300, seed=1)

    (before,), (after,) = (
        run(Case(train=train, score=(one,)), seed=0) for one in (scored, flipped)
    )

    assert before.rows + before.unpredicted == 240 - WINDOW + 1
    assert before.rows > 150
    assert before.frozen + after.frozen == before.rows
    assert before.online["at_once"] + after.online["at_once"] != before.rows


def test_the_summary_pools_rows_and_names_the_periods() -> None:
    worse = replace(RIGHT, rows=300, frozen=150)
    figures = summary([[RIGHT, worse], [RIGHT, worse]]).figures

    assert figures["accuracy_frozen"] == pytest.approx(230 / 400)
    assert figures["accuracy_frozen_datatest"] == pytest.approx(0.8)
    assert figures["accuracy_frozen_datatest2"] == pytest.approx(0.5)
    assert figures["accuracy_persistence_after_an_hour_datatest"] == pytest.approx(0.7)
    for delay in DELAYS:
        assert f"accuracy_online_{delay}" in figures
    assert (figures["rows"], figures["unpredicted"]) == (400.0, 4.0)


@pytest.mark.system
def test_the_command_runs_end_to_end_on_a_few_hours(data_folder: Path) -> None:
    arguments = ["occupancy", "--quick", "--seeds", "1", "--json", "--data", str(data_folder)]
    found = CliRunner().invoke(app, arguments)

    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout.splitlines()[-1])["figures"]
    assert figures["rows"] + figures["unpredicted"] == 2 * (300 - WINDOW + 1)
    assert 0 < figures["accuracy_online_at_once"] <= 1
