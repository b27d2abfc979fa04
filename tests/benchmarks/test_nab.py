"""The NAB case, small: episodes, what is chosen on what, and peers on the same series."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from benchmarks.accuracy import app
from benchmarks.nab import (
    CANDIDATES,
    CHOSEN,
    EPISODE,
    QUICK_SERIES,
    STANDARD,
    Corpus,
    Marks,
    Outcome,
    episodes,
    held_out,
    marks,
    read,
    run,
    shorten,
    summary,
)
from benchmarks.nab_scoring import Profile, Series

PROFILE = Profile(hit=1.0, false_alarm=0.11, miss=1.0)
MARKS = Marks(profiles={STANDARD: 60.0}, held_out=50.0)
OUTCOME = Outcome(
    ours=MARKS,
    trees=Marks(profiles={STANDARD: 40.0}, held_out=30.0),
    trees_behind_ours=MARKS,
    chance=Marks(profiles={STANDARD: 10.0}, held_out=0.0),
    unlabelled=45.0,
    bytes_ours=1_000,
    bytes_trees=100_000,
)


def series(rows: int = 1_000, window: tuple[int, int] = (600, 659), seed: int = 0) -> Series:
    """A calm sensor that jumps where its window begins."""
    values = np.random.default_rng(seed).normal(size=rows)
    values[window[0] : window[0] + 5] += 12
    return Series(f"made-{seed}", np.arange(rows) * 300, values, (window,))


def corpus(*made: Series) -> Corpus:
    return Corpus(made or (series(), series(seed=1)), {STANDARD: PROFILE})


def spike(rows: int, at: int, height: float = 1.0) -> NDArray[np.float64]:
    score = np.zeros(rows)
    score[at] = height
    return score


def test_an_episode_is_one_detection_unless_a_higher_score_comes() -> None:
    score = np.zeros(3 * EPISODE)
    score[[10, 20, 30, 40]] = [1.0, 0.9, 2.0, 2.0]
    score[30 + EPISODE] = 0.5
    score[31 + EPISODE + 10] = 0.7

    said = np.flatnonzero(episodes(score))

    assert said.tolist() == [10, 30, 41 + EPISODE]


def test_an_episode_looks_back_only() -> None:
    score = np.random.default_rng(0).random(2_000)

    np.testing.assert_array_equal(episodes(score)[:1_200], episodes(score[:1_200]))


def test_a_threshold_is_chosen_on_the_other_series() -> None:
    one, other = series(), series(seed=1)
    alike = [spike(1_000, 600, 0.9), spike(1_000, 600, 0.8)]
    quiet = [spike(1_000, 600, 0.2), spike(1_000, 600, 0.9)]

    assert held_out([one, other], [alike], PROFILE) == pytest.approx(50.0)
    assert held_out([one, other], [quiet], PROFILE) == pytest.approx(50.0)
    same = [spike(1_000, 600), spike(1_000, 600)]
    assert held_out([one, other], [same], PROFILE) == pytest.approx(100.0)


def test_a_candidate_is_chosen_on_the_other_series() -> None:
    made = [series(seed=seed) for seed in range(4)]
    hit, miss = spike(1_000, 600), spike(1_000, 300)
    tried = [[hit, miss, miss, miss], [miss, hit, hit, hit]]

    found = held_out(made, tried, PROFILE)

    assert found == pytest.approx((100 * -0.11 / 2 + 3 * 100) / 4)


def test_a_series_own_windows_do_not_choose_what_it_is_scored_with() -> None:
    made = [series(), series(seed=1)]
    tried = [[spike(1_000, 600), spike(1_000, 600)], [spike(1_000, 300), spike(1_000, 600)]]
    moved = [replace(made[0], windows=((300, 359),)), made[1]]

    assert held_out(made, tried, PROFILE) == pytest.approx(100.0)
    assert held_out(moved, tried, PROFILE) < 60


def test_without_a_chosen_candidate_each_profile_takes_its_best() -> None:
    made = corpus()
    good = [spike(1_000, 600), spike(1_000, 600)]
    bad = [spike(1_000, 300), spike(1_000, 300)]

    assert marks(made, [bad, good]).profiles[STANDARD] == pytest.approx(100.0)
    assert marks(made, [bad, good], bad).profiles[STANDARD] == 0.0


def test_the_settings_that_count_are_among_those_tried() -> None:
    assert CHOSEN in CANDIDATES
    assert CHOSEN.threshold.memory == CHOSEN.memory


def test_the_shortest_series_are_left_for_a_quick_run(data_folder: Path) -> None:
    whole = read(data_folder / "nab_known_cause")
    short = shorten(whole)

    assert len(whole.series) == 7
    assert sum(len(one.values) for one in whole.series) == 69_561
    assert len(short.series) == QUICK_SERIES
    assert (
        max(len(one.values) for one in short.series)
        == sorted(len(one.values) for one in whole.series)[1]
    )


def test_jumps_are_found_and_not_by_chance() -> None:
    outcome = run(corpus(), seed=0)

    assert outcome.ours.profiles[STANDARD] > 90
    assert 0 <= outcome.trees_behind_ours.profiles[STANDARD] <= 100
    assert outcome.chance.profiles[STANDARD] < outcome.ours.profiles[STANDARD]
    assert outcome.unlabelled <= outcome.ours.profiles[STANDARD]
    assert 0 < outcome.bytes_ours < outcome.bytes_trees


def test_the_summary_sets_the_trees_beside_ours() -> None:
    better = replace(OUTCOME, ours=Marks(profiles={STANDARD: 70.0}, held_out=52.0))
    figures = summary([OUTCOME, better]).figures

    standard, state = figures["score_standard"], figures["state"]
    assert not isinstance(standard, float)
    assert not isinstance(state, float)
    assert (standard.ours, standard.peers["half_space_trees"]) == (65.0, 40.0)
    assert standard.ratio == pytest.approx(65 / 40)
    assert figures["score_standard_trees_sd"] == 0.0
    assert figures["score_standard_sd"] == pytest.approx(50**0.5)
    assert figures["score_held_out"] == 51.0
    assert figures["score_held_out_trees"] == 30.0
    assert figures["score_unlabelled"] == 45.0
    assert state.ratio == pytest.approx(100)
    assert figures["seeds"] == 2.0


def test_trees_that_score_nothing_are_beaten_without_bound() -> None:
    nothing = replace(OUTCOME, trees=Marks(profiles={STANDARD: 0.0}, held_out=0.0))
    standard = summary([nothing]).figures["score_standard"]

    assert not isinstance(standard, float)
    assert standard.ratio == math.inf


@pytest.mark.system
def test_the_command_runs_end_to_end_on_two_series(data_folder: Path) -> None:
    arguments = ["nab", "--quick", "--seeds", "1", "--json", "--data", str(data_folder)]
    found = CliRunner().invoke(app, arguments)

    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout.splitlines()[-1])["figures"]
    assert {"half_space_trees", "ours", "ratio"} <= figures["score_standard"].keys()
    assert figures["score_chance"] <= 100
