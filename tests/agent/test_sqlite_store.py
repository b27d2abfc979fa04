from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headwater.errors import StorageError
from headwater_agent import events
from headwater_agent.settings import StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.store import Count, Note
from tests.agent.making import example, rows, small_manifest


def open_store(folder: Path, **limits: object) -> SqliteStore:
    settings = StoreSettings(**limits)  # type: ignore[arg-type]
    return SqliteStore(folder / "agent.db", small_manifest(), settings)


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write([rows(range(6)), events.Store(examples=(example(1, 4),), progress=(("s", b"p"),))])
    store.close()
    again = open_store(tmp_path)
    assert again.examples(reserved=False, newest=1).time.tolist() == [4_000]
    again.write([rows([6])])
    assert [r.slot for r in again.load().rows] == [4, 5, 6]
    again.close()


@pytest.mark.parametrize(("durability", "level"), [("process", 1), ("power", 2)])
def test_durability_sets_how_the_disk_is_waited_for(
    tmp_path: Path, durability: str, level: int
) -> None:
    store = open_store(tmp_path, durability=durability)
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_a_group_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    nameless = events.Score("s-1", float("nan"))
    broken = events.Store(examples=(example(1, 4),), progress=((None, b"x"),))  # type: ignore[arg-type]
    with pytest.raises(StorageError):
        store.write([rows(range(6), "new"), events.Store(scores=(nameless,)), broken])
    assert list(store.load().rows) == []
    store.write([rows([1], "new")])
    assert [r.stream for r in store.load().rows] == ["new"]
    store.close()


def test_of_a_group_the_newest_standing_alone_is_written(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    before = store._connection.total_changes
    store.write([events.Store(standing=(("", bytes([n])),)) for n in range(100)])
    assert store._connection.total_changes == before + 1
    assert store.standing() == [("", b"\x63")]
    assert store.streams() == []
    store.close()


def test_a_second_agent_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(StorageError, match="in use by another agent"):
        open_store(tmp_path)
    store.close()
    open_store(tmp_path).close()


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "agent.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="layout 99"):
        open_store(tmp_path)


def test_a_folder_that_cannot_be_used_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used"):
        open_store(tmp_path / "file")


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    open_store(tmp_path / "agent").close()
    assert (tmp_path / "agent").stat().st_mode & 0o077 == 0


def test_what_is_dropped_is_counted(tmp_path: Path) -> None:
    store = open_store(tmp_path, rows=10, examples=10)
    store.write([rows(range(30))])
    assert store.counters()["rows-dropped"] == 20
    store.write([Note(n, "refusal", "x") for n in range(10_005)])
    assert len(store.notes(20_000)) == 10_000
    store.close()


_WRITER = """
import sys
from pathlib import Path
from headwater_agent.settings import StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.store import Count
from headwater_agent.store_thread import StoreThread
from headwater_agent import events
from tests.agent.making import row, small_manifest

store = SqliteStore(Path(sys.argv[1]), small_manifest(), StoreSettings())
thread = StoreThread(store, every_s=0.002, records=7, wake=lambda: None)
slot = 0
while True:
    slot += 1
    thread.put(events.Store(rows=(row(slot),), receipts=(slot,)))
    thread.put(Count({"written": 1}))
    for receipt in thread.committed():
        print(receipt, flush=True)
"""


@pytest.mark.parametrize("seed", range(3))
def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "agent.db"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    ) as writer:
        assert writer.stdout is not None
        for _ in range(random.Random(seed).randrange(1, 400)):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
    complete = [int(line) for line in rest[:-1]]
    store = open_store(tmp_path)
    ((count, newest),) = [(one["rows"], one["newest"]) for one in store.streams()]
    assert newest >= max(complete, default=1)
    assert count == newest
    assert store.counters()["written"] in (newest, newest - 1)
    assert np.array_equal(list(store.load().rows)[-1].values, [newest, newest + 0.5])
    store.write([Count({"restarted": 1})])
    store.close()
