"""Moments that fade are zero before they are subnormal."""

from __future__ import annotations

import numpy as np
import pytest

from headwater_models.fading import EVERY, faded

TINY = float(np.finfo(np.float32).tiny)
STATE = {
    "adam.m": np.array([1.0, -2.0, 0.0, TINY, -TINY, TINY / 2, -TINY / 4], np.float32),
    "gram": np.array([1e-310, 1.0]),
}


@pytest.mark.parametrize("steps", [EVERY, 3 * EVERY])
def test_what_is_subnormal_becomes_zero_and_nothing_else_changes(steps: int) -> None:
    after = faded(STATE, steps)
    np.testing.assert_array_equal(after["adam.m"][:5], STATE["adam.m"][:5])
    assert not after["adam.m"][5:].any()
    assert after["adam.m"].dtype == np.float32


@pytest.mark.parametrize("steps", [1, EVERY - 1, EVERY + 1])
def test_it_is_not_looked_for_with_each_step(steps: int) -> None:
    assert faded(STATE, steps) is STATE


def test_statistics_stay_as_they_are() -> None:
    assert faded(STATE, EVERY)["gram"] is STATE["gram"]


def test_what_it_was_given_stays_as_it_was() -> None:
    before = STATE["adam.m"].copy()
    faded(STATE, EVERY)
    np.testing.assert_array_equal(STATE["adam.m"], before)
