from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from headwater.errors import StorageError
from headwater_agent import events, segment_log
from headwater_agent.settings import StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.store import (
    Count,
    Entry,
    Fingerprints,
    MemoryStore,
    Note,
    Outbox,
    Store,
    Unsent,
)
from tests.agent.making import example, prediction, row, rows, small_manifest


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


def test_the_write_ahead_log_is_kept_short(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store._connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (1_000,)
    assert store._connection.execute("PRAGMA journal_size_limit").fetchone() == (16 << 20,)
    store.close()


def test_a_group_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    nameless = events.Score("s-1", float("nan"))
    broken = events.Store(examples=(example(1, 4),), marks=(events.Mark("s", 1, 0, 1.0, None),))  # type: ignore[arg-type]
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


pieces = st.fixed_dictionaries(
    {
        "rows": st.lists(st.integers(0, 30), max_size=4),
        "predictions": st.lists(st.integers(0, 30), max_size=4),
        "scores": st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=3),
        "examples": st.lists(st.tuples(st.integers(2, 30), st.booleans()), max_size=3),
        "corrections": st.lists(st.tuples(st.integers(1, 20), st.integers(0, 9)), max_size=2),
        "name": st.sampled_from(["s", "t", "ä"]),
        "end": st.sampled_from(["", "", "group", "group", "restart"]),
    }
)


@settings(max_examples=40)
@given(st.lists(pieces, max_size=25))
def test_what_is_read_is_what_was_written_whatever_the_groups(story: list[dict[str, Any]]) -> None:
    """The store in memory is the measure; small segments are joined all the time."""
    memory = MemoryStore(small_manifest(), StoreSettings())
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_log, "SMALL", 3)
        patch.setattr(segment_log, "JOINED", 6)
        store = open_store(Path(folder))
        group: list[Entry] = []
        teller = Teller()
        for piece in story:
            group.append(teller.batch(piece))
            if piece["end"]:
                store.write(group)
                memory.write(group)
                group = []
            if piece["end"] == "restart":
                store.close()
                store = open_store(Path(folder))
        found = told(store)
        store.close()
        assert found == told(memory)


class Teller:
    """Makes batches as a pipeline does: of what is there already speaks only what comes later."""

    def __init__(self) -> None:
        self.sequence = 0
        self.slots: dict[str, list[int]] = {}
        self.predicted: set[str] = set()

    def batch(self, piece: dict[str, Any]) -> events.Store:
        name, slots = piece["name"], self.slots.setdefault(piece["name"], [])
        for slot in sorted(piece["rows"]):
            if slot > max(slots, default=-1):
                slots.append(slot)
        known = sorted(self.predicted)
        made = tuple(prediction(slot, name, self.sequence) for slot in piece["predictions"])
        self.predicted.update(one.id for one in made)
        before = self.sequence
        self.sequence += len(piece["examples"])
        return events.Store(
            rows=tuple(
                replace(row(slot, name), values=np.array([slot, before], np.float32))
                for slot in sorted(piece["rows"])
                if slot in slots
            ),
            predictions=made,
            scores=tuple(
                events.Score(known[place % len(known)], label + 0.1)
                for place, label in piece["scores"]
                if known
            ),
            examples=tuple(
                example(number, slot, name, reserved=reserved)
                for number, (slot, reserved) in enumerate(piece["examples"], before + 1)
            ),
            corrections=tuple(
                events.Correction(1 + number % before, float(label))
                for number, label in piece["corrections"]
                if before
            ),
            progress=((name, bytes([before % 256])),),
        )


def told(store: Store) -> list[str]:
    """Return all that a store tells, as text, in an order that does not depend on the store."""
    saved = store.load()
    batches = [store.examples(reserved=kind, newest=9, through=12) for kind in (False, True)]
    return [
        *sorted(repr((r.stream, r.slot, r.values)) for r in saved.rows),
        *sorted(repr(pair) for pair in saved.waiting),
        *sorted(repr(pair) for pair in saved.scored),
        *sorted(repr(one) for one in saved.examples),
        *sorted(repr(pair) for pair in saved.progress),
        *sorted(repr(pair) for pair in saved.sequences.items()),
        repr(saved.sequence),
        *(repr((b.window.tolist(), b.time.tolist(), b.label.tolist())) for b in batches),
    ]


