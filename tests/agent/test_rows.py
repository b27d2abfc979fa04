from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.events import Record, Row
from headwater_agent.rows import StreamRows
from tests.agent.model import manifest, record

NAN = float("nan")


def rows_of(rows: StreamRows, *records: Record) -> list[tuple[int, list[float]]]:
    made: list[Row] = []
    for item in records:
        if rows.accepts(item):
            made.extend(rows.add(item))
    return [(row.slot, [float(value) for value in row.values]) for row in made]


def join(*records: Record, **grid: int) -> list[tuple[int, list[float]]]:
    return rows_of(StreamRows("tank-1", manifest(**grid).grid, 2), *records)


def test_a_record_with_every_channel_is_a_row_at_once() -> None:
    assert join(record(5, 1, 2)) == [(5, [1, 2])]


def test_records_for_single_channels_are_joined_in_their_slot() -> None:
    assert join(record(5, 1, None), record(5.5, None, 2)) == [(5, [1, 2])]


def test_an_incomplete_slot_closes_when_the_lateness_has_passed() -> None:
    made = join(record(5, 1, None), record(6, 1, None), record(7, 1, None), lateness=1)
    assert [slot for slot, _ in made] == [5]
    np.testing.assert_array_equal(made[0][1], [1, NAN])


def test_a_record_within_the_lateness_is_put_in_order() -> None:
    made = join(record(5, 1, 1), record(7, 3, 3), record(6, 2, 2), lateness=2)
    assert made == [(5, [1, 1]), (6, [2, 2]), (7, [3, 3])]


def test_a_record_for_a_closed_slot_is_not_accepted() -> None:
    rows = StreamRows("tank-1", manifest().grid, 2)
    assert list(rows.add(record(5)))
    assert not rows.accepts(record(5))
    assert not rows.accepts(record(4))


def test_a_short_silence_becomes_missing_rows() -> None:
    made = join(record(5, 1, 1), record(7, 3, 3))
    assert [slot for slot, _ in made] == [5, 6, 7]
    assert np.isnan(made[1][1]).all()


def test_a_silence_over_the_largest_gap_leaves_a_jump() -> None:
    assert [slot for slot, _ in join(record(5), record(9), max_gap=3)] == [5, 9]


def test_a_missing_cell_is_held_over_for_as_many_rows_as_allowed() -> None:
    made = join(record(5, 7, 1), record(6, NAN, 1), record(7, NAN, 1), record(8, NAN, 1), hold=2)
    np.testing.assert_array_equal([values[0] for _, values in made], [7, 7, 7, NAN])


def test_a_held_cell_is_not_marked_as_observed() -> None:
    rows = StreamRows("tank-1", manifest(hold=3).grid, 2)
    list(rows.add(record(5, 7, 1)))
    (row,) = rows.add(record(6, NAN, 1))
    assert row.values[0] == 7
    assert row.observed.tolist() == [False, True]


records = st.lists(
    st.builds(
        record,
        st.integers(0, 40),
        st.one_of(st.none(), st.floats(0, 10, width=32)),
        st.one_of(st.none(), st.floats(0, 10, width=32)),
    ),
    max_size=60,
)


@given(records, st.integers(0, 3), st.integers(0, 3))
def test_each_slot_comes_once_and_in_order(items: list[Record], lateness: int, hold: int) -> None:
    slots = [slot for slot, _ in join(*items, lateness=lateness, hold=hold)]
    assert slots == sorted(set(slots))


@given(records, st.integers(0, 60), st.integers(0, 3))
def test_a_restart_between_two_records_changes_nothing(
    items: list[Record], cut: int, lateness: int
) -> None:
    settings = manifest(lateness=lateness, hold=2)
    straight = rows_of(StreamRows("tank-1", settings.grid, 2), *items)
    first = StreamRows("tank-1", settings.grid, 2)
    before = rows_of(first, *items[:cut])
    second = StreamRows("tank-1", settings.grid, 2)
    second.restore(first.progress())
    np.testing.assert_equal(before + rows_of(second, *items[cut:]), straight)


@given(records)
def test_joining_keeps_no_reference_to_a_record(items: list[Record]) -> None:
    copies = [item.values.copy() for item in items]
    join(*items, lateness=1, hold=1)
    for item, copy in zip(items, copies, strict=True):
        np.testing.assert_array_equal(item.values, copy)


whole = st.lists(
    st.builds(record, st.integers(0, 12), st.sampled_from([1.0, 2.0, NAN]), st.just(3.0)),
    max_size=12,
)


@given(whole, st.integers(0, 2))
def test_whole_rows_that_follow_one_another_may_be_joined_together(
    items: list[Record], hold: int
) -> None:
    grid = manifest(hold=hold, lateness=1).grid
    single, together = StreamRows("tank-1", grid, 2), StreamRows("tank-1", grid, 2)
    one_by_one: list[Row] = []
    at_once: list[Row] = []
    for start in range(0, len(items), 3):
        part = items[start : start + 3]
        if not together.follow(part):
            continue
        at_once += together.append(part)
        one_by_one += (row for item in part for row in single.add(item))
    assert [(row.slot, row.marked) for row in at_once] == [(r.slot, r.marked) for r in one_by_one]
    for ours, theirs in zip(at_once, one_by_one, strict=True):
        np.testing.assert_array_equal(ours.values, theirs.values)
        np.testing.assert_array_equal(ours.observed, theirs.observed)
    assert together.progress() == single.progress()


def test_only_whole_rows_that_come_next_follow() -> None:
    rows = StreamRows("tank-1", manifest().grid, 2)
    assert rows.follow([record(5), record(6)])
    assert not rows.follow([record(5), record(7)])
    assert not rows.follow([record(5), record(6, 1, None)])
    rows.append([record(5)])
    assert rows.follow([record(6)])
    assert not rows.follow([record(5)])
    assert not rows.follow([record(7)])
    list(rows.add(record(7, 1, None)))
    assert not rows.follow([record(6)])
