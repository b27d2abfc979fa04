"""When the rows of a table were measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater.settings import Duration
from headwater_models.cells import Texts, is_missing, is_number, share
from headwater_models.offline.calendar import find_calendar, read_calendar, time_columns
from headwater_models.table import Table

TimeFormat = Literal["auto", "iso8601", "s", "ms", "us", "ns"]

Times = NDArray[np.int64]

EARLIEST = 946_684_800_000
"""2000-01-01: an earlier time is a clock that was never set, on a device too."""

MOSTLY = 0.9
"""A column of which at least this share are times was meant to say when."""

_NAMES = ("time", "timestamp", "datetime", "date", "ts", "ds", "event_time")
_PER_MS = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
_WHOLE = {"us": 1_000, "ns": 1_000_000}
_LOOKED_AT = 100
_LARGEST = (("s", 1e11), ("ms", 1e14), ("us", 1e17))
_ROUND = (
    *(1, 2, 5, 10, 20, 25, 40, 50, 100, 200, 250, 500),
    *(1000 * s for s in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
    *(60_000 * m for m in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
    *(3_600_000 * h for h in (1, 2, 3, 4, 6, 8, 12, 24)),
)


def find_time_column(table: Table) -> str | None:
    """Return the column that says when, by its name or because it holds dates; None: none does.

    Numbers are taken for times only where they lie in this century. Columns called year, month
    and day do together, see :mod:`.calendar`.

    Raises
    ------
    SettingsError
        When most cells of a column say when, but not all; naming the first.
    """
    dated = [name for name in table.columns if _unit(table.cells(name)) == "iso8601"]
    found = next((name for name in (*named(table), *dated) if _says_when(table, name)), None)
    return found or find_calendar(table)


def named(table: Table) -> list[str]:
    """Return the columns whose name says that they hold times."""
    return [name for name in table.columns if name.casefold() in _NAMES]


def read_times(table: Table, column: str, form: TimeFormat = "auto") -> Times:
    """Read a column of times, or several that are a calendar (``year,month,day``).

    Parameters
    ----------
    form
        ``iso8601`` (UTC where no offset is said), or the unit of numbers since 1970. ``auto``:
        numbers are of the unit in which they lie in this age.

    Returns
    -------
    numpy.ndarray
        int64 ``[R]``, UTC milliseconds.

    Raises
    ------
    SettingsError
        Naming the first row that is no time.
    """
    columns = time_columns(table, column)
    if len(columns) > 1:
        return read_calendar(table, columns)
    cells = table.cells(column)
    unit = (_unit(cells) or "iso8601") if form == "auto" else form
    times = np.empty(len(cells), np.int64)
    for row, cell in enumerate(cells):
        try:
            times[row] = _milliseconds(cell, unit)
        except (ValueError, OverflowError) as error:
            raise SettingsError(
                f"{table.at(column, row)}: {cell!r} is no time "
                f"({'ISO 8601, such as 2026-10-01T06:00:00Z' if unit == 'iso8601' else unit}); "
                "mend the row, say which form with --time-format, or name another column with "
                "--time."
            ) from error
    return times


def typical_period(streams: Sequence[Times]) -> Duration:
    """Return the median time between two rows, as a round duration where it is within 2 % of one.

    Raises
    ------
    SettingsError
        When no stream has two different times.
    """
    steps = [np.diff(np.unique(times)) for times in streams]
    between = np.concatenate([np.zeros(0, np.int64), *steps])
    if not len(between):
        raise SettingsError("No stream has two different times; give the period with --period.")
    median = float(np.median(between))
    nearest = min(_ROUND, key=lambda duration: abs(math.log(duration / median)))
    return Duration(nearest if abs(nearest / median - 1) <= 0.02 else max(1, round(median)))


def _says_when(table: Table, name: str) -> bool:
    cells = table.cells(name)
    try:
        early = np.flatnonzero(read_times(table, name) < EARLIEST)
    except SettingsError:
        if _share_of_times(cells) >= MOSTLY:
            raise
        return False
    if len(early) and _share_of_times(cells) >= MOSTLY:
        raise SettingsError(
            f"{table.at(name, early[0])}: {cells[early[0]]!r} lies before 2000, as of a clock that "
            "was never set; mend the row or leave it out."
        )
    return table.rows > 0 and not len(early)


def _share_of_times(cells: Texts) -> float:
    """Return which share of the cells that are there lies in this century."""
    unit = _unit(cells) or "iso8601"

    def is_time(cell: str) -> bool:
        try:
            return _milliseconds(cell, unit) >= EARLIEST
        except (ValueError, OverflowError):
            return False

    return share(cells, is_time)


def _unit(cells: Texts) -> str | None:
    """Return how the first of a few cells that can be read says when; None: none can be."""
    for cell in cells[:_LOOKED_AT]:
        if is_number(cell) and not is_missing(cell):
            size = abs(float(cell))
            return next((unit for unit, most in _LARGEST if size < most), "ns")
        if _is_date(cell):
            return "iso8601"
    return None


def _is_date(cell: str) -> bool:
    try:
        _iso_ms(cell)
    except (ValueError, OverflowError):
        return False
    return True


def _milliseconds(cell: str, unit: str) -> int:
    return _iso_ms(cell) if unit == "iso8601" else _scaled_ms(cell.strip(), unit)


def _iso_ms(cell: str) -> int:
    moment = datetime.fromisoformat(cell.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _scaled_ms(cell: str, unit: str) -> int:
    if unit in _WHOLE and cell.lstrip("-").isdigit():
        return int(cell) // _WHOLE[unit]
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return round(number * _PER_MS[unit])
