from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from headwater.errors import LedgerError
from headwater_agent import ledger
from headwater_agent.correspondence import LedgerLine
from headwater_agent.egress import KEPT_RECEIPTS, Egress, entry_of, fold_of
from headwater_agent.exchange import LAYOUT, Exchange, ExchangeReader
from headwater_agent.ledger import DAY_MS
from headwater_agent.migrations import migrate

PEER = "https://coordinator"


def line(number: int, day: int = 0) -> LedgerLine:
    return LedgerLine(
        day * DAY_MS + number,
        f"{number:064x}",
        "update",
        ("arrays",),
        100,
        PEER,
        digest=f"{number % 5:064x}",
    )


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database with the tables, which :class:`Exchange` made."""
    Exchange(tmp_path / "exchange.db").close()
    made = sqlite3.connect(tmp_path / "exchange.db", isolation_level=None)
    made.row_factory = sqlite3.Row
    yield made
    made.close()


def whole(folder: Path) -> list[str]:
    reader = ExchangeReader(folder / "exchange.db")
    return list(ledger.complaints(reader.folds(), reader.entries()))


def test_lines_are_read_back_as_a_chain(connection: sqlite3.Connection, tmp_path: Path) -> None:
    table = Egress(connection)
    written = [table.append(line(number)) for number in range(3)]
    assert ExchangeReader(tmp_path / "exchange.db").entries() == written
    assert whole(tmp_path) == []


def test_a_task_has_one_entry_and_connections_have_many(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    table = Egress(connection)
    assert table.append(line(1)) is not None
    assert table.append(line(1)) is None
    about = LedgerLine(5, "", "connection", (), 300, PEER, requests=2)
    assert [table.append(about) is not None for _ in range(2)] == [True, True]
    assert whole(tmp_path) == []


def test_the_oldest_entries_are_folded_and_the_totals_stay(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    table = Egress(connection, kept=10, at_once=5)
    reader = ExchangeReader(tmp_path / "exchange.db")
    for number in range(100):
        table.append(line(number, day=number // 30))
        assert whole(tmp_path) == []
        assert len(reader.entries()) <= 15
    assert [(one.day, one.count, one.bytes) for one in reader.totals()] == [
        (0, 30, 3_000),
        (1, 30, 3_000),
        (2, 30, 3_000),
        (3, 10, 1_000),
    ]
    assert [fold.day for fold in reader.folds()] == [0, 1, 2]
    assert reader.entries()[-1].number == 100


def test_the_receipts_of_what_is_folded_go_with_it(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    table = Egress(connection, kept=10, at_once=5)
    for number in range(15):
        table.append(line(number))
    told = [(f"{number % 5:064x}", number, f"receipt {number}") for number in range(15)]
    assert table.received([*told, ("f" * 64, 99, "of something else")]) == 16
    assert table.received(told) == 0
    table.append(line(15))
    expected = [f"receipt {number}" for number in range(5, 15)] + ["of something else"]
    assert ExchangeReader(tmp_path / "exchange.db").receipts() == expected


def test_a_coordinator_that_sends_receipts_without_end_fills_no_disk(
    connection: sqlite3.Connection,
) -> None:
    table = Egress(connection)
    told = [("f" * 64, number, f"receipt {number}") for number in range(KEPT_RECEIPTS + 10)]
    connection.execute("BEGIN")
    assert table.received(told[:-5]) == KEPT_RECEIPTS
    assert table.received(told[-5:]) == 0


def test_a_ledger_without_hashes_is_chained_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "exchange.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db, LAYOUT[:1], path)
        db.executemany(
            "INSERT INTO egress (time_ms, task, kind, arrays, bytes, peer) "
            "VALUES (?, ?, 'update', '[\"arrays\"]', 400, ?)",
            [(number, f"{number:064x}", PEER) for number in range(3)],
        )
    Exchange(path).close()
    lines = [entry.line for entry in ExchangeReader(path).entries()]
    assert lines == [
        LedgerLine(number, f"{number:064x}", "update", ("arrays",), 400, PEER)
        for number in range(3)
    ]
    assert whole(tmp_path) == []


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from(["[]", '["arrays"]', "{}"]),
)


@given(st.sampled_from(["egress", "folds"]), st.data())
def test_whatever_is_put_into_any_cell_is_found(name: str, data: st.DataObject) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        migrate(connection, LAYOUT, Path("memory"))
        table = Egress(connection, kept=3, at_once=2)
        for number in range(8):
            table.append(line(number, day=number // 3))
        rows = Database(connection).table(name)
        before = [tuple(row.values()) for row in rows.rows]
        column = data.draw(st.sampled_from([one.name for one in rows.columns[1:]]))
        number = data.draw(st.sampled_from([row[0] for row in before]))
        with suppress(sqlite3.IntegrityError):
            rows.update(number, {column: data.draw(VALUES)})
        if [tuple(row.values()) for row in rows.rows] != before:
            assert troubles(connection)


def troubles(connection: sqlite3.Connection) -> list[str]:
    try:
        folds = [fold_of(row) for row in connection.execute("SELECT * FROM folds")]
        entries = [entry_of(row) for row in connection.execute("SELECT * FROM egress")]
    except LedgerError as error:
        return [str(error)]
    return list(ledger.complaints(folds, entries))
