from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlite_utils import Database

from headwater.errors import StorageError
from headwater_agent.migrations import AGENT, migrate


@pytest.fixture
def connection() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def _first(db: Database) -> None:
    db.table("a").create({"id": int}, pk="id")


def _second(db: Database) -> None:
    db.table("b").create({"id": int}, pk="id")


def _failing(db: Database) -> None:
    db.table("c").create({"id": int}, pk="id")
    db.execute("SELECT * FROM nowhere")


def tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_only_the_steps_that_lack_are_taken(connection: sqlite3.Connection) -> None:
    migrate(connection, [_first], Path("x"))
    migrate(connection, [_first, _second], Path("x"))
    assert (tables(connection), version(connection)) == ({"a", "b"}, 2)
    connection.close()


def test_a_step_that_fails_leaves_no_trace_and_keeps_those_before(
    connection: sqlite3.Connection,
) -> None:
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, [_first, _failing], Path("x"))
    assert (tables(connection), version(connection)) == ({"a"}, 1)
    migrate(connection, [_first, _second], Path("x"))
    assert version(connection) == 2
    connection.close()


def test_a_newer_layout_is_refused(connection: sqlite3.Connection) -> None:
    migrate(connection, [_first, _second], Path("x"))
    with pytest.raises(StorageError, match="x has layout 2, this program knows up to 1"):
        migrate(connection, [_first], Path("x"))
    connection.close()


def test_the_agents_layout_has_its_tables(connection: sqlite3.Connection) -> None:
    migrate(connection, AGENT, Path("x"))
    assert tables(connection) >= {
        "streams",
        "rows",
        "examples",
        "predictions",
        "checkpoint",
        "updates",
        "events",
        "counters",
        "standing",
    }
    connection.close()
