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
from headwater_models.table import Table

TimeFormat = Literal["auto", "iso8601", "s", "ms", "us", "ns"]

Times = NDArray[np.int64]

EARLIEST = 946_684_800_000
"""2000-01-01: an earlier time is a clock that was never set, on a device too."""

_NAMES = ("time", "timestamp", "datetime", "date", "ts", "ds", "event_time")
_PER_MS = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
_WHOLE = {"us": 1_000, "ns": 1_000_000}
_LARGEST = (("s", 1e11), ("ms", 1e14), ("us", 1e17))
_ROUND = (
    *(1, 2, 5, 10, 20, 25, 40, 50, 100, 200, 250, 500),
    *(1000 * s for s in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
    *(60_000 * m for m in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
    *(3_600_000 * h for h in (1, 2, 3, 4, 6, 8, 12, 24)),
)


def find_time_column(table: Table) -> str | None:
    """Return the column that says when, by its name or because it holds dates; None: none does.

    Numbers are taken for times only where they lie in this century.
    """
    named = [name for name in table.columns if name.casefold() in _NAMES]
    dated = [name for name in table.columns if _unit(table.cells(name)) == "iso8601"]
    return next((name for name in (*named, *dated) if _says_when(table, name)), None)


def read_times(table: Table, column: str, form: TimeFormat = "auto") -> Times:
    """Read a column of times.

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
    cells = table.cells(column)
    unit = _unit(cells) if form == "auto" else form
    times = np.empty(len(cells), np.int64)
    for row, cell in enumerate(cells):
        try:
            times[row] = _iso_ms(cell) if unit == "iso8601" else _scaled_ms(cell.strip(), unit)
        except (ValueError, OverflowError) as error:
            raise SettingsError(
                f"{table.source}: column {column}, row {row + 1}: {cell!r} is no time "
                f"({'ISO 8601, such as 2026-10-01T06:00:00Z' if unit == 'iso8601' else unit}); "
                "say which with --time-format, or name another column with --time."
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
    try:
        times = read_times(table, name)
    except SettingsError:
        return False
    return len(times) > 0 and int(times.min()) >= EARLIEST


def _unit(cells: Sequence[str]) -> str:
    first = next((cell for cell in cells if cell.strip()), "")
    try:
        size = abs(float(first))
    except ValueError:
        return "iso8601"
    return next((unit for unit, most in _LARGEST if size < most), "ns")


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
