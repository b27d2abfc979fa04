"""What holds for every engine, and what the SQL that they share does in each."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from headwater.errors import StorageError
from headwater_coordinator.engines import Engine, open_reader, open_writer
from headwater_coordinator.location import Location
from headwater_coordinator.migrations import MIGRATIONS, migrate

pytestmark = pytest.mark.both_engines

VERSION = {
    "version": "1",
    "kind": "release",
    "sequence": 1,
    "parent": "",
    "round": 0,
    "statement": "{}",
    "created_ms": 1_700_000_000_000,
}


def devices(engine: Engine, *names: str) -> None:
    for name in names:
        row = {"node": name, "device": name, "version": "", "sequence": 0, "records": 0}
        engine.insert("devices", row | {"examples": 0, "online": 0, "seen_ms": 0})


def refusal(engine: Engine) -> int:
    """Add a row that numbers itself; return its number."""
    ((number,),) = engine.execute(
        "INSERT INTO receipts (node, kind, digest, received_ms) VALUES ('a', 'x', 'y', 1) "
        "RETURNING number"
    )
    return int(number)


def test_a_row_is_added_changed_and_found_by_its_columns(engine: Engine) -> None:
    engine.insert("versions", VERSION)
    engine.upsert("versions", VERSION | {"words": "again"}, key="version")
    engine.update("versions", ("version", "1"), {"loss_release": 0.25, "rows": 7})
    (found,) = engine.records("SELECT * FROM versions WHERE sequence = :n", {"n": 1})
    expected = VERSION | {"words": "again", "loss_release": 0.25, "rows": 7, "difference": None}
    assert {name: found[name] for name in expected} == expected
    assert engine.execute("SELECT count(*), max(created_ms) FROM versions") == [
        (1, 1_700_000_000_000)
    ]


def test_a_row_that_is_not_there_is_not_changed(engine: Engine) -> None:
    with pytest.raises(StorageError, match="has no version 'x' in its versions"):
        engine.update("versions", ("version", "x"), {"words": "y"})


def test_a_transaction_is_whole_or_nothing_with_those_inside_it(engine: Engine) -> None:
    def halves() -> None:
        with engine.transaction():
            devices(engine, "a")
            with engine.transaction():
                devices(engine, "b")
            devices(engine, "b")

    with pytest.raises(StorageError):
        halves()
    assert engine.execute("SELECT node FROM devices") == []
    with engine.transaction():
        devices(engine, "a")
        with pytest.raises(StorageError), engine.transaction():
            devices(engine, "b", "a")
    assert engine.execute("SELECT node FROM devices") == [("a",)]


def test_a_refusal_names_the_database_and_nothing_else_is_raised(engine: Engine) -> None:
    devices(engine, "a")
    for wrong in (
        lambda: devices(engine, "a"),
        lambda: engine.execute("SELECT nothing FROM devices"),
        lambda: engine.records("SELECT nothing FROM devices"),
        lambda: engine.execute_many("INSERT INTO devices (node) VALUES (?)", [("b",)]),
        lambda: list(engine.stream("SELECT nothing FROM devices")),
        lambda: engine.advance("CREATE TABLE devices (x TEXT)", 99),
    ):
        with pytest.raises(StorageError, match="cannot be used") as caught:
            wrong()
        assert engine.name in str(caught.value)
    assert engine.schema == len(MIGRATIONS)


def test_text_compares_byte_by_byte_and_keeps_what_it_can(engine: Engine) -> None:
    names = ["Z", "a", "b", "ä", "€", "😀", "a b", "'", '"', "%s", "?", ":x", "\\", "a\n"]
    devices(engine, *names)
    found = engine.execute("SELECT node FROM devices ORDER BY node")
    assert [name for (name,) in found] == sorted(names, key=str.encode)
    assert engine.execute("SELECT node FROM devices WHERE node = ? AND node LIKE '%s'", ("%s",))


def test_a_null_character_ends_nothing(engine: Engine) -> None:
    devices(engine, "a\0b")
    assert engine.execute("SELECT node FROM devices") in ([("a\0b",)], [("a\ufffdb",)])


def test_rows_come_one_at_a_time_and_may_be_left(engine: Engine) -> None:
    devices(engine, *"abcd")
    rows = engine.stream("SELECT node FROM devices WHERE node > ? ORDER BY node", ("a",))
    assert next(rows) == ("b",)
    rows.close()  # type: ignore[attr-defined]
    assert list(engine.stream("SELECT node FROM devices ORDER BY node"))[-1] == ("d",)


def test_blobs_are_read_whole_and_in_part(engine: Engine) -> None:
    contents = [bytes(range(256)) * (64 * n) for n in (1, 2, 3)]
    for number, content in enumerate(contents, 1):
        engine.execute(
            "INSERT INTO updates (id, node, device, base, sequence, round, examples, weight, "
            "loss_before, loss_after, data_until_ms, received_ms, state, vector) "
            "VALUES (?, ?, 'd', 'b', 1, 1, 1, 1, 0, 0, 0, 0, 'accepted', ?)",
            (number * 10, str(number), content),
        )
    with engine.blobs("updates", "vector", [30, 10, 20]) as blobs:
        assert blobs.whole(1) == contents[0]
        for start, stop in ((0, 8), (8, 5_000), (16_000, 16_384), (16_383, 16_384)):
            for index, content in enumerate((contents[2], contents[0], contents[1])):
                assert blobs.part(index, start, stop) == content[start:stop]
        assert blobs.whole(0) == contents[2]
    engine.execute("DELETE FROM updates")


def test_numbers_are_never_given_twice_and_go_on_from_where_they_are_told(engine: Engine) -> None:
    first, second = refusal(engine), refusal(engine)
    assert second > first
    assert engine.numbers()["receipts"] == second
    engine.execute("DELETE FROM receipts")
    assert refusal(engine) > second
    engine.continue_from("receipts", 1_000)
    assert refusal(engine) == 1_001
    engine.execute("DELETE FROM receipts")
    engine.continue_from("receipts", 5)
    assert refusal(engine) == 1_002
    assert engine.numbers()["receipts"] == 1_002


def test_a_migration_that_fails_leaves_no_trace(engine: Engine) -> None:
    with pytest.raises(StorageError):
        engine.advance("CREATE TABLE more (x TEXT); SELECT * FROM missing", len(MIGRATIONS) + 1)
    assert engine.schema == len(MIGRATIONS)
    engine.close()


def test_an_older_database_is_brought_up_to_date_with_what_it_holds(location: Location) -> None:
    with closing(open_writer(location)) as older:
        migrate(older, 4)
        older.insert("versions", VERSION)
        devices(older, "a")
    with closing(open_writer(location)) as engine:
        migrate(engine)
        assert engine.schema == len(MIGRATIONS)
        assert engine.execute("SELECT data_until_ms, words FROM versions") == [
            (VERSION["created_ms"], "")
        ]
        assert engine.execute("SELECT kind, by FROM decisions") == [("begin", "the owner")]
        assert engine.execute("SELECT asked, utility FROM devices") == [(0, 0.0)]


def test_purging_takes_nothing_that_is_there(engine: Engine) -> None:
    devices(engine, "a", "b")
    engine.execute("DELETE FROM devices WHERE node = 'a'")
    engine.purge()
    assert engine.execute("SELECT node FROM devices") == [("b",)]


def test_books_are_saved_as_they_are_at_one_moment_into_a_file(
    engine: Engine, location: Location, tmp_path: Path
) -> None:
    engine.insert("versions", VERSION)
    devices(engine, "a", "b")
    number = refusal(engine)
    with closing(open_reader(location)) as reader:
        assert reader.execute("SELECT count(*) FROM devices") == [(2,)]
        devices(engine, "c")
        reader.save(tmp_path / "saved.db")
    assert not list(tmp_path.glob("saved.db?*"))
    with closing(open_writer(tmp_path / "saved.db")) as saved:
        assert saved.schema == len(MIGRATIONS)
        assert saved.records("SELECT * FROM versions") == engine.records("SELECT * FROM versions")
        assert saved.execute("SELECT node FROM devices ORDER BY node") == [("a",), ("b",)]
        assert refusal(saved) == number + 1
