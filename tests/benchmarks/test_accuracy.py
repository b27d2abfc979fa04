"""The accuracy benchmark runs end to end on real records, small, and says what it must say."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.accuracy import app
from benchmarks.beijing import QUICK, TEST, VALIDATION, Outcome, run, shorten, summary
from headwater_simulator.streams import Station, shipped

OUTCOME = Outcome(rows=10, persistence=10.0, released=8.0, personal=7.0, rounds=4, releases=3)


@pytest.fixture(scope="module")
def stations() -> tuple[Station, ...]:
    return shorten(shipped()[:2])


def test_each_case_ends_where_the_next_year_begins() -> None:
    beijing = timezone(timedelta(hours=8))
    years = [
        datetime.fromtimestamp(moment / 1000, beijing)
        for moment in (VALIDATION.cut, VALIDATION.end, TEST.cut, TEST.end)
    ]

    assert years == [datetime(year, 3, 1, tzinfo=beijing) for year in (2015, 2016, 2016, 2017)]


def test_a_run_federates_before_the_cut_and_scores_only_labels_after_it(
    stations: tuple[Station, ...],
) -> None:
    outcome = run(stations, QUICK, seed=0)

    hours = (QUICK.end - QUICK.cut) // 3_600_000
    assert outcome.rounds >= 3
    assert outcome.releases >= 1
    assert 0 < outcome.rows <= len(stations) * hours
    assert outcome.released != outcome.personal


def test_what_comes_after_the_cut_changes_no_release(stations: tuple[Station, ...]) -> None:
    def spoiled(station: Station) -> Station:
        values = station.values.copy()
        values[station.times >= QUICK.cut] *= 0.5
        return replace(station, values=values)

    before, after = run(stations, QUICK, 0), run([spoiled(one) for one in stations], QUICK, 0)

    assert (before.rounds, before.releases) == (after.rounds, after.releases)
    assert before.persistence != after.persistence


def test_the_summary_compares_with_persistence_on_the_same_rows() -> None:
    figures = summary([OUTCOME, replace(OUTCOME, released=9.0)]).figures

    assert figures["mae_persistence"] == 10.0
    assert figures["mae_released"] == 8.5
    assert figures["mae_vs_persistence"] == pytest.approx(0.85)
    assert figures["mae_vs_persistence_sd"] == pytest.approx(0.0707, abs=1e-4)
    assert figures["mae_personal"] == 7.0
    assert figures["seeds"] == 2.0


def test_the_command_prints_one_json_object_last(data_folder: Path) -> None:
    arguments = ["beijing", "--quick", "--seeds", "1", "--json", "--data", str(data_folder)]
    found = CliRunner().invoke(app, arguments)

    assert found.exit_code == 0, found.output
    made = json.loads(found.stdout.splitlines()[-1])
    assert made["benchmark"] == "accuracy beijing"
    assert {"mae_released", "mae_persistence", "mae_vs_persistence"} <= made["figures"].keys()
