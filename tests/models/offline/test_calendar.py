from __future__ import annotations

import pytest

from headwater.errors import SettingsError
from headwater_models.offline.calendar import find_calendar, read_calendar, time_columns
from tests.models.offline.tables import table

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
ROWS = table({"Year": [2026, 2026], "Month": [1, 1], "Day": [1, 1], "Hour": [12, 13], "x": [1, 2]})


def test_columns_called_year_month_day_are_a_calendar() -> None:
    assert find_calendar(ROWS) == "Year,Month,Day,Hour"
    assert find_calendar(table({"month": [1], "day": [1], "x": [1]})) is None


def test_the_columns_may_have_any_names_where_they_are_said() -> None:
    data = table({"Jahr": [2026], "Monat": [1], "Tag": [1], "h": [12], "min": [0], "s": [1]})
    columns = time_columns(data, "Jahr, Monat,Tag,h,min,s")
    assert read_calendar(data, columns).tolist() == [NOON + 1000]


def test_each_row_has_its_time() -> None:
    columns = time_columns(ROWS, "Year,Month,Day,Hour")
    assert read_calendar(ROWS, columns).tolist() == [NOON, NOON + 3_600_000]


def test_one_column_is_itself_even_with_a_comma_in_its_name() -> None:
    assert time_columns(table({"at, UTC": [1]}), "at, UTC") == ("at, UTC",)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("then", "no column 'then'"),
        ("Year,Month,Week", "no column 'Week'"),
        ("Year,Month", "expected one column, or YEAR,MONTH,DAY"),
    ],
)
def test_columns_that_are_no_calendar_are_refused(said: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        time_columns(ROWS, said)


@pytest.mark.parametrize("day", ["32", "", "1.5"])
def test_a_row_that_is_no_time_is_named(day: str) -> None:
    data = table({"year": [2026, 2026], "month": [1, 1], "day": ["1", day]})
    with pytest.raises(SettingsError, match="columns year, month, day, row 2: "):
        read_calendar(data, ("year", "month", "day"))
