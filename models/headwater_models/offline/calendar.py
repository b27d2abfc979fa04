"""Times that a table spells out in several columns: year, month, day, hour, minute, second."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater_models.table import Table

UNITS = ("year", "month", "day", "hour", "minute", "second")
LEAST = 3
"""A time needs a day at least."""


def time_columns(table: Table, said: str) -> tuple[str, ...]:
    """Return the columns that a wish for the time means: one, or several after commas.

    Raises
    ------
    SettingsError
        When one is not there, or several are no calendar.
    """
    if said in table.columns or "," not in said:
        table.cells(said)
        return (said,)
    columns = tuple(name.strip() for name in said.split(","))
    for name in columns:
        table.cells(name)
    if not LEAST <= len(columns) <= len(UNITS):
        raise SettingsError(
            f"--time {said}: expected one column, or YEAR,MONTH,DAY and then HOUR, MINUTE, SECOND "
            "as far as there are any."
        )
    return columns


def stands_in(table: Table, said: str) -> bool:
    """Say whether a table has what was said to be the time of another."""
    return all(name.strip() in table.columns for name in said.split(",")) or said in table.columns


def find_calendar(table: Table) -> str | None:
    """Return the columns called year, month, day and so on, with commas between; None: none are."""
    by_name = {name.casefold(): name for name in table.columns}
    found = []
    for unit in UNITS:
        if unit not in by_name:
            break
        found.append(by_name[unit])
    return ",".join(found) if len(found) >= LEAST else None


def read_calendar(table: Table, columns: tuple[str, ...]) -> NDArray[np.int64]:
    """Return UTC milliseconds ``[R]`` of rows whose year, month, day, ... stand in columns.

    Raises
    ------
    SettingsError
        Naming the first row that is no time.
    """
    parts = np.stack([table.numbers(name) for name in columns], axis=1)
    times = np.empty(table.rows, np.int64)
    for row, numbers in enumerate(parts.tolist()):
        try:
            times[row] = _milliseconds(numbers)
        except ValueError as error:
            source, number = table.place(row)
            raise SettingsError(
                f"{source}: columns {', '.join(columns)}, row {number}: {error}; mend the row, or "
                "name another column with --time."
            ) from error
    return times


def _milliseconds(numbers: list[float]) -> int:
    whole = [int(number) for number in numbers if number == number // 1]
    if len(whole) < len(numbers):
        raise ValueError("a part of the time is missing, or no whole number")
    year, month, day, hour, minute, second = [*whole, 0, 0, 0][: len(UNITS)]
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return round(moment.timestamp()) * 1000
