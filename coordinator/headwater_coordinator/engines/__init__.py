"""Where the books lie: SQLite by default, PostgreSQL by URL. Nothing outside knows which it is.

:class:`.Engine` says what the books ask of a database; each engine is one module.
"""

from __future__ import annotations

from pathlib import Path

from headwater.errors import UnsupportedError
from headwater_coordinator.engines.engine import Blobs, Engine
from headwater_coordinator.engines.sqlite import SqliteEngine
from headwater_coordinator.location import Location

__all__ = ["Blobs", "Engine", "SqliteEngine", "open_reader", "open_writer"]


def _engine(location: Location) -> type[Engine]:
    if isinstance(location, Path):
        return SqliteEngine
    try:
        from headwater_coordinator.engines.postgresql import (  # noqa: PLC0415 - an extra
            PostgresqlEngine,
        )
    except ImportError as error:
        raise UnsupportedError(
            "Books in PostgreSQL need psycopg; install it with pip install 'headwater[postgresql]'."
        ) from error
    return PostgresqlEngine


def open_writer(location: Location) -> Engine:
    """Open the books to write; they are made where there are none, and have one writer at a time.

    Raises
    ------
    StorageError
        When they cannot be opened, or another process writes them.
    UnsupportedError
        When the library for PostgreSQL is not installed.
    """
    return _engine(location).writer(location)


def open_reader(location: Location) -> Engine:
    """Open the books to be read, as they are at one moment; raises as :func:`open_writer`."""
    return _engine(location).reader(location)
