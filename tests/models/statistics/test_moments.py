from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from headwater.errors import PeerError
from headwater_models.statistics.moments import (
    Moments,
    RunningMoments,
    merge_moments,
    moments_of,
    no_moments,
    take_moments,
    variances,
)

VALUES = npst.arrays(
    np.float64,
    st.tuples(st.integers(0, 30), st.just(2)),
    elements=st.floats(-1e3, 1e3, allow_subnormal=False),
)


def assert_near(ours: Moments, theirs: Moments) -> None:
    spread = np.sqrt(variances(theirs)).max() + np.abs(theirs[1]).max()
    np.testing.assert_allclose(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9, atol=1e-12 * spread)
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-9, atol=1e-9 * spread**2 + 1e-300)


def test_moments_are_count_mean_and_squared_deviations() -> None:
    found = moments_of(np.array([[1.0, 4.0], [3.0, np.nan], [np.inf, 4.0]]))

    assert found.tolist() == [[2, 2], [2, 4], [2, 0]]
    assert variances(found).tolist() == [1, 0]


@given(VALUES, VALUES)
def test_merging_two_sets_is_looking_at_both_at_once(ours: Moments, theirs: Moments) -> None:
    merged = merge_moments(moments_of(ours), moments_of(theirs))

    assert_near(merged, moments_of(np.concatenate([ours, theirs])))


@given(VALUES, VALUES)
def test_taking_one_set_away_leaves_the_other(ours: Moments, theirs: Moments) -> None:
    both = merge_moments(moments_of(ours), moments_of(theirs))

    left, expected = take_moments(both, moments_of(theirs)), moments_of(ours)

    scale = 1 + np.abs(ours).max(initial=0) + np.abs(theirs).max(initial=0)
    np.testing.assert_allclose(left[0], expected[0])
    np.testing.assert_allclose(left[1], expected[1], rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(left[2], expected[2], rtol=1e-9, atol=1e-9 * scale**2)


@given(VALUES)
def test_to_merge_with_nothing_changes_no_bit(values: Moments) -> None:
    found = moments_of(values)

    assert merge_moments(found, no_moments(2)).tobytes() == found.tobytes()
    assert merge_moments(no_moments(2), found).tobytes() == found.tobytes()


def test_a_small_spread_far_from_zero_is_not_lost() -> None:
    values = 1e8 + np.random.default_rng(0).normal(size=(10_000, 1))
    halves = merge_moments(moments_of(values[:3_000]), moments_of(values[3_000:]))

    np.testing.assert_allclose(variances(halves), values.var(axis=0), rtol=1e-9)


def test_the_variance_of_nothing_is_zero_and_weights_below_one_count() -> None:
    assert variances(no_moments(1)).tolist() == [0]
    assert variances(np.array([[0.5], [1.0], [2.0]])).tolist() == [4]


@given(VALUES)
def test_running_moments_are_those_of_all_values_so_far(values: Moments) -> None:
    running = RunningMoments()
    for row in values:
        running.add(row)

    flat = values.ravel()
    assert running.count == len(flat)
    if len(flat):
        scale = 1 + np.abs(flat).max()
        np.testing.assert_allclose(running.mean, flat.mean(), rtol=1e-9, atol=1e-12 * scale)
        np.testing.assert_allclose(running.variance, flat.var(), rtol=1e-9, atol=1e-9 * scale)


def test_moments_that_cannot_be_are_refused() -> None:
    for text in (
        b'{"count":1,"mean":0,"m2":-1}',
        b'{"count":-1,"mean":0,"m2":0}',
        b'{"count":1,"mean":1e999,"m2":0}',
    ):
        with pytest.raises(PeerError, match="set of moments is damaged"):
            RunningMoments.decode(text)
