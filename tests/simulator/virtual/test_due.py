"""What is due is taken in the order of its moments, whenever it was added."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater_simulator.virtual.due import Due

Steps = st.lists(st.tuples(st.lists(st.integers(0, 50), max_size=5), st.integers(0, 60)))


@given(Steps)
def test_what_is_due_comes_in_order_and_the_rest_waits(steps: list[tuple[list[int], int]]) -> None:
    due = Due[tuple[int, int]]()
    waiting: list[tuple[int, int]] = []
    number = 0
    for moments, now in steps:
        for moment in moments:
            number += 1
            due.add((moment, number))
            waiting.append((moment, number))

        assert due.take(now) == sorted(one for one in waiting if one[0] <= now)

        waiting = [one for one in waiting if one[0] > now]
        assert due.next_ms == min((moment for moment, _ in waiting), default=None)
