from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.columns import (
    RecordRun,
    RowRun,
    observed_of,
    receipts_of,
    slot_numbers,
    slots_of,
    streams_of,
    times_of,
    values_of,
)
from headwater_agent.events import Record, Row
from tests.agent.model import floats

VALUES = np.arange(12, dtype=np.float32).reshape(6, 2)
PRESENT = np.array([True, True])
MARKED = {2: np.array([True, False])}

RECORDS = RecordRun("tank-1", np.arange(10, 70, 10), VALUES, PRESENT, 7, range(6), MARKED)
ROWS = RowRun("tank-1", 5, VALUES, VALUES > 3, {2})


def told(items: Iterable[Record | Row]) -> list[object]:
    return [
        (one.stream, one.time, one.values.tolist(), one.receipt, one.received, repr(one.marked))
        if isinstance(one, Record)
        else (one.stream, one.slot, one.values.tolist(), one.observed.tolist(), one.marked)
        for one in items
    ]


slices = st.builds(
    slice,
    st.none() | st.integers(-8, 8),
    st.none() | st.integers(-8, 8),
    st.sampled_from([None, 1, 2, -1]),
)


@pytest.mark.parametrize("items", [RECORDS, ROWS])
@given(part=slices)
def test_a_part_of_a_run_is_what_it_is_of_a_list(items: RecordRun | RowRun, part: slice) -> None:
    one_by_one: list[Record | Row] = [*items]
    assert told([*items[part]]) == told(one_by_one[part])
    assert told([items[at] for at in range(-6, 6)]) == told(one_by_one * 2)
    with pytest.raises(IndexError):
        items[6]


def test_a_part_that_goes_on_without_a_gap_is_a_run() -> None:
    assert isinstance(RECORDS[1:3], RecordRun)
    assert isinstance(ROWS[1:3], RowRun)


def test_records_with_marks_take_the_place_of_the_same_without() -> None:
    judged = Record("tank-1", 50, floats(np.nan, 9), PRESENT, 7, 4, marked=np.array([True, False]))
    run = RECORDS.with_marked({4: judged})
    expected = [judged if at == 4 else record for at, record in enumerate(RECORDS)]
    assert repr(told(run)) == repr(told(expected))
    assert values_of(RECORDS)[4].tolist() == [8, 9]


@pytest.mark.parametrize("records", [RECORDS, RECORDS[:2], RECORDS[:0]])
def test_columns_of_records_are_the_same_of_a_run_and_of_a_list(records: Sequence[Record]) -> None:
    one_by_one = list(records)
    assert list(times_of(records)) == list(times_of(one_by_one))
    assert list(receipts_of(records)) == list(receipts_of(one_by_one))
    assert streams_of(records) == streams_of(one_by_one)
    if records:
        np.testing.assert_array_equal(values_of(records), values_of(one_by_one))


@pytest.mark.parametrize("rows", [ROWS, ROWS[:2]])
def test_columns_of_rows_are_the_same_of_a_run_and_of_a_list(rows: Sequence[Row]) -> None:
    one_by_one = list(rows)
    assert list(slots_of(rows)) == list(slots_of(one_by_one))
    assert slot_numbers(rows).tolist() == slot_numbers(one_by_one).tolist() == list(slots_of(rows))
    assert streams_of(rows) == streams_of(one_by_one)
    np.testing.assert_array_equal(values_of(rows), values_of(one_by_one))
    np.testing.assert_array_equal(observed_of(rows), observed_of(one_by_one))
