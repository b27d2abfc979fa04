from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.events import Row
from headwater_agent.windows import StreamWindow
from tests.agent.model import floats


def row(slot: int) -> Row:
    return Row("tank-1", slot, floats(slot, -slot), np.ones(2, np.bool_))


def test_the_first_window_comes_with_the_last_of_its_rows() -> None:
    window = StreamWindow(3, 2)
    assert window.push(row(1)) is None
    assert window.push(row(2)) is None
    np.testing.assert_array_equal(window.push(row(3)), [[1, -1], [2, -2], [3, -3]])


def test_a_jump_in_the_slots_starts_again() -> None:
    window = StreamWindow(2, 2)
    window.push(row(1))
    window.push(row(2))
    assert window.push(row(4)) is None
    np.testing.assert_array_equal(window.push(row(5)), [[4, -4], [5, -5]])


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 7))
def test_a_window_is_the_last_rows_since_the_last_jump(jumps: list[bool], length: int) -> None:
    window, slot = StreamWindow(length, 2), 0
    run: list[int] = []
    for jump in jumps:
        slot += 2 if jump else 1
        run = [slot] if jump else [*run, slot]
        made = window.push(row(slot))
        if len(run) < length:
            assert made is None
        else:
            np.testing.assert_array_equal(made, [[s, -s] for s in run[-length:]])


def test_a_window_does_not_change_when_rows_follow() -> None:
    window = StreamWindow(1, 2)
    first = window.push(row(1))
    window.push(row(2))
    np.testing.assert_array_equal(first, [[1, -1]])
