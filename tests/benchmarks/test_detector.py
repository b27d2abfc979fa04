"""A detector on one stream: what it is fitted to, and that it looks back only."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.detector import Fit, Floats, footprint, judge, scores, specification
from headwater_agent.threshold_settings import ThresholdSettings

DISTANCE = Fit(window=1, hidden=(1,), epochs=0)
LEARNED = Fit(window=3, hidden=(2,), epochs=3)
FITTED = 60
SETTINGS = ThresholdSettings(risk=0.01, smoothing=1, warm_up=50)


def stream(rows: int = 200, seed: int = 0) -> Floats:
    """Two sensors of which the second follows the first."""
    first = np.random.default_rng(seed).normal(size=rows)
    return np.stack([first, 2 * first + 1], axis=1)


def scored(rows: Floats, fit: Fit, seed: int = 0) -> Floats:
    return scores(rows, FITTED, fit, np.random.default_rng(seed))


@pytest.mark.parametrize("fit", [DISTANCE, LEARNED], ids=["distance", "learned"])
def test_each_row_has_the_score_of_the_window_that_ends_there(fit: Fit) -> None:
    found = scored(stream(), fit)

    assert len(found) == 200
    assert np.isnan(found[: fit.window - 1]).all()
    assert (found[fit.window - 1 :] >= 0).all()


def test_a_score_depends_on_no_row_behind_it_but_those_fitted_to() -> None:
    rows = stream()
    spoiled = rows.copy()
    spoiled[150:] += 100

    before, after = scored(rows, LEARNED), scored(spoiled, LEARNED)

    np.testing.assert_array_equal(before[:150], after[:150])
    assert (after[150:] > before[150:]).all()


def test_without_epochs_a_score_is_how_far_a_row_is_from_those_fitted_to() -> None:
    rows = stream()
    rows[100] = rows[:FITTED].mean(axis=0)
    rows[101] = rows[100] + [0, 10]

    found = scored(rows, DISTANCE)

    assert found[100] == pytest.approx(found.min())
    assert found[101] > 10 * found[100]


def test_who_learns_tells_that_sensors_no_longer_go_together() -> None:
    rows = stream(400)
    rows[300:, 1] = rows[300:, 1][::-1]
    apart = scores(rows, 250, Fit(window=1, hidden=(1,), epochs=50), np.random.default_rng(0))

    assert np.median(apart[300:]) > 3 * np.median(apart[250:300])


def test_a_seed_gives_the_same_scores_again() -> None:
    np.testing.assert_array_equal(scored(stream(), LEARNED, 1), scored(stream(), LEARNED, 1))
    assert (scored(stream(), LEARNED, 1)[2:] != scored(stream(), LEARNED, 2)[2:]).any()


def test_channels_are_scaled_by_the_rows_fitted_to_alone() -> None:
    rows = stream()
    scaling = specification(rows[:FITTED], DISTANCE).scaling

    assert scaling is not None
    assert scaling.mean == pytest.approx(rows[:FITTED].mean(axis=0))
    assert scaling.scale == pytest.approx(rows[:FITTED].std(axis=0))


def test_a_row_is_flagged_by_the_scores_before_it() -> None:
    calm = np.random.default_rng(0).exponential(size=300)
    found = np.concatenate([[np.nan], calm, [1e3], calm])

    judged, prefix = judge(found, SETTINGS), judge(found[:302], SETTINGS)

    assert judged.flagged[301]
    assert not judged.flagged[:51].any()
    assert judged.flagged.mean() < 0.05
    assert judged.rarity[301] == judged.rarity.max()
    assert judged.rarity[:301].max() < judged.rarity[301]
    np.testing.assert_array_equal(judged.flagged[:302], prefix.flagged)
    np.testing.assert_array_equal(judged.rarity[:302], prefix.rarity)


def test_a_footprint_counts_what_things_refer_to_once_and_no_code() -> None:
    array = np.zeros(1_000)

    alone, twice = footprint(array), footprint([array, array])

    assert 8_000 <= alone < 8_500
    assert alone < twice < alone + 100
    assert footprint(int) == footprint(np) == footprint(stream) == 0
