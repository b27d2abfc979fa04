"""The SKAB case, small: labels choose a candidate on other files, and never set a threshold."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.accuracy import app
from benchmarks.detector import Fit
from benchmarks.skab import (
    FITTED,
    QUICK_FILES,
    RISKS,
    SENSORS,
    SMOOTHINGS,
    STEADY,
    Candidate,
    Case,
    Counts,
    Log,
    Outcome,
    Table,
    choose,
    count,
    plain,
    pooled,
    read_logs,
    run,
    shorten,
    summary,
)
from headwater_agent.threshold_settings import ThresholdSettings

FIRST, SECOND = (
    Candidate(SENSORS, Fit(window=1, hidden=(1,), epochs=0), 10, risk) for risk in (0.01, 0.001)
)
GROUPS = ("valve1", "valve2", "other")


def log(group: str, seed: int = 0, *, wrong: slice = slice(500, 560)) -> Log:
    """A pump whose sensors all move while something is wrong."""
    rows = np.random.default_rng(seed).normal(size=(600, len(SENSORS)))
    labels = np.zeros(600, np.bool_)
    labels[wrong] = True
    rows[500:560] += 6
    return Log(group, rows, labels)


def case(*logs: Log) -> Case:
    """A few candidates on these files."""
    fits = (Fit(window=1, hidden=(2,), epochs=1), Fit(window=4, hidden=(2,), epochs=1))
    tried = tuple(product((SENSORS, STEADY), fits))
    return Case(logs=logs, fits=tried, smoothings=(10,), risks=(0.01, 0.001))


def test_files_are_read_with_their_group_and_what_is_wrong(tmp_path: Path) -> None:
    head = ",".join(["file", "datetime", *SENSORS, "anomaly", "changepoint"])
    names = ("valve1/0.csv", "valve1/0.csv", "other/1.csv")
    cells = ",".join(str(at) for at in range(8))
    lines = [
        f"{name},2020-03-09 10:00:0{at},{cells},{at % 2}.0,0.0" for at, name in enumerate(names)
    ]
    (tmp_path / "skab.csv.gz").write_bytes(gzip.compress("\n".join([head, *lines]).encode()))

    first, second = read_logs(tmp_path)

    assert (first.group, second.group) == ("valve1", "other")
    assert first.rows.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7]] * 2
    assert first.wrong.tolist() == [False, True]


def test_the_real_files_are_those_of_the_benchmark(data_folder: Path) -> None:
    logs = read_logs(data_folder / "skab")

    scored = pooled(count(one.wrong, one.wrong) for one in logs)
    assert (len(logs), scored.rows, scored.wrong) == (34, 23_801, 12_771)
    assert [len([one for one in logs if one.group == group]) for group in GROUPS] == [16, 4, 14]
    assert len(shorten(Case(logs=logs)).logs) == 3 * QUICK_FILES


def test_the_rows_fitted_to_are_not_scored() -> None:
    flagged = np.zeros(FITTED + 4, np.bool_)
    wrong = flagged.copy()
    flagged[:FITTED] = wrong[:FITTED] = True
    flagged[FITTED:] = [True, True, False, False]
    wrong[FITTED:] = [True, False, True, False]

    assert count(flagged, wrong) == Counts(hits=1, flagged=2, wrong=2, rows=4)


def test_counts_give_f1_false_and_missed_alarms() -> None:
    counts = Counts(hits=30, flagged=40, wrong=60, rows=100)

    assert counts.f1 == pytest.approx(2 * 30 / (40 + 60))
    assert counts.false_alarms == pytest.approx(10 / 40)
    assert counts.missed == pytest.approx(0.5)
    assert (Counts().f1, Counts().false_alarms) == (0, 0)


def test_all_rows_count_together() -> None:
    parts = [Counts(1, 2, 3, 4), Counts(10, 20, 30, 40)]

    assert pooled(parts) == Counts(11, 22, 33, 44)


def table(first: Mapping[str, Counts], second: Mapping[str, Counts]) -> Table:
    return {FIRST: first, SECOND: second}


def test_the_best_f1_is_chosen_on_the_groups_named() -> None:
    good, bad = Counts(50, 55, 60, 100), Counts(10, 15, 60, 100)
    found = table({"valve1": good, "other": bad}, {"valve1": bad, "other": good})

    assert choose(found, ["valve1"]) == FIRST
    assert choose(found, ["other"]) == SECOND


def test_who_raises_too_many_false_alarms_is_not_chosen_for_its_f1() -> None:
    loud, calm = Counts(60, 90, 60, 100), Counts(40, 45, 60, 100)
    assert loud.f1 > calm.f1

    assert choose(table({"valve1": loud}, {"valve1": calm}), ["valve1"]) == SECOND


def test_faults_that_all_sensors_see_are_found() -> None:
    outcome = run(case(*(log(group, seed) for seed, group in enumerate(GROUPS))), seed=0)

    whole = pooled(outcome.groups.values())
    assert whole.rows == 3 * (600 - FITTED)
    assert whole.f1 > 0.8
    assert whole.missed < 0.1


def test_a_group_s_own_labels_change_nothing_of_what_is_said_there() -> None:
    logs = [log(group, seed) for seed, group in enumerate(GROUPS)]
    spoiled = [log("valve1", 0, wrong=slice(400, 470)), *logs[1:]]

    before, after = run(case(*logs), seed=0), run(case(*spoiled), seed=0)

    assert before.chosen["valve1"] == after.chosen["valve1"]
    assert before.groups["valve1"].flagged == after.groups["valve1"].flagged
    assert before.groups["valve1"].hits != after.groups["valve1"].hits


def test_a_seed_gives_the_same_outcome_again() -> None:
    logs = [log(group, seed) for seed, group in enumerate(GROUPS)]

    assert run(case(*logs), seed=3) == run(case(*logs), seed=3)


def test_what_nobody_chose_is_all_sensors_under_the_agent_s_settings() -> None:
    settings, candidate = ThresholdSettings(), plain(Case(logs=()))

    assert (candidate.sensors, candidate.fit.window) == (SENSORS, 1)
    assert (candidate.smoothing, candidate.risk) == (settings.smoothing, settings.risk)
    assert candidate.smoothing in SMOOTHINGS
    assert candidate.risk in RISKS


def test_the_windows_fitted_to_are_the_warm_up() -> None:
    longer = replace(FIRST, fit=replace(FIRST.fit, window=10))

    assert FIRST.threshold.warm_up == FITTED
    assert longer.threshold.warm_up == FITTED - 9
    assert (FIRST.threshold.risk, FIRST.threshold.smoothing) == (0.01, 10)


def test_the_summary_says_what_calling_everything_wrong_would_score() -> None:
    groups = {"valve1": Counts(30, 40, 60, 100), "other": Counts(60, 60, 60, 100)}
    outcome = Outcome(
        groups=groups, chosen={}, best=Counts(90, 90, 120, 200), plain=Counts(60, 90, 120, 200)
    )
    figures = summary([outcome, outcome]).figures

    assert figures["f1"] == pytest.approx(2 * 90 / (100 + 120))
    assert figures["false_alarm_rate"] == pytest.approx(10 / 80)
    assert figures["f1_of_calling_all_anomalous"] == pytest.approx(2 * 120 / 320)
    assert figures["f1_other"] == 1.0
    assert figures["f1_chosen_on_all"] == pytest.approx(2 * 90 / (90 + 120))
    assert figures["f1_plain"] == pytest.approx(2 * 60 / (90 + 120))
    assert (figures["rows"], figures["seeds"]) == (200.0, 2.0)


@pytest.mark.system
def test_the_command_runs_end_to_end_on_a_few_files(data_folder: Path) -> None:
    arguments = ["skab", "--quick", "--seeds", "1", "--json", "--data", str(data_folder)]
    found = CliRunner().invoke(app, arguments)

    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout.splitlines()[-1])["figures"]
    assert 0 < figures["f1"] <= 1
    assert 0 <= figures["false_alarm_rate"] <= 1
