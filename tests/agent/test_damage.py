from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from headwater_agent import damage, events
from headwater_agent.segment import DamagedError
from headwater_agent.settings import StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.store import Count, Fingerprints, Note, Outbox, Unsent
from tests.agent.making import example, prediction, row, rows, small_manifest

PAGE = 4096
LEARNED = b"\xc0"


def opened(path: Path) -> SqliteStore:
    return SqliteStore(path, small_manifest(), StoreSettings())


def filled(path: Path) -> None:
    """Leave a database with a few hundred pages."""
    store = opened(path)
    for n in range(10):
        slots = range(1_000 * n, 1_000 * n + 1_000)
        made = tuple(prediction(slot) for slot in slots)
        learned = tuple(example(slot + 1, slot) for slot in slots)
        batch = events.Store(
            rows=tuple(row(slot) for slot in slots),
            predictions=made,
            examples=learned,
            progress=(("s", LEARNED),),
            standing=(("", LEARNED),),
        )
        store.write([batch, Count({"written": 1_000}), Fingerprints(range(n))])
    store.write([Outbox(added=(Unsent(1, "topic", b"payload"),))])
    store.close()


def spoil(path: Path, *pages: int) -> None:
    raw = bytearray(path.read_bytes())
    for page in pages:
        raw[PAGE * page : PAGE * (page + 1)] = random.Random(page).randbytes(PAGE)
    path.write_bytes(raw)


def works(path: Path) -> bool:
    """Start, write and stop once, as an agent does that a supervisor watches."""
    store = opened(path)
    try:
        store.load()
        store.write([rows([19_999]), Note(1, "start", ""), Count({"started": 1})])
    except DamagedError:
        return False
    finally:
        store.close()
    return True


def copies(folder: Path) -> list[Path]:
    return sorted(folder.glob("agent.db.damaged-*"))


def test_a_file_that_is_no_database_is_kept_aside_and_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    rubbish = b"this is no database, but it is long enough" * 100
    path.write_bytes(rubbish)
    store = opened(path)
    store.write([rows(range(6))])
    assert [r.slot for r in store.load().rows] == [3, 4, 5]
    (kept,) = copies(tmp_path)
    assert kept.read_bytes() == rubbish
    (note,) = store.notes(10)
    assert note.kind == "repaired"
    assert kept.name in note.detail
    store.close()


