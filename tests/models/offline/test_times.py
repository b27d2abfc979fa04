from __future__ import annotations

import numpy as np
import pytest

from headwater.errors import SettingsError
from headwater_models.offline.times import (
    TimeFormat,
    find_time_column,
    read_times,
    typical_period,
)
from tests.models.offline.tables import minutes, table

SIX = 1_790_834_400_000  # 2026-10-01T06:00:00Z


@pytest.mark.parametrize(
    "cell",
    [
        "2026-10-01T06:00:00Z",
        "2026-10-01 06:00:00",
        "2026-10-01T08:00:00+02:00",
        "1790834400",
        "1790834400.0",
        "1790834400000",
        "1790834400000000",
        "1790834400000000000",
    ],
)
def test_a_time_is_understood_however_it_is_written(cell: str) -> None:
    assert read_times(table({"t": [cell]}), "t").tolist() == [SIX]


@pytest.mark.parametrize(("form", "cell"), [("s", "12.5"), ("ms", "12500"), ("us", "12500000")])
def test_elapsed_time_is_read_where_the_unit_is_said(form: TimeFormat, cell: str) -> None:
    assert read_times(table({"t": [cell]}), "t", form).tolist() == [12_500]


@pytest.mark.parametrize(("cell", "form"), [("yesterday", "auto"), ("", "s"), ("nan", "s")])
def test_what_is_no_time_is_named_with_its_row(cell: str, form: TimeFormat) -> None:
    with pytest.raises(SettingsError, match="column t, row 2"):
        read_times(table({"t": ["2026-10-01" if form == "auto" else "5", cell]}), "t", form)


def test_the_column_is_found_by_its_name_or_because_it_holds_dates() -> None:
    dates = minutes(3)
    assert find_time_column(table({"x": [1, 2, 3], "Timestamp": dates, "y": dates})) == "Timestamp"
    assert find_time_column(table({"x": [1, 2, 3], "made": dates})) == "made"
    assert find_time_column(table({"x": [1, 2, 3], "name": ["a", "b", "c"]})) is None


def test_one_bad_row_is_named_and_does_not_hide_the_column() -> None:
    cells = [*minutes(20), "yesterday", *minutes(20, start=21)]
    with pytest.raises(SettingsError, match="column date, row 21: 'yesterday' is no time"):
        find_time_column(table({"date": cells}))
    with pytest.raises(SettingsError, match="column made, row 1: 'unknown' is no time"):
        find_time_column(table({"made": ["unknown", *minutes(20)]}))
    with pytest.raises(SettingsError, match=r"column date, row 2: '1970-.* lies before 2000"):
        find_time_column(table({"date": ["2026-01-01", "1970-01-01", *minutes(20)]}))


def test_a_calendar_is_found_where_no_column_alone_says_when() -> None:
    parts = {"year": [2026, 2026], "month": [10, 10], "day": [1, 2], "hour": [6, 6]}
    assert find_time_column(table(parts)) == "year,month,day,hour"
    assert find_time_column(table(parts | {"at": minutes(2)})) == "at"
    assert read_times(table(parts), "year,month,day,hour").tolist() == [SIX, SIX + 86_400_000]


def test_small_numbers_are_no_times_even_under_a_name_that_says_so() -> None:
    assert find_time_column(table({"date": [0, 0.5, 1.0], "x": [1, 2, 3]})) is None


@pytest.mark.parametrize(
    ("steps", "period"),
    [([60_000] * 5, "1min"), ([59_000, 60_000, 61_000], "1min"), ([61_500] * 3, "61500ms")],
)
def test_the_period_is_the_median_and_round_where_it_nearly_is(
    steps: list[int], period: str
) -> None:
    times = np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)
    assert str(typical_period([times, times])) == period


def test_without_two_times_there_is_no_period() -> None:
    with pytest.raises(SettingsError, match="--period"):
        typical_period([np.zeros(3, np.int64)])
