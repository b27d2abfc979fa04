"""The books, opened to be read and never written, whether a coordinator runs or not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from headwater.errors import StorageError
from headwater_coordinator.migrations import MIGRATIONS

S = TypeVar("S", bound=msgspec.Struct)


class Reader:
    """One consistent look at ``coordinator.db``.

    Parameters
    ----------
    connection
        Open for reading, inside a transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def rows(self, kind: type[S], query: str, **values: object) -> list[S]:
        """Return the rows of a query, as structs whose fields are its columns."""
        found = self.connection.execute(query, values).fetchall()
        made = [{name: row[name] for name in kind.__struct_fields__} for row in found]
        return [msgspec.convert(row, kind, strict=False) for row in made]

    def number(self, query: str, **values: object) -> int:
        """Return the one number that a query gives; 0 where it gives none."""
        found = self.connection.execute(query, values).fetchone()
        return int(found[0] or 0) if found else 0

    def counts(self, query: str) -> dict[str, int]:
        """Return what a query of names and numbers gives."""
        return {str(name): int(count) for name, count in self.connection.execute(query)}


@contextmanager
def reading(database: Path) -> Iterator[Reader]:
    """Read the books.

    Raises
    ------
    StorageError
        When there are none, they cannot be read, or they are not of this program's version.
    """
    if not database.is_file():
        raise StorageError(f"There is no {database}; name the coordinator's folder with --home.")
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            if schema != len(MIGRATIONS):
                raise StorageError(
                    f"{database} has schema {schema}, this program knows {len(MIGRATIONS)}; "
                    "start the coordinator, which brings it up to date, or update headwater."
                )
            yield Reader(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StorageError(f"{database} cannot be read: {error}.") from error
