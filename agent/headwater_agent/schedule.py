"""Hours of the day: parts of the local day such as ``22:00-06:00``, which may pass midnight."""

from __future__ import annotations

import re
from collections.abc import Collection

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]|24):([0-5]\d)")

DAY = 24 * 60
"""Minutes."""


def parse_hours(text: str) -> tuple[int, int]:
    """Return the first minute of the day that is inside, and the first that no longer is.

    Raises
    ------
    ValueError
        When the text is not ``HH:MM-HH:MM``, or both are the same.

    Examples
    --------
    >>> parse_hours("22:00-06:30")
    (1320, 390)
    """
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError(f'expected hours such as "22:00-06:00", got {text!r}')
    hour, minute, end_hour, end_minute = map(int, found.groups())
    start, end = 60 * hour + minute, 60 * end_hour + end_minute
    if end > DAY or start == end:
        raise ValueError(f"{text!r} has no minute in it, or one after midnight's 24:00")
    return start, end


def within(hours: Collection[str], minute: int) -> bool:
    """Say whether a minute of the day (0 to 1439) lies in any of some hours; in none: always."""
    return not hours or any(_inside(*parse_hours(text), minute) for text in hours)


def _inside(start: int, end: int, minute: int) -> bool:
    return start <= minute < end if start < end else minute >= start or minute < end
