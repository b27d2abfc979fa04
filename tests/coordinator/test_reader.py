from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headwater.errors import StorageError
from headwater_coordinator.database import Database
from headwater_coordinator.reader import reading
from headwater_coordinator.state import Version


class Row(msgspec.Struct, frozen=True):
    version: str
    sequence: int


QUERY = "SELECT * FROM versions WHERE sequence >= :least"


def test_rows_become_structs_and_a_look_is_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    with Database(path) as database:
        with reading(path) as empty:
            assert empty.rows(Row, QUERY, least=1) == []
            database.begin(Version("1" * 64, 1, "", "{}"), 1)
            assert empty.rows(Row, QUERY, least=1) == []
        with reading(path) as full:
            assert full.rows(Row, QUERY, least=1) == [Row("1" * 64, 1)]
            assert full.rows(Row, QUERY, least=2) == []
            assert full.number("SELECT max(sequence) FROM versions") == 1
            assert full.counts("SELECT kind, count(*) FROM versions GROUP BY 1") == {"release": 1}


def test_books_are_never_written_by_who_reads(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    Database(path).close()
    with (
        pytest.raises(StorageError, match="cannot be read: attempt to write"),
        reading(path) as books,
    ):
        books.number("DELETE FROM versions")


def test_what_is_missing_damaged_or_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    with pytest.raises(StorageError, match="There is no"), reading(path):
        pass
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="cannot be read"), reading(path):
        pass
    path.unlink()
    with Database(path) as database:
        database._connection.execute("PRAGMA user_version = 1")
    with pytest.raises(StorageError, match="has schema 1"), reading(path):
        pass
