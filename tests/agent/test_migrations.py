from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlite_utils import Database

from headwater.errors import StorageError
from headwater_agent.events import Prediction
from headwater_agent.layout import NEWEST
from headwater_agent.migrations import AGENT, migrate
from headwater_agent.settings import StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from tests.agent.making import prediction, row, small_manifest


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


LAYOUT_5 = """
INSERT INTO streams VALUES (1, 's', x'c0'), (4, 't', NULL);
INSERT INTO checkpoint VALUES (1, x'c0', 3);
INSERT INTO standing VALUES (0, x'01'), (4, x'02');
INSERT INTO counters VALUES ('rows-dropped', 7);
INSERT INTO marks VALUES (1, 4, 5000, 1, 2.5, 'spike');
"""


def fill_layout_5(connection: sqlite3.Connection, made: Sequence[Prediction]) -> None:
    """Write what the program of layout 5 wrote, with its statements."""
    connection.executescript(LAYOUT_5)
    for stream, first in ((1, 0), (4, 50)):
        connection.executemany(
            "REPLACE INTO rows VALUES (?, ?, ?)",
            [(stream, slot, row(slot).values.tobytes()) for slot in range(first, first + 3_000)],
        )
    connection.executemany(
        "INSERT INTO predictions (id, stream, time, version, released, personal, baseline,"
        " quality, received, served, threshold_released, threshold_personal, marked)"
        " VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        [
            (
                *(p.id, p.time, p.version),
                *(part.tobytes() for part in (p.released, p.personal, p.baseline)),
                *(p.quality, p.received, p.served, *p.thresholds, int(p.marked)),
            )
            for p in made
        ],
    )
    connection.execute("UPDATE predictions SET label = 0.1 WHERE id = 's-2997'")
    connection.executemany(
        "REPLACE INTO examples VALUES (?, ?, ?, ?, ?)",
        [(n, 1, 1_000 * n, n + 0.25, n % 2) for n in range(3, 2_900)],
    )
    connection.execute("UPDATE examples SET label = 77 WHERE sequence = 2898")


def test_a_database_of_layout_5_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, AGENT[:5], path)
    made = [prediction(slot) for slot in range(2_990, 3_000)]
    made[-1] = replace(
        made[-1], quality="degraded", served="personal", thresholds=(0.1, 0.2), marked=True
    )
    made[-2] = replace(made[-2], version="v2")
    fill_layout_5(connection, made)
    connection.close()

    with closing(SqliteStore(path, small_manifest(), StoreSettings())) as store:
        saved = store.load()
        assert (saved.checkpoint, saved.sequence) == (b"\xc0", 2_899)
        assert saved.progress == []
        assert dict(saved.standing) == {"": b"\x01", "t": b"\x02"}
        assert store.counters() == {"rows-dropped": 7}
        assert [mark.stream for mark in store.marks()] == ["t"]
        assert [(s["name"], s["rows"], s["newest"]) for s in store.streams()] == [
            ("s", 3_000, 2_999),
            ("t", 3_000, 3_049),
        ]
        slots, cells = store.rows_of("t", 0, 10**6)
        assert slots.tolist() == list(range(50, 3_050))
        assert cells.tolist() == [[slot, slot + 0.5] for slot in range(50, 3_050)]
        assert [(p.id, label) for p, label in saved.scored] == [("s-2997", 0.1)]
        found = [p for p, _ in saved.waiting]
        assert [repr(p) for p in found] == [repr(p) for p in made[-2:]]
        judged = store.examples(reserved=True, newest=10**6)
        assert judged.time.tolist() == [1_000 * n for n in range(3, 2_900, 2)]
        learned = store.examples(reserved=False, newest=3)
        assert learned.label[:, 0].tolist() == [2_894.25, 2_896.25, 77]
        assert learned.window[-1].tolist() == [[n, n + 0.5] for n in (2_896, 2_897, 2_898)]


def test_rows_of_different_widths_are_kept_apart(connection: sqlite3.Connection) -> None:
    migrate(connection, AGENT[:5], Path("x"))
    connection.execute("INSERT INTO rows VALUES (1, 1, x'00000000'), (1, 2, x'0000000000000000')")
    migrate(connection, AGENT, Path("x"))
    found = connection.execute("SELECT count, length(cells) FROM segments").fetchall()
    assert found == [(1, 4), (1, 8)]
    connection.close()


@pytest.mark.parametrize("layout", range(len(AGENT)))
def test_every_earlier_layout_becomes_the_newest(
    connection: sqlite3.Connection, layout: int
) -> None:
    migrate(connection, AGENT[:layout], Path("x"))
    migrate(connection, AGENT, Path("x"))
    assert "segments" in tables(connection)
    assert not tables(connection) & {"rows", "examples", "predictions", "standing"}
    connection.close()


def test_the_agents_layout_has_its_tables(connection: sqlite3.Connection) -> None:
    migrate(connection, AGENT, Path("x"))
    assert tables(connection) >= {
        "streams",
        "segments",
        "versions",
        "outbox",
        "checkpoint",
        "updates",
        "events",
        "counters",
    }
    connection.close()


def test_a_new_file_gets_at_once_what_all_steps_come_to(connection: sqlite3.Connection) -> None:
    def made(found: sqlite3.Connection) -> tuple[object, ...]:
        master = found.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name")
        layout = [(*row[:2], " ".join(re.findall(r"\w+|[(),]", row[2] or ""))) for row in master]
        return layout, found.execute("SELECT * FROM streams").fetchall(), version(found)

    migrate(connection, AGENT, Path("x"))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as new:
        migrate(new, AGENT, Path("x"), NEWEST)
        assert made(new) == made(connection)
    connection.close()
