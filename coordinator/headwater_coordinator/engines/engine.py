"""What the books ask of a database, in the SQL that SQLite and PostgreSQL both speak.

Values stand as ``?``, or as ``:name``. Whatever the two do not share is a method here: there is no
other place that knows one from the other. A database's own errors never leave an engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, Self

from headwater.errors import StorageError

Row = tuple[Any, ...]
Values = Sequence[object] | Mapping[str, object]


class Blobs(Protocol):
    """Byte strings where they lie, by their place in the list that was asked for."""

    def whole(self, index: int) -> bytes:
        """Return one."""

    def part(self, index: int, start: int, stop: int) -> bytes:
        """Return some bytes of one; cheap if the same ones of the others are asked for next."""


class Engine(ABC):
    """An open database.

    Every method raises :class:`.StorageError` when the database refuses or is away. Statements
    commit by themselves unless a transaction is open.

    Attributes
    ----------
    name
        Of the database, for sentences; it holds no secret.
    """

    name: str

    @classmethod
    @abstractmethod
    def writer(cls, location: Any) -> Self:
        """Open to write, alone; see :func:`.open_writer`."""

    @classmethod
    @abstractmethod
    def reader(cls, location: Any) -> Self:
        """Open to read, at one moment; see :func:`.open_reader`."""

    @abstractmethod
    def close(self) -> None:
        """Close the database; a reader lets go of its moment."""

    # The schema

    @property
    @abstractmethod
    def schema(self) -> int:
        """How many migrations the database has seen."""

    @abstractmethod
    def advance(self, script: str, schema: int) -> None:
        """Carry out a migration, written for SQLite, and note its number in one transaction."""

    # Statements

    @abstractmethod
    def execute(self, statement: str, values: Values = ()) -> list[Row]:
        """Carry out a statement and return all its rows."""

    @abstractmethod
    def execute_many(self, statement: str, rows: Sequence[Values]) -> None:
        """Carry out a statement once for each row of values."""

    @abstractmethod
    def records(self, statement: str, values: Values = ()) -> list[dict[str, Any]]:
        """Return the rows of a query by the names of its columns."""

    @abstractmethod
    def stream(self, statement: str, values: Values = ()) -> Iterator[Row]:
        """Yield the rows of a query one at a time; do nothing else with the engine meanwhile."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[object]:
        """Do all that is inside or nothing of it; one inside another belongs to that."""

    # What the two do not share

    @abstractmethod
    def blobs(self, table: str, column: str, ids: Sequence[int]) -> AbstractContextManager[Blobs]:
        """Read the byte strings of these rows where they lie; write nothing meanwhile."""

    @abstractmethod
    def numbers(self) -> dict[str, int]:
        """Return the highest number that each table, which numbers its rows itself, has given."""

    @abstractmethod
    def continue_from(self, table: str, number: int) -> None:
        """Let a table that numbers its rows itself give numbers above this one."""

    @abstractmethod
    def purge(self) -> None:
        """See that what was deleted is on the disk no more, as far as the database can."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the books, as they are at this moment, into a new file of SQLite."""

    # Rows

    def insert(self, table: str, row: Mapping[str, object]) -> None:
        """Add a row."""
        self.execute(_insert(table, row), tuple(row.values()))

    def upsert(self, table: str, row: Mapping[str, object], key: str) -> None:
        """Add a row, or change the one that has its key."""
        changes = ", ".join(f"{name} = excluded.{name}" for name in row if name != key)
        statement = f"{_insert(table, row)} ON CONFLICT ({key}) DO UPDATE SET {changes}"
        self.execute(statement, tuple(row.values()))

    def update(self, table: str, key: tuple[str, object], changes: Mapping[str, object]) -> None:
        """Change the row that has a value in its key's column.

        Raises
        ------
        StorageError
            When there is none.
        """
        column, value = key
        assigned = ", ".join(f"{name} = ?" for name in changes)
        statement = f"UPDATE {table} SET {assigned} WHERE {column} = ? RETURNING 1"  # noqa: S608 - ours
        if not self.execute(statement, (*changes.values(), value)):
            raise StorageError(f"{self.name} has no {column} {value!r} in its {table}.")


def _insert(table: str, row: Mapping[str, object]) -> str:
    places = ", ".join("?" * len(row))
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})"  # noqa: S608 - ours
