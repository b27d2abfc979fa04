"""Numenta's scoring, by cases that one can work out by hand."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.nab_scoring import (
    Profile,
    Series,
    best,
    read_profiles,
    read_series,
    score_at,
    sigmoid,
    sweep,
    worths,
)

STANDARD = Profile(hit=1.0, false_alarm=0.11, miss=1.0)
LOW_FN = Profile(hit=1.0, false_alarm=0.11, miss=2.0)

Floats = NDArray[np.float64]


def series(rows: int = 100, *windows: tuple[int, int]) -> Series:
    return Series("made", np.arange(rows), np.zeros(rows), windows or ((40, 49),))


def scores(**detected: float) -> Floats:
    found = np.zeros(100)
    for row, score in detected.items():
        found[int(row[1:])] = score
    return found


def scaled(position: float) -> float:
    return 2 / (1 + math.exp(5 * position)) - 1


def test_the_sigmoid_is_the_published_one() -> None:
    found = sigmoid(np.array([-1.0, -0.5, 0.0, 1.0, 3.0, 50.0]))

    assert found == pytest.approx([0.98661, 0.84828, 0.0, -0.98661, -1.0, -1.0], abs=1e-5)


def test_no_detection_scores_0_and_the_first_row_of_each_window_100() -> None:
    corpus = [series(100, (40, 49), (80, 89))]
    perfect = [scores(r40=1.0, r80=1.0)]

    assert score_at(corpus, perfect, STANDARD, 2.0) == 0.0
    assert score_at(corpus, perfect, STANDARD, 1.0) == pytest.approx(100.0)
    assert score_at(corpus, perfect, LOW_FN, 1.0) == pytest.approx(100.0)


def test_a_later_detection_in_a_window_earns_less() -> None:
    earned = scaled(-0.5) / scaled(-1.0)

    found = score_at([series()], [scores(r45=1.0)], STANDARD, 1.0)

    assert found == pytest.approx(100 * (earned + 1) / 2)


def test_only_the_earliest_detection_of_a_window_counts() -> None:
    corpus = [series()]

    one = score_at(corpus, [scores(r42=1.0)], STANDARD, 0.5)
    more = score_at(corpus, [scores(r42=0.6, r45=1.0, r49=0.9)], STANDARD, 0.5)

    assert one == pytest.approx(more)


def test_a_false_alarm_costs_more_the_further_it_lies_behind_the_last_window() -> None:
    def cost(row: int) -> float:
        return -score_at([series()], [scores(**{f"r{row}": 1.0})], STANDARD, 0.5) * 2 / 100

    assert cost(30) == pytest.approx(0.11)
    assert cost(50) == pytest.approx(-0.11 * scaled(1 / 9))
    assert cost(58) == pytest.approx(-0.11 * scaled(1.0))
    assert cost(90) == pytest.approx(0.11)


def test_a_missed_window_costs_what_the_profile_says() -> None:
    corpus = [series(100, (40, 49), (80, 89))]
    one_of_two = [scores(r40=1.0)]

    assert score_at(corpus, one_of_two, STANDARD, 0.5) == pytest.approx(50.0)
    assert score_at(corpus, one_of_two, LOW_FN, 0.5) == pytest.approx(50.0)
    late = [scores(r49=1.0)]
    gain = scaled(-0.1) / scaled(-1.0)
    assert score_at([series()], late, LOW_FN, 0.5) == pytest.approx(100 * (gain + 2) / 3)


def test_the_learning_period_counts_for_nothing() -> None:
    noisy = np.where(np.arange(100) < 15, 1.0, 0.0)

    assert series().learning == 15
    assert series(10_000).learning == 750
    assert score_at([series()], [noisy], STANDARD, 0.5) == 0.0


def test_one_threshold_serves_the_whole_corpus() -> None:
    corpus = [series(), series()]
    found = [scores(r40=0.9, r20=0.5), scores(r40=0.6, r20=0.8)]

    threshold, score = best(corpus, found, STANDARD)

    assert threshold == 0.6
    assert score == pytest.approx(100 * (4 - 0.11) / 4)


def test_the_sweep_is_what_counting_row_by_row_gives() -> None:
    rng = np.random.default_rng(0)
    corpus = [series(200, (60, 80), (120, 130)), series(100, (40, 49))]
    given = [rng.integers(0, 20, len(one.values)) / 20 for one in corpus]

    for threshold, found in zip(*sweep(corpus, given, LOW_FN), strict=True):
        raw = 0.0
        for one, score in zip(corpus, given, strict=True):
            worth, inside = worths(one, LOW_FN)
            detected = score >= threshold
            detected[: one.learning] = False
            raw += worth[detected & (inside < 0)].sum()
            for number in range(len(one.windows)):
                hits = worth[detected & (inside == number)]
                raw += hits.max() if len(hits) else -LOW_FN.miss
        assert found == pytest.approx(100 * (raw + 6) / 9)


def test_series_and_profiles_are_read_from_the_benchmark_s_own_files(tmp_path: Path) -> None:
    lines = ["file,timestamp,value", *(f"a.csv,2014-01-01 0{h}:00:00,{h}.5" for h in range(6))]
    (tmp_path / "part.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    windows = {"a.csv": [["2014-01-01 02:00:00.000000", "2014-01-01 04:00:00.000000"]], "b.csv": []}
    (tmp_path / "combined_windows.json").write_text(json.dumps(windows), encoding="utf-8")
    costs = {"tpWeight": 1.0, "fnWeight": 2.0, "fpWeight": 0.11, "tnWeight": 1.0}
    (tmp_path / "profiles.json").write_text(
        json.dumps({"low": {"CostMatrix": costs}}), encoding="utf-8"
    )

    (found,) = read_series(tmp_path)

    assert found.name == "a.csv"
    assert found.values.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert np.diff(found.times).tolist() == [3600] * 5
    assert found.windows == ((2, 4),)
    assert read_profiles(tmp_path) == {"low": LOW_FN}
