"""How far moves go over a silence."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.guard.reach import reach, reaches


@given(
    silences=st.lists(st.integers(1, 10**9), min_size=1, max_size=20),
    period=st.integers(1, 10**7),
)
def test_a_move_goes_as_far_over_many_silences_as_over_each_to_the_last_bit(
    silences: list[int], period: int
) -> None:
    found = reaches(np.array(silences), period).tolist()
    assert found == [reach(silence, period) for silence in silences]


def test_a_move_goes_twice_as_far_over_four_periods_and_no_further_than_over_64() -> None:
    assert [reach(4, 1), reach(64, 1), reach(1000, 1)] == [2, 8, 8]