@pytest.mark.parametrize("seed", range(20))
def test_with_any_page_damaged_the_agent_goes_on_and_what_it_reads_is_true(
    tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "agent.db"
    filled(path)
    rng = random.Random(seed)
    spoil(path, *rng.sample(range(path.stat().st_size // PAGE), rng.randint(1, 3)))
    if not works(path):
        assert works(path)  # what was found while writing is repaired by the restart
    for _ in range(2):
        store = opened(path)
        saved = store.load()
        batch = store.examples(reserved=False, newest=10**6)
        assert np.array_equal(batch.window[:, :, 1], batch.window[:, :, 0] + 0.5)
        assert np.array_equal(batch.window[:, -1, 0] * 1000, batch.time)
        assert np.array_equal(batch.label[:, 0], batch.window[:, -1, 0] + 0.25)
        assert all(made.id == f"s-{made.time // 1000}" for made, _ in saved.waiting)
        store.write([rows(range(20_000, 20_003)), Count({"restarted": 1})])
        assert [r.slot for r in store.load().rows] == [20_000, 20_001, 20_002]
        store.close()


def test_what_can_be_read_of_a_damaged_database_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE segments SET cells = zeroblob(length(cells)) WHERE id = 1")
    connection.commit()
    connection.close()
    damage.mark_suspect(path)
    store = opened(path)
    assert not damage.is_suspect(path)
    assert store.streams() == [
        {"name": "s", "rows": 9_000, "examples": 10_000, "newest": 9_999},
    ]
    assert store.counters() == {"written": 10_000}
    assert store.standing() == [("", LEARNED)]
    messages = store.messages()
    assert [message.payload for message in messages.unsent] == [b"payload"]
    assert list(messages.fingerprints)[-9:] == list(range(9))
    assert store.load().sequence == 10_000
    assert "not readable" in store.notes(1)[0].detail
    store.close()


@pytest.mark.parametrize(
    "bitten",
    [
        "UPDATE streams SET progress = CAST('less' || substr(progress, 5) AS BLOB)",
        "UPDATE streams SET standing = x''",
        "UPDATE streams SET name = 'S' WHERE name = 's'",
        "UPDATE checkpoint SET state = x'c0'",
        "UPDATE checkpoint SET learned_through = 2",
    ],
)
def test_a_state_that_is_not_as_it_was_written_is_not_taken_over(
    tmp_path: Path, bitten: str
) -> None:
    path = tmp_path / "agent.db"
    store = opened(path)
    store.write([events.Checkpoint(b"learned", 3), rows([1, 2, 3])])
    states = (("s", b"more than three bytes"),)
    store.write([events.Store(progress=states, standing=states)])
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute(bitten)
    connection.close()

    store = opened(path)
    saved = store.load()
    assert store.notes(1)[0].kind == "repaired"
    kept = (saved.checkpoint == b"learned", *(len(s) for s in (saved.progress, saved.standing)))
    assert kept < (True, 1, 1)
    assert store.streams()[0]["rows"] == 3
    store.close()
    store = opened(path)
    assert store.load() is not None
    assert len(store.notes(10)) == 1, "it is repaired once"
    store.close()


def test_a_segment_that_says_wrong_keys_is_damaged_and_put_right(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE segments SET last = 1 WHERE kind = 1 AND first = 9000")
    connection.close()
    store = opened(path)
    assert store.load().rows[-1].slot == 9_999
    assert store.streams()[0]["rows"] == 10_000
    store.close()


def test_after_a_run_that_did_not_end_the_whole_file_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    filled(path)
    connection = sqlite3.connect(path)
    (page,) = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'updates'"
    ).fetchone()
    connection.close()
    spoil(path, page - 1)
    path.with_name("agent.db-wal").touch()
    store = opened(path)
    assert store.notes(1)[0].kind == "repaired"
    assert store.load().sequence == 10_000
    store.close()


def test_damage_found_while_writing_is_repaired_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    filled(path)
    store = opened(path)
    store._connection.execute("PRAGMA writable_schema = ON")
    store._connection.execute("UPDATE sqlite_master SET rootpage = 3 WHERE name = 'counters'")
    store._connection.execute("PRAGMA writable_schema = RESET")
    with pytest.raises(DamagedError, match="restart the agent"):
        store.write([Count({"x": 1})])
    store.close()
    assert damage.is_suspect(path)
    store = opened(path)
    assert store.notes(1)[0].kind == "repaired"
    store.write([Count({"x": 1})])
    assert store.counters()["x"] == 1
    store.close()


def test_damage_found_while_reading_is_repaired_at_the_next_start(tmp_path: Path) -> None:
    """Else an agent that meets it at its start would end with each one."""
    path = tmp_path / "agent.db"
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE segments SET columns = x'00' WHERE kind = 6")
    connection.close()
    store = opened(path)
    assert store.load().sequence == 10_000
    with pytest.raises(DamagedError, match="restart the agent"):
        store.messages()
    store.close()
    store = opened(path)
    assert list(store.messages().fingerprints) == []
    assert store.counters() == {"written": 10_000}
    store.close()


def test_only_a_few_damaged_copies_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    for turn in range(damage.KEPT + 2):
        path.write_bytes(b"%d" % turn * 5_000)
        path.with_name("agent.db-wal").write_bytes(b"w")
        damage.set_aside(path, 1_000 * turn)
    names = [copy.name for copy in copies(tmp_path)]
    assert len(names) == 2 * damage.KEPT
    assert names[0] == "agent.db.damaged-19700101T000002.000000Z"
    assert not path.exists()


def test_a_database_of_another_layout_is_kept_aside_whole(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    target = sqlite3.connect(":memory:")
    assert damage.take_over(path, target) == (0, 0)
    target.close()


def test_of_a_file_that_was_cut_off_what_comes_before_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    filled(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size // 2)
    store = opened(path)
    assert store.counters()["written"] == 10_000
    assert 0 < sum(stream["rows"] for stream in store.streams()) < 10_000
    store.close()
    assert copies(tmp_path)[0].stat().st_size == size


def test_a_header_that_promises_too_much_takes_no_disk(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    filled(path)
    raw = bytearray(path.read_bytes())
    raw[28:32] = b"\xff" * 4
    path.write_bytes(raw[: len(raw) // 2])
    opened(path).close()
    assert copies(tmp_path)[0].stat().st_size <= damage.LONGEST
    assert copies(tmp_path)[0].stat().st_blocks * 512 <= len(raw)
