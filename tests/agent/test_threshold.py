"""A threshold follows the scores of normal windows, whatever their scale, and nothing else."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import StorageError
from headwater_agent.threshold import BINS, RATIO, Judgement, SavedThreshold, Threshold
from headwater_agent.threshold_settings import ThresholdSettings

PLAIN = ThresholdSettings(smoothing=1, warm_up=50, patience=20)
SCORES = st.lists(st.floats(0, 1e9), max_size=60)


def lognormal(count: int, seed: int = 0) -> list[float]:
    drawn: list[float] = np.random.default_rng(seed).lognormal(size=count).tolist()
    return drawn


def judged(threshold: Threshold, scores: list[float]) -> list[Judgement]:
    return [threshold.update(score) for score in scores]


def calm(options: ThresholdSettings = PLAIN) -> Threshold:
    threshold = Threshold(options)
    judged(threshold, lognormal(400))
    return threshold


def test_nothing_is_flagged_in_the_warm_up() -> None:
    found = judged(Threshold(PLAIN), [1.0] * 49 + [1e6])

    assert not any(judgement.flagged for judgement in found)
    assert all(math.isnan(judgement.threshold) and judgement.rarity == 0 for judgement in found)


@pytest.mark.parametrize("risk", [0.01, 0.001])
@pytest.mark.parametrize("draw", ["lognormal", "pareto", "exponential", "chisquare"])
def test_about_the_share_at_risk_of_normal_windows_is_flagged(risk: float, draw: str) -> None:
    rng = np.random.default_rng(0)
    drawn = {
        "lognormal": rng.lognormal(size=5_000),
        "pareto": rng.pareto(2.0, 5_000),
        "exponential": rng.exponential(size=5_000),
        "chisquare": rng.chisquare(8, 5_000),
    }[draw]
    threshold = Threshold(msgspec.structs.replace(PLAIN, risk=risk))

    flagged = [judgement.flagged for judgement in judged(threshold, drawn.tolist())[1_000:]]

    assert np.mean(flagged) <= 2 * risk
    assert risk == 0.001 or np.mean(flagged) >= risk / 2


def test_equal_scores_are_never_anomalies() -> None:
    for score in (0.0, 1.0, 1e-30, 1e11):
        assert not any(judgement.flagged for judgement in judged(Threshold(PLAIN), [score] * 500))


def test_a_score_far_above_all_others_is_an_anomaly() -> None:
    found = calm().update(1e4)

    assert found.flagged
    assert found.threshold < 1e4
    assert found.rarity > 3


@given(scale=st.integers(-60, 60), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_the_unit_of_the_scores_does_not_matter_to_their_rarity(scale: int, seed: int) -> None:
    scores = lognormal(150, seed)
    scaled = [score * RATIO**scale for score in scores]

    before = [judgement.rarity for judgement in judged(Threshold(PLAIN), scores)]
    after = [judgement.rarity for judgement in judged(Threshold(PLAIN), scaled)]

    assert np.mean(np.isclose(before, after, atol=1e-6)) > 0.9


def test_what_lasts_a_while_does_not_become_normal() -> None:
    threshold = calm(msgspec.structs.replace(PLAIN, patience=100))

    found = judged(threshold, [1e4] * 100)

    assert all(judgement.flagged for judgement in found)
    assert found[-1].threshold < 1.5 * found[0].threshold


def test_what_lasts_beyond_the_patience_becomes_normal() -> None:
    found = judged(calm(), [1e4] * 400)

    assert all(judgement.flagged for judgement in found[:20])
    assert not found[-1].flagged


def test_a_slow_rise_is_not_taken_for_normal_on_its_way_to_the_limit() -> None:
    options = msgspec.structs.replace(PLAIN, smoothing=50, patience=1_000)

    found = judged(calm(options), [30.0] * 200)

    assert found[-1].flagged
    assert found[-1].threshold < 30.0


def test_old_scores_are_forgotten() -> None:
    threshold = Threshold(msgspec.structs.replace(PLAIN, memory=200))
    high = judged(threshold, [1e3 * score for score in lognormal(500)])[-1].threshold
    low = judged(threshold, lognormal(2_000, seed=1))[-1].threshold

    assert low < high / 100


def test_one_high_score_is_smoothed_away() -> None:
    assert calm().update(30.0).flagged
    assert not calm(msgspec.structs.replace(PLAIN, smoothing=50)).update(30.0).flagged


@given(scores=SCORES, smoothing=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_a_window_is_flagged_where_its_score_reaches_the_threshold(
    scores: list[float], smoothing: int
) -> None:
    threshold = calm(msgspec.structs.replace(PLAIN, smoothing=smoothing))

    for score, judgement in zip(scores, judged(threshold, scores), strict=True):
        assert judgement.flagged == (score >= judgement.threshold)
        assert judgement.rarity >= 0


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_no_anomaly_and_changes_nothing(score: float) -> None:
    threshold = calm()
    before = threshold.save()

    assert not threshold.update(score).flagged
    assert threshold.save() == before


@given(before=SCORES, after=SCORES, smoothing=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_a_restored_threshold_goes_on_as_if_nothing_had_happened(
    before: list[float], after: list[float], smoothing: int
) -> None:
    options = msgspec.structs.replace(PLAIN, smoothing=smoothing)
    first, second = Threshold(options), Threshold(options)
    judged(first, before)
    second.restore(msgspec.json.decode(msgspec.json.encode(first.save()), type=SavedThreshold))

    assert repr(judged(first, after)) == repr(judged(second, after))
    assert first.save() == second.save()


@pytest.mark.parametrize(
    "saved",
    [
        SavedThreshold(level=math.nan, seen=1, flagged=0, bins={1: 1.0}),
        SavedThreshold(level=1.0, seen=1, flagged=0, bins={1: -1.0}),
        SavedThreshold(level=1.0, seen=1, flagged=0, bins={BINS: 1.0}),
        SavedThreshold(level=1.0, seen=-1, flagged=0, bins={1: 1.0}),
        SavedThreshold(level=1.0, seen=1, flagged=0, bins={}),
    ],
)
def test_a_damaged_state_is_refused(saved: SavedThreshold) -> None:
    with pytest.raises(StorageError, match="anomaly threshold is damaged"):
        Threshold(PLAIN).restore(saved)
