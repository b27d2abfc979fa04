"""Moments as people write and read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headwater.errors import SettingsError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_moment(option: str, text: str) -> int:
    """Return UTC milliseconds.

    Parameters
    ----------
    option
        What to call it in an error.
    text
        ISO 8601; without an offset it is UTC.

    Raises
    ------
    SettingsError
        When it is no time.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SettingsError(
            f"{option}: {text!r} is no time; write it as 2026-10-01 or 2026-10-01T06:00:00Z."
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def show_moment(time_ms: int) -> str:
    """Write UTC milliseconds to the second.

    Examples
    --------
    >>> show_moment(1_700_000_040_000)
    '2023-11-14 22:14:00Z'
    """
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return f"{moment.replace(tzinfo=None).isoformat(' ', 'seconds')}Z"
