from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headwater import wire
from headwater_agent.correspondence import CONNECTION, LedgerLine, StoredTask
from headwater_agent.egress_report import Day, EgressReport, Verdict, parse_head, read_report
from headwater_agent.exchange import Exchange, ExchangeReader
from headwater_agent.ledger import DAY_MS
from headwater_agent.receipts import read_receipts
from tests.agent.federating import device
from tests.agent.test_receipts import receipt

URL = "https://coordinator"
TASK = StoredTask("f" * 64, wire.Kind.CHECK_IN, b"", b"", 0)


def fill(path: Path, told: tuple[str, ...] = ()) -> None:
    """Two days of a device: an update and a check-in on the first, check-ins on the second."""
    with closing(Exchange(path)) as exchange:
        kinds = ("update", "checked-in", CONNECTION, "checked-in", "checked-in", CONNECTION)
        for number, kind in enumerate(kinds, 1):
            about = kind == CONNECTION
            line = LedgerLine(
                (number // 4) * DAY_MS + number,
                "" if about else f"{number:064x}",
                kind,
                ("arrays",) if kind == "update" else (),
                1_000 * number,
                URL,
                digest="" if about else f"{number:064x}",
                requests=7 if about else 0,
            )
            exchange.account(line)
        found, _ = read_receipts(device(), wire.CheckIn(protocol=2, receipts=told))
        exchange.keep(TASK, None, found)


def reported(path: Path, days: int = 1, head: tuple[int, str] | None = None) -> EgressReport:
    return read_report(ExchangeReader(path), days, verify=True, head=head)


def test_a_device_from_which_nothing_left_has_an_empty_report(tmp_path: Path) -> None:
    report = read_report(ExchangeReader(tmp_path / "exchange.db"), 1)
    assert report == EgressReport(head=None, days=(), entries=(), verdict=None)


def test_the_newest_days_are_shown_with_their_totals(tmp_path: Path) -> None:
    fill(tmp_path / "exchange.db")
    report = reported(tmp_path / "exchange.db")
    second = Day(
        day="1970-01-02",
        answers=2,
        answer_bytes=9_000,
        kinds={"checked-in": 2},
        requests=7,
        request_bytes=6_000,
    )
    assert report.days == (second,)
    assert [entry.number for entry in report.entries] == [4, 5, 6]
    first, again = reported(tmp_path / "exchange.db", days=5).days
    assert (first.day, first.kinds) == ("1970-01-01", {"checked-in": 1, "update": 1})
    assert again == second


def test_the_verdict_says_what_is_confirmed_and_what_waits(tmp_path: Path) -> None:
    fill(tmp_path / "exchange.db", (receipt(1), receipt(4, number=2)))
    assert reported(tmp_path / "exchange.db").verdict == Verdict(
        complaints=(), entries=6, receipts=2, confirmed=2, unconfirmed=(2,), waiting=1
    )


def test_a_change_a_receipt_too_many_and_another_head_are_complaints(tmp_path: Path) -> None:
    path = tmp_path / "exchange.db"
    fill(path, (receipt(7),))
    report = reported(path)
    assert report.head is not None
    head = (report.head.number, report.head.hash)
    assert len(report.verdict.complaints if report.verdict else ()) == 1
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM egress WHERE number > 4")
        connection.execute("UPDATE egress SET bytes = 1 WHERE number = 2")
    verdict = reported(path, head=head).verdict
    assert verdict is not None
    changed, cut, unexplained = verdict.complaints
    assert "Entry 2 does not follow" in changed
    assert cut == "Entry 6 was noted, and the ledger ends with 4."
    assert "that no entry tells of" in unexplained


def test_a_head_is_read_as_it_is_shown() -> None:
    assert parse_head(f"12:{'a' * 64}") == (12, "a" * 64)
    for text in ("", "12", f"x:{'a' * 64}", "12:abc", f"²:{'a' * 64}"):
        with pytest.raises(ValueError, match="NUMBER:HASH"):
            parse_head(text)