def test_a_group_that_failed_leaves_no_trace_in_what_follows(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write([rows(range(6)), Outbox(added=(Unsent(1, "t", b""),))])
    broken = events.Store(predictions=(prediction(5),), marks=(events.Mark("s", 1, 0, 1.0, None),))  # type: ignore[arg-type]
    with pytest.raises(StorageError):
        store.write([broken, rows([6], "new"), Outbox(gone=(1,)), Fingerprints((1,))])
    store.write([events.Store(predictions=(prediction(5, value=7.0),)), rows([8], "other")])
    ((found, _),) = store.load().waiting
    assert found.released[0] == 7.0
    assert [s["name"] for s in store.streams()] == ["other", "s"]
    messages = store.messages()
    assert ([u.token for u in messages.unsent], list(messages.fingerprints)) == ([1], [])
    store.close()


def test_a_file_does_not_grow_once_it_is_full(tmp_path: Path) -> None:
    store = open_store(tmp_path, rows=2_000, predictions=2_000, examples=2_000)
    sizes = []
    for n in range(3_000):
        slots = range(5 * n + 3, 5 * n + 8)
        batch = events.Store(
            rows=tuple(row(slot) for slot in slots),
            predictions=tuple(prediction(slot) for slot in slots),
            scores=tuple(events.Score(f"s-{slot}", 1.0) for slot in slots),
            examples=tuple(example(slot, slot) for slot in slots),
            progress=(("s", bytes(300)),),
        )
        store.write([batch, Fingerprints(slots)])
        sizes.append(store._connection.execute("PRAGMA page_count").fetchone()[0])
    assert max(sizes[1_500:]) <= 1.1 * max(sizes[:1_500])
    assert len(store._log._log.heads(segment_log.ROWS)) < 3 + segment_log.JOINED / 5
    store.close()


_WRITER = """
import sys
from pathlib import Path
from headwater_agent.settings import StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.store import Count, Fingerprints, Outbox, Unsent
from headwater_agent.store_thread import StoreThread
from headwater_agent import events
from tests.agent.making import example, prediction, row, small_manifest

store = SqliteStore(Path(sys.argv[1]), small_manifest(), StoreSettings())
thread = StoreThread(store, every_s=0.002, records=7, wake=lambda: None)
slot = 0
while True:
    slot += 1
    made = events.Store(
        rows=(row(slot),),
        predictions=(prediction(slot),),
        scores=(events.Score(f"s-{slot}", slot),),
        examples=(example(slot, slot),),
        progress=(("s", slot.to_bytes(8, "big")),),
        receipts=(slot,),
    )
    thread.put(made)
    thread.put(Fingerprints((slot,)))
    thread.put(Outbox(added=(Unsent(slot, "t", b""),), gone=(slot - 3,)))
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
    assert notes_of_repair(store) == []
    saved = store.load()
    assert np.array_equal(list(saved.rows)[-1].values, [newest, newest + 0.5])
    assert saved.sequence == newest
    assert dict(saved.progress) == {"s": newest.to_bytes(8, "big")}
    assert [label for _, label in saved.scored] == list(range(1, newest + 1))[-2_000:]
    messages = store.messages()
    assert list(messages.fingerprints) in (
        list(range(1, last + 1))[-1_000:] for last in (newest, newest - 1)
    )
    unsent = [message.token for message in messages.unsent]
    assert unsent in (list(range(max(1, last - 2), last + 1)) for last in (newest, newest - 1))
    store.write([Count({"restarted": 1})])
    store.close()


def notes_of_repair(store: SqliteStore) -> list[Note]:
    return [note for note in store.notes(10) if note.kind == "repaired"]


def test_what_was_held_back_is_erased_with_the_examples(tmp_path: Path) -> None:
    def held(stream: str) -> events.Held:
        return events.Held(stream, 1_000, 0.0, reserved=False)

    with closing(SqliteStore(tmp_path / "agent.db", small_manifest(), StoreSettings())) as store:
        store.write([events.Store(held=(held("s"), held("t"), held("u")))])
        store.write([events.Store(erased=(("t", 0),))])
        assert [one.stream for one in store.held()] == ["s", "u"]
        store.write([events.Store(erased=(("", 0),), held=(held("v"),))])
        assert [one.stream for one in store.held()] == ["v"]
