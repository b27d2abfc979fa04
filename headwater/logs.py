"""Logging of the ``headwater`` command: to stderr, one line for each record."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

OURS = (
    "headwater",
    "headwater_models",
    "headwater_agent",
    "headwater_coordinator",
    "headwater_simulator",
)
"""The loggers whose level the user sets; other packages speak from ``warning`` on."""


class OneLine(logging.Formatter):
    """UTC time, level, logger and message; line breaks, also a traceback's, become `` | ``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        return " | ".join(super().format(record).splitlines())

    def formatTime(  # noqa: N802 - the name that logging calls
        self,
        record: logging.LogRecord,
        datefmt: str | None = None,  # noqa: ARG002 - there is one format
    ) -> str:
        """Return the record's time as ISO 8601 in UTC, to the millisecond."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def configure_logging(level: str) -> None:
    """Send all records to stderr, those of Headwater from *level* on; replaces what was set."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())
