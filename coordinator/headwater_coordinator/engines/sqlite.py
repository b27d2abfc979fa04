"""The books in a file of SQLite, with sqlite-utils."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Self

import sqlite_utils

from headwater.errors import StorageError
from headwater_coordinator.engines.engine import Blobs, Engine, Row, Values

_WRITER_WAITS_S = 30.0
_READER_WAITS_S = 10.0
_TO_WRITE = (
    "PRAGMA page_size = 16384",  # vectors are read faster
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
)
_TO_READ = ("BEGIN", "SELECT 1 FROM sqlite_master")


class SqliteEngine(Engine):
    """A file of SQLite.

    Parameters
    ----------
    path
        The file.
    connection
        To it; each statement commits by itself.
    use
        What is done with it, for sentences.
    opening
        Statements that come first.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, use: str, opening: Sequence[str]
    ) -> None:
        self.name = str(path)
        self._connection = connection
        self._db = sqlite_utils.Database(connection, execute_plugins=False)
        self._use = use
        try:
            for statement in opening:
                self.execute(statement)
        except StorageError:
            connection.close()
            raise

    @classmethod
    def writer(cls, location: Path) -> Self:
        """Open a file to write; a new one is its owner's alone."""
        try:
            location.touch(mode=0o600)
            connection = sqlite3.connect(location, timeout=_WRITER_WAITS_S, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{location} cannot be used: {error}.") from error
        return cls(location, connection, "used", _TO_WRITE)

    @classmethod
    def reader(cls, location: Path) -> Self:
        """Open a file to read."""
        if not location.is_file():
            raise StorageError(
                f"There is no {location}; name the coordinator's folder with --home."
            )
        try:
            connection = sqlite3.connect(
                f"file:{location}?mode=ro", uri=True, timeout=_READER_WAITS_S, isolation_level=None
            )
        except sqlite3.Error as error:
            raise StorageError(f"{location} cannot be read: {error}.") from error
        return cls(location, connection, "read", _TO_READ)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def schema(self) -> int:
        """How many migrations the file has seen."""
        ((version,),) = self.execute("PRAGMA user_version")
        return int(version)

    def advance(self, script: str, schema: int) -> None:
        """Carry out a migration and note its number."""
        try:
            self._connection.executescript(
                f"BEGIN; {script}; PRAGMA user_version = {schema}; COMMIT;"
            )
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def execute(self, statement: str, values: Values = ()) -> list[Row]:
        """Carry out a statement and return all its rows."""
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def execute_many(self, statement: str, rows: Sequence[Values]) -> None:
        """Carry out a statement once for each row of values."""
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def records(self, statement: str, values: Values = ()) -> list[dict[str, Any]]:
        """Return the rows of a query by the names of its columns."""
        try:
            cursor = self._connection.execute(statement, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def stream(self, statement: str, values: Values = ()) -> Iterator[Row]:
        """Yield the rows of a query one at a time."""
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all that is inside or nothing of it."""
        try:
            with self._db.atomic():
                yield
        except sqlite3.Error as error:
            raise self._failed(error) from error

    @contextmanager
    def blobs(self, table: str, column: str, ids: Sequence[int]) -> Iterator[Blobs]:
        """Read the byte strings of these rows where they lie."""
        try:
            with ExitStack() as opened:
                yield _Opened(self._connection, (table, column), ids, opened)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def numbers(self) -> dict[str, int]:
        """Return the highest number that each table, which numbers its rows itself, has given."""
        found = {
            table.name: self.execute(f"SELECT coalesce(max(rowid), 0) FROM {table.name}")[0][0]  # noqa: S608 - ours
            for table in self._db.tables
            if any(column.is_pk and column.type == "INTEGER" for column in table.columns)
        }
        return found | dict(self.execute("SELECT name, seq FROM sqlite_sequence"))

    def continue_from(self, table: str, number: int) -> None:
        """Let a table give numbers above this one, where it never gives one again."""
        keeps = "SELECT 1 FROM sqlite_master WHERE name = ? AND sql LIKE '%AUTOINCREMENT%'"
        if not self.execute(keeps, (table,)):
            return
        found = self.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ? RETURNING 1",
            (number, table),
        )
        if not found:
            self.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, number))

    def purge(self) -> None:
        """Empty the write-ahead log; in the file itself what is deleted is overwritten."""
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def save(self, path: Path) -> None:
        """Copy the file as it is at this moment."""
        try:
            with closing(sqlite3.connect(path)) as target:
                self._connection.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    # What only a file of SQLite is asked

    def check(self) -> None:
        """Read the whole file.

        Raises
        ------
        StorageError
            When it is damaged.
        """
        ((found,),) = self.execute("PRAGMA integrity_check(1)")
        if found != "ok":
            raise StorageError(f"{self.name} is damaged: {found}.")

    def tables(self) -> dict[str, list[str]]:
        """Return the columns of each table; one comes after those that its rows point to."""
        return {
            table.name: [column.name for column in table.columns]
            for table in self._db.tables
            if not table.name.startswith("sqlite_")
        }

    def _failed(self, error: sqlite3.Error) -> StorageError:
        return StorageError(f"{self.name} cannot be {self._use}: {error}.")


class _Opened:
    """Blobs, opened when a part is first asked for.

    An open blob remembers where its pages are, so that a part costs what it is long.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        where: tuple[str, str],
        ids: Sequence[int],
        opened: ExitStack,
    ) -> None:
        self._connection = connection
        self._where = where
        self._ids = ids
        self._opened = opened
        self._blobs: dict[int, sqlite3.Blob] = {}

    def whole(self, index: int) -> bytes:
        with self._blob(index) as blob:
            return blob.read()

    def part(self, index: int, start: int, stop: int) -> bytes:
        if index not in self._blobs:
            self._blobs[index] = self._opened.enter_context(self._blob(index))
        blob = self._blobs[index]
        blob.seek(start)
        return blob.read(stop - start)

    def _blob(self, index: int) -> sqlite3.Blob:
        return self._connection.blobopen(*self._where, self._ids[index], readonly=True)
