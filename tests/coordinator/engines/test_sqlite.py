"""A file of SQLite: its owner's alone, whole, and its tables in an order that can be copied."""

from __future__ import annotations

import stat
from contextlib import closing
from pathlib import Path

import pytest

from headwater.errors import StorageError
from headwater_coordinator.engines import SqliteEngine
from headwater_coordinator.migrations import migrate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "books.db"
    with closing(SqliteEngine.writer(made)) as engine:
        migrate(engine)
    return made


def test_a_new_file_is_its_owners_alone(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_commit_is_on_the_disk_when_it_is_one(path: Path) -> None:
    with closing(SqliteEngine.writer(path)) as engine:
        for pragma, value in (("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1)):
            assert engine.execute(f"PRAGMA {pragma}") == [(value,)]
        assert engine.execute("PRAGMA journal_mode") == [("wal",)]


def test_a_table_comes_after_those_that_it_points_to(path: Path) -> None:
    with closing(SqliteEngine.reader(path)) as engine:
        tables = engine.tables()
        for place, table in enumerate(tables):
            pointed = engine.execute('SELECT "table" FROM pragma_foreign_key_list(?)', (table,))
            assert {name for (name,) in pointed} <= set(list(tables)[:place])
    assert tables["strategy_states"] == ["version", "strategy", "state"]


def test_a_file_that_is_none_or_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "books.db"
    with pytest.raises(StorageError, match="There is no "):
        SqliteEngine.reader(path)
    path.write_bytes(b"hello" * 1_000)
    with pytest.raises(StorageError, match=r"books\.db cannot be read"):
        SqliteEngine.reader(path)
    with pytest.raises(StorageError, match=r"books\.db cannot be used"):
        SqliteEngine.writer(path)
    with pytest.raises(StorageError, match="cannot be used"):
        SqliteEngine.writer(tmp_path / "nowhere" / "books.db")


def test_damage_is_found(path: Path) -> None:
    with closing(SqliteEngine.reader(path)) as engine:
        engine.check()
    data = bytearray(path.read_bytes())
    data[16_384 : 16_384 + 64] = bytes(range(64))
    path.write_bytes(data)
    with (
        closing(SqliteEngine.reader(path)) as engine,
        pytest.raises(StorageError, match=r"damaged|malformed"),
    ):
        engine.check()
