"""Logging of the ``headwater`` command: to stderr, one line for each record.

Where stderr is the systemd journal, each line begins with its priority in the journal's own way and
leaves the time to it. A line of code that repeats itself is cut short and counted.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO

OURS = (
    "headwater",
    "headwater_models",
    "headwater_agent",
    "headwater_coordinator",
    "headwater_simulator",
)
"""The loggers whose level the user sets; other packages speak from ``warning`` on."""

LogFormat = Literal["auto", "text", "json"]
"""``auto`` is text, without a time in the journal, which has its own."""

FORMAT_VARIABLE = "HEADWATER_LOG_FORMAT"

_FORMATS: dict[str, LogFormat] = {"text": "text", "json": "json"}

SHOWN = 60
"""Records of one line of code that are shown in each window; the rest are counted."""

WINDOW_S = 60.0

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))
"""The least level of each of syslog's priorities; see ``sd-daemon(3)``."""


class OneLine(logging.Formatter):
    """UTC time, level, logger and message; line breaks, also a traceback's, become `` | ``.

    Parameters
    ----------
    stamped
        Whether time and level are written; the journal knows both.
    """

    def __init__(self, *, stamped: bool = True) -> None:
        stamp = "%(asctime)s %(levelname)s " if stamped else ""
        super().__init__(f"{stamp}%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line = " | ".join(super().format(record).splitlines())
        withheld = _withheld(record)
        return f"{line} ({withheld:,} more like it were not shown)" if withheld else line

    def formatTime(  # noqa: N802 - the name that logging calls
        self,
        record: logging.LogRecord,
        datefmt: str | None = None,  # noqa: ARG002 - there is one format
    ) -> str:
        """Return the record's time as ISO 8601 in UTC, to the millisecond."""
        return _time(record)


class JsonLine(logging.Formatter):
    """One JSON object: time, level, logger, message; and a traceback and what was withheld."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        fields: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        if withheld := _withheld(record):
            fields["withheld"] = withheld
        return json.dumps(fields, ensure_ascii=False)


class Prioritised(logging.Formatter):
    """Another format behind ``<N>``, which the journal takes off and keeps as the priority."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        priority = next((p for least, p in _PRIORITIES if record.levelno >= least), 7)
        return f"<{priority}>{self._inner.format(record)}"


@dataclass(slots=True)
class _Window:
    """What one line of code said since a moment."""

    since: float
    shown: int = 0
    withheld: int = 0


class Stderr(logging.StreamHandler[TextIO]):
    """Writes to stderr at most :data:`SHOWN` records of each line of code in a window.

    What was withheld is said with the first record of a later window. Debugging is never cut short.

    Parameters
    ----------
    monotonic
        Seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._windows: dict[tuple[str, int], _Window] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it."""
        if record.levelno > logging.DEBUG and not self._may_be_shown(record):
            return
        super().emit(record)

    def _may_be_shown(self, record: logging.LogRecord) -> bool:
        now, site = self._monotonic(), (record.pathname, record.lineno)
        window = self._windows.setdefault(site, _Window(now))
        if now - window.since >= WINDOW_S:
            record.withheld = window.withheld
            window = self._windows[site] = _Window(now)
        if window.shown == SHOWN:
            window.withheld += 1
            return False
        window.shown += 1
        return True


def configure_logging(level: str, form: LogFormat | None = None) -> None:
    """Send all records to stderr, those of Headwater from *level* on; replaces what was set.

    Parameters
    ----------
    level
        ``debug``, ``info``, ``warning`` or ``error``.
    form
        How a line looks, also in the processes that this one starts; None: as it was told by the
        one that started it.
    """
    if form is None:
        form = _FORMATS.get(os.environ.get(FORMAT_VARIABLE, ""), "auto")
    os.environ[FORMAT_VARIABLE] = form
    journal = is_journal(2, os.environ)
    formatter: logging.Formatter = JsonLine()
    if form != "json":
        formatter = OneLine(stamped=form == "text" or not journal)
    handler = Stderr()
    handler.setFormatter(Prioritised(formatter) if journal else formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())


def is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Say whether what is written to a descriptor goes to the journal; see ``systemd.exec(5)``."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _withheld(record: logging.LogRecord) -> int:
    return int(getattr(record, "withheld", 0))
