from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.columns import RowRun
from headwater_agent.events import Floats, Row
from headwater_agent.windows import StreamWindow
from tests.agent.model import floats


def push(window: StreamWindow, *rows: Row) -> Floats | None:
    """Push rows one by one; return the values of the window that the last one completes."""
    made = [window.push([row])[0] for row in rows][-1]
    return None if made is None else made.values


def row(slot: int) -> Row:
    return Row("tank-1", slot, floats(slot, -slot), np.ones(2, np.bool_))


def test_the_first_window_comes_with_the_last_of_its_rows() -> None:
    window = StreamWindow(3, 2)
    assert push(window, row(1)) is None
    assert push(window, row(2)) is None
    np.testing.assert_array_equal(push(window, row(3)), [[1, -1], [2, -2], [3, -3]])


def test_a_jump_in_the_slots_starts_again() -> None:
    window = StreamWindow(2, 2)
    push(window, row(1))
    push(window, row(2))
    assert push(window, row(4)) is None
    np.testing.assert_array_equal(push(window, row(5)), [[4, -4], [5, -5]])


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 7))
def test_a_window_is_the_last_rows_since_the_last_jump(jumps: list[bool], length: int) -> None:
    window, slot = StreamWindow(length, 2), 0
    run: list[int] = []
    for jump in jumps:
        slot += 2 if jump else 1
        run = [slot] if jump else [*run, slot]
        made = push(window, row(slot))
        if len(run) < length:
            assert made is None
        else:
            np.testing.assert_array_equal(made, [[s, -s] for s in run[-length:]])


def test_a_window_does_not_change_when_rows_follow() -> None:
    window = StreamWindow(1, 2)
    first = push(window, row(1))
    push(window, row(2))
    np.testing.assert_array_equal(first, [[1, -1]])


stretches = st.lists(
    st.tuples(st.booleans(), st.lists(st.sampled_from(["ok", "missing", "marked"]), min_size=1)),
    max_size=6,
)


@given(stretches, st.integers(1, 7))
def test_rows_may_be_pushed_one_by_one_or_together(
    story: list[tuple[bool, list[str]]], length: int
) -> None:
    single, together = StreamWindow(length, 2), StreamWindow(length, 2)
    slot = 0
    for jump, kinds in story:
        slot += jump
        values = np.array(
            [[at, np.nan if kind == "missing" else at] for at, kind in enumerate(kinds)], np.float32
        )
        marked = {at for at, kind in enumerate(kinds) if kind == "marked"}
        rows = RowRun("tank-1", slot, values, ~np.isnan(values), marked)
        slot += len(kinds)
        one_by_one = [made for row in rows for made in single.push([row])]
        run = together.push_run(rows)
        first = len(one_by_one) - len(run.values)
        assert one_by_one[:first] == [None] * first
        theirs = [made for made in one_by_one[first:] if made is not None]
        assert [made.values.tobytes() for made in theirs] == [ours.tobytes() for ours in run.values]
        assert [made.missing for made in theirs] == run.missing
        assert [made.marked for made in theirs] == run.marked
        assert single.marked_slot == together.marked_slot


def test_a_window_tells_its_missing_cells_and_whether_one_is_kept_aside() -> None:
    window = StreamWindow(2, 2)
    first = Row("tank-1", 1, floats(1, np.nan), np.ones(2, np.bool_), marked=True)
    made = window.push([first, row(2), row(3)])
    assert [(one.missing, one.marked) for one in made if one] == [(0.25, True), (0.0, False)]
