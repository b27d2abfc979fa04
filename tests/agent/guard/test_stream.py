"""The guard of one stream: repetitions, clocks, what cannot be, and bursts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from headwater_agent.events import Record, Refuse
from headwater_agent.guard.channel import sensors
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.guard.stream import MAX_DOUBTED, StreamGuard
from tests.agent.model import MINUTE, manifest, record

INF = math.inf


def guard(settings: GuardSettings | None = None) -> StreamGuard:
    return StreamGuard("tank-1", sensors(manifest(max_gap=3)), settings or GuardSettings())


def admitted(guard: StreamGuard, *items: Record) -> list[float | str]:
    """Return the minutes of what is let through, and the reasons of what is not."""
    return [
        found.reason if isinstance(found, Refuse) else found.time / MINUTE
        for item in items
        for found in guard.admit(item)
    ]


def test_the_same_of_the_same_time_is_a_repetition() -> None:
    assert admitted(guard(), record(1, 5), record(1, 5)) == [1, "duplicate"]


def test_another_value_or_another_channel_of_the_same_time_is_none() -> None:
    items = (record(1, 5, None), record(1, 6, None), record(1, None, 5))
    assert admitted(guard(), *items) == [1, 1, 1]


def test_the_same_value_at_another_time_is_no_repetition() -> None:
    assert admitted(guard(), record(1, 5), record(2, 5)) == [1, 2]


def received(record: Record, seconds: float) -> Record:
    return replace(record, received=round(seconds * 1_000))


def test_a_jump_ahead_waits_for_a_later_one_until_nothing_can_come_before_it() -> None:
    one = guard()
    assert admitted(one, record(1), record(100), received(record(101), 4.9)) == [1]
    assert admitted(one, received(record(102), 5)) == [100, 101, 102]


def test_a_jump_ahead_that_nothing_follows_is_refused() -> None:
    items = (record(1), record(100), received(record(2), 4.9), received(record(3), 5))
    assert admitted(guard(), *items) == [1, 2, 3, "clock"]


def test_what_overtook_others_waits_for_its_place() -> None:
    """What was sent while a connection broke comes behind what is newer."""
    older = [record(minute) for minute in range(2, 50)]
    one = guard()
    assert admitted(one, record(1), record(50), *older) == list(range(1, 51))
    assert admitted(one, record(51)) == [51]


@given(order=st.permutations(range(20, 28)), lost=st.sets(st.integers(2, 19), max_size=2))
def test_whatever_overtook_what_is_older_all_are_let_through_in_order(
    order: list[int], lost: set[int]
) -> None:
    older = [record(minute) for minute in range(2, 20) if minute not in lost]
    newer = [record(minute) for minute in order]
    found = admitted(guard(), record(1), *newer, *older, received(record(28), 5))
    assert found == [1, *(minute for minute in range(2, 29) if minute not in lost)]


def test_records_from_before_the_jump_leave_it_waiting() -> None:
    items = (record(2), record(100), received(record(1.5), 6), received(record(101), 7))
    assert admitted(guard(), *items) == [2, 1.5, 100, 101]


def test_the_channels_of_a_time_wait_together() -> None:
    items = (record(1), record(100, 5, None), record(100, None, 5), received(record(101), 6))
    assert admitted(guard(), *items) == [1, 100, 100, 101]


def test_records_far_apart_confirm_one_another() -> None:
    items = (received(record(100 * n), 6 * n) for n in range(1, 5))
    assert admitted(guard(), record(1), *items) == [1, 100, 200, 300]


def test_of_two_jumps_the_nearer_one_is_gone_on_with() -> None:
    items = (record(1), record(300), received(record(200), 6), received(record(201), 12))
    assert admitted(guard(), *items) == [1, "clock", 200, 201]


def test_what_waits_outlives_a_restart() -> None:
    one, other = guard(), guard()
    assert admitted(one, record(1), record(101), record(100)) == [1]
    other.restore(one.save())
    assert admitted(other, received(record(102), 5)) == [100, 101, 102]


def test_a_gap_is_measured_in_rows_as_that_of_windows_is() -> None:
    assert admitted(guard(), record(1.1), record(4.9), record(1.2)) == [1.1, 4.9, 1.2]


def test_a_silence_that_the_wall_clock_saw_too_is_no_jump() -> None:
    first = replace(record(1), received=1 * MINUTE)
    assert admitted(guard(), first, replace(record(100), received=90 * MINUTE)) == [1, 100]


def test_no_more_than_a_few_records_wait() -> None:
    one = guard()
    items = [record(100, float(value)) for value in range(MAX_DOUBTED + 1)]
    found = admitted(one, record(1), *items)
    assert found == [1, *["clock"] * MAX_DOUBTED]


def test_a_guard_that_is_off_lets_everything_through() -> None:
    one = guard(GuardSettings(enabled=False))
    assert admitted(one, record(1), record(1), record(100), record(2)) == [1, 1, 100, 2]
    assert one.judge(record(3, 1e6)).record.values[0] == np.float32(1e6)


@pytest.mark.parametrize("settings", [GuardSettings(), GuardSettings(enabled=False)])
def test_what_is_not_finite_never_goes_on(settings: GuardSettings) -> None:
    judged = guard(settings).judge(record(1, -INF, 5))
    assert np.isnan(judged.record.values[0])
    assert judged.record.values[1] == 5
    (mark,) = judged.marks
    assert (mark.channel, mark.value, mark.reason) == (0, -INF, "infinite")


def test_what_no_working_sensor_reports_is_missing_and_kept_aside() -> None:
    judged = guard().judge(record(1, 11, 5))
    assert judged.record.marked is not None
    assert judged.record.marked.tolist() == [True, False]
    assert judged.record.present.tolist() == [True, True]
    assert np.isnan(judged.record.values[0])
    (mark,) = judged.marks
    assert (mark.stream, mark.time, mark.value, mark.reason) == ("tank-1", MINUTE, 11, "range")


def test_the_ends_of_the_range_and_what_is_missing_are_fine() -> None:
    judged = guard().judge(record(1, 10, math.nan))
    assert judged.marks == ()
    assert judged.record.marked is None


def test_the_guard_leaves_the_record_that_it_was_given_alone() -> None:
    given = record(1, 11, 5)
    guard().judge(given)
    assert given.values[0] == 11


def test_learning_pauses_in_a_burst_and_goes_on_after_as_many_clean_records() -> None:
    one = guard(GuardSettings(burst=0.5, records=4))
    levels = [1, 11, 1, 11, 1, 1, 1, 1, 1]
    paused = []
    for minute, level in enumerate(levels):
        one.judge(record(minute, level))
        paused.append(one.paused)
    assert paused == [False, False, False, True, True, True, True, False, False]


@given(
    levels=st.lists(st.sampled_from([1.0, 1.01, 1.02, 1.03, 11.0, math.nan]), max_size=100),
    walks=st.integers(0, 80),
    cut=st.integers(1, 150),
    enabled=st.booleans(),
)
def test_it_makes_no_difference_whether_records_are_judged_together(
    levels: list[float], walks: int, cut: int, enabled: bool
) -> None:
    chosen = GuardSettings(burst=0.5, records=4, enabled=enabled)
    alone, together = guard(chosen), guard(chosen)
    levels = [1.0 + walk % 7 / 100 for walk in range(walks)] + levels
    items = [record(minute, level, 2.0) for minute, level in enumerate(levels)]
    for start in range(0, len(items), cut):
        part = items[start : start + cut]
        judged = [(alone.judge(item), alone.paused) for item in part]
        marked, paused = together.judge_all(part)
        assert paused == [pause for _, pause in judged]
        assert list(marked) == [place for place, (one, _) in enumerate(judged) if one.marks]
        for place, found in marked.items():
            expected = judged[place][0]
            assert found.marks == expected.marks
            np.testing.assert_array_equal(found.record.values, expected.record.values)
        assert together.save() == alone.save()


@given(
    steps=st.lists(st.sampled_from([0, 1, 1, 1, 1, 2, 3, 4, -2]), max_size=100),
    levels=st.lists(st.sampled_from([1.0, 2.0]), min_size=100, max_size=100),
    cut=st.integers(1, 60),
)
def test_it_makes_no_difference_whether_records_are_admitted_together(
    steps: list[int], levels: list[float], cut: int
) -> None:
    alone, together = guard(), guard()
    minutes = np.cumsum([1, *steps]).tolist()
    items = [
        received(record(minute, level), 60 * minute)
        for minute, level in zip(minutes, levels, strict=False)
    ]
    for start in range(0, len(items), cut):
        part = items[start : start + cut]
        expected = admitted(alone, *part)
        if together.admit_all(part):
            assert [item.time / MINUTE for item in part] == expected
        else:
            assert admitted(together, *part) == expected
        assert together.save() == alone.save()


def test_records_are_admitted_together_where_each_is_later_and_near() -> None:
    one = guard()
    one.admit(record(1))
    assert one.admit_all([record(2), record(5)])
    assert not one.admit_all([record(6), record(6, 2.0)])
    assert not one.admit_all([record(6), record(10)])
    assert admitted(one, record(5), record(6)) == ["duplicate", 6]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([-1, 1, 1, 1, 1, 2, 50]), st.sampled_from([1.0, 2.0, 9.0, 11.0, INF])
        ),
        max_size=60,
    ),
    st.integers(0, 60),
)
def test_a_restart_goes_on_exactly_there(steps: list[tuple[int, float]], cut: int) -> None:
    settings = GuardSettings(records=4)
    straight, first, second = guard(settings), guard(settings), guard(settings)
    minutes = np.cumsum([10_000, *(step for step, _ in steps)])[1:].tolist()
    items = [record(m, level) for m, (_, level) in zip(minutes, steps, strict=True)]

    def told(one: StreamGuard, given: list[Record]) -> list[object]:
        seen: list[object] = []
        for item in given:
            for found in one.admit(item):
                marks = () if isinstance(found, Refuse) else one.judge(found).marks
                seen.append((found.reason if isinstance(found, Refuse) else found.time, marks))
                seen.append(one.paused)
        return seen

    expected = told(straight, items)
    before = told(first, items[:cut])
    second.restore(first.save())
    assert before + told(second, items[cut:]) == expected
