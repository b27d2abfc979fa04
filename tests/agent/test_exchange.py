from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.errors import StorageError
from headwater.wire import Kind
from headwater_agent.correspondence import LedgerLine, Refusal, StoredTask, StoredVersion
from headwater_agent.exchange import KEPT_TASKS, LAYOUT, Exchange, ExchangeReader
from headwater_agent.migrations import migrate
from tests.conftest import skip_or_fail

TASK = StoredTask("a" * 64, Kind.TRAIN, b"fields", b"flower", 10)
LINE = LedgerLine(20, TASK.task, "update", ("arrays",), 400, "https://coordinator")


def version(name: str, sequence: int, kind: str = "release") -> StoredVersion:
    made = StoredVersion(name * 64, "release", sequence, "{}", 0, 5)
    return replace(made, kind="candidate") if kind == "candidate" else made


def test_a_task_is_there_for_the_agent_until_it_is_settled(tmp_path: Path) -> None:
    path = tmp_path / "exchange.db"
    reader = ExchangeReader(path)
    assert reader.waiting() == []
    exchange = Exchange(path)
    exchange.keep(TASK, None)
    assert reader.waiting() == [TASK] == exchange.open_tasks()
    exchange.settle(TASK.task, "answered", 30)
    assert reader.waiting() == [] == exchange.open_tasks()
    assert reader.task(TASK.task) == replace(TASK, state="answered", answered_ms=30)
    assert exchange.settled() == {TASK.task}
    exchange.close()


def test_what_is_decided_at_once_is_no_work_for_the_agent(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "exchange.db")
    exchange.keep(replace(TASK, reply=b"declined"), None)
    exchange.keep(replace(TASK, task="b" * 64, kind=Kind.CHECK_IN), None)
    assert ExchangeReader(tmp_path / "exchange.db").waiting() == []
    assert len(exchange.open_tasks()) == 2
    exchange.close()


def test_the_ledger_is_written_with_the_answer_and_once(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "exchange.db")
    exchange.keep(TASK, None)
    assert exchange.will_send(LINE, b"reply", "c" * 64)
    assert not exchange.will_send(replace(LINE, time_ms=99), b"reply", "c" * 64)
    reader = ExchangeReader(tmp_path / "exchange.db")
    assert [entry.line for entry in reader.entries()] == [LINE]
    assert reader.task(TASK.task) == replace(TASK, reply=b"reply", outcome="c" * 64)
    exchange.close()


def test_the_newest_release_is_that_with_the_highest_sequence(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "exchange.db")
    reader = ExchangeReader(tmp_path / "exchange.db")
    assert reader.newest() is None
    for made in (version("a", 3), version("b", 2), version("c", 9, "candidate")):
        exchange.keep(TASK, made)
    newest = reader.newest()
    assert newest is not None
    assert newest.version == "a" * 64
    assert [v.sequence for v in reader.versions()] == [2, 3, 9]
    exchange.forget(["a" * 64, "c" * 64])
    assert reader.versions() == [version("b", 2)] == exchange.versions()
    exchange.close()


def test_a_refusal_is_kept_from_its_beginning_until_it_is_over(tmp_path: Path) -> None:
    path = tmp_path / "exchange.db"
    reader = ExchangeReader(path)
    assert reader.refusal() is None
    exchange = Exchange(path)
    assert not exchange.note_refusal(None, 1)
    assert exchange.note_refusal("on battery", 2)
    assert not exchange.note_refusal("on battery", 3)
    assert reader.refusal() == Refusal(2, "on battery")
    assert exchange.note_refusal("metered", 4)
    assert reader.refusal() == Refusal(4, "metered")
    assert exchange.note_refusal(None, 5)
    assert reader.refusal() is None
    exchange.close()


def test_a_database_of_an_earlier_program_has_no_refusal(tmp_path: Path) -> None:
    path = tmp_path / "exchange.db"
    db = sqlite3.connect(path, isolation_level=None)
    migrate(db, LAYOUT[:1], path)
    db.close()
    assert ExchangeReader(path).refusal() is None


def test_a_database_of_an_earlier_program_has_no_statement_of_the_publisher(
    tmp_path: Path,
) -> None:
    path = tmp_path / "exchange.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.row_factory = sqlite3.Row
        migrate(old, LAYOUT[:-1], path)
    assert ExchangeReader(path).delegation() is None
    with closing(Exchange(path)) as exchange:
        assert exchange.delegation() is None


def test_the_newest_statement_of_the_publisher_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "exchange.db"
    with closing(Exchange(path)) as exchange:
        exchange.keep(TASK, None, delegation="first")
        exchange.keep(TASK, None, delegation="second")
        exchange.keep(TASK, None)
        assert exchange.delegation() == "second"
    assert ExchangeReader(path).delegation() == "second"


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    first = Exchange(tmp_path / "exchange.db")
    first.keep(TASK, version("a", 1))
    first.close()
    second = Exchange(tmp_path / "exchange.db")
    assert second.open_tasks() == [TASK]
    assert second.versions() == [version("a", 1)]
    second.close()


def test_old_settled_tasks_are_forgotten(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "exchange.db")
    with exchange._transaction():
        exchange._db.executemany(
            "INSERT INTO tasks VALUES (?, 'train', x'', x'', 0, 'answered', ?, NULL, NULL)",
            [(f"{number:064x}", number) for number in range(KEPT_TASKS)],
        )
    exchange.keep(TASK, None)
    exchange.settle(TASK.task, "answered", KEPT_TASKS)
    assert len(exchange.settled()) == KEPT_TASKS
    assert f"{0:064x}" not in exchange.settled()
    exchange.close()


def test_a_newer_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "exchange.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StorageError, match="has layout 99"):
        Exchange(path)


def test_a_damaged_database_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "exchange.db"
    path.write_bytes(b"no database " * 100)
    with pytest.raises(StorageError, match="cannot be opened"):
        Exchange(path)
    with pytest.raises(StorageError, match="cannot be read"):
        ExchangeReader(path).waiting()


READ = """
import os, sys
from pathlib import Path
from headwater_agent.exchange import ExchangeReader
os.setgid(65534); os.setuid(65534)
print(len(ExchangeReader(Path(sys.argv[1])).waiting()))
try:
    open(sys.argv[1], "r+b")
except PermissionError:
    print("cannot write")
"""


def test_another_user_reads_with_read_permission_alone() -> None:
    if os.geteuid() != 0:
        skip_or_fail("only root can become another user")
    folder = Path("/dev/shm") / f"headwater-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        exchange = Exchange(folder / "exchange.db")
        exchange.keep(TASK, None)
        (folder / "exchange.db").chmod(0o644)
        command = [sys.executable, "-c", READ, str(folder / "exchange.db")]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert out.split("\n")[:2] == ["1", "cannot write"]
        exchange.close()
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
