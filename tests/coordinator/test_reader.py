from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headwater.errors import StorageError
from headwater_coordinator.database import Database
from headwater_coordinator.engines import open_writer
from headwater_coordinator.location import Location
from headwater_coordinator.reader import check, reading
from headwater_coordinator.state import Version


class Row(msgspec.Struct, frozen=True):
    version: str
    sequence: int


QUERY = "SELECT * FROM versions WHERE sequence >= :least"


@pytest.mark.both_engines
def test_rows_become_structs_and_a_look_is_one_moment(location: Location) -> None:
    with Database(location) as database:
        with reading(location) as empty:
            assert empty.rows(Row, QUERY, least=1) == []
            database.begin(Version("1" * 64, 1, "", "{}"), 1)
            assert empty.rows(Row, QUERY, least=1) == []
        with reading(location) as full:
            assert full.rows(Row, QUERY, least=1) == [Row("1" * 64, 1)]
            assert full.rows(Row, QUERY, least=2) == []
            assert full.number("SELECT max(sequence) FROM versions") == 1
            assert full.counts("SELECT kind, count(*) FROM versions GROUP BY 1") == {"release": 1}


@pytest.mark.both_engines
def test_books_are_never_written_by_who_reads(location: Location) -> None:
    Database(location).close()
    with (
        pytest.raises(StorageError, match=r"cannot be read: (attempt to write|cannot execute)"),
        reading(location) as books,
    ):
        books.number("DELETE FROM versions")


@pytest.mark.both_engines
def test_an_empty_database_is_no_books(location: Location) -> None:
    open_writer(location).close()
    with pytest.raises(StorageError, match="holds no books; `init` or `restore`"):
        check(location)
    with pytest.raises(StorageError, match="holds no books"), reading(location):
        pass


def test_what_is_missing_damaged_or_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    with pytest.raises(StorageError, match="There is no"), reading(path):
        pass
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="cannot be read"), reading(path):
        pass
    path.unlink()
    with Database(path) as database:
        database._engine.execute("PRAGMA user_version = 1")
    with pytest.raises(StorageError, match="has schema 1"), reading(path):
        pass
