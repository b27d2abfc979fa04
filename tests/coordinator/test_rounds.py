from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from headwater_coordinator import events as e
from headwater_coordinator.migrations import migrate
from headwater_coordinator.rounds import Rounds


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:", isolation_level=None)
    migrate(made)
    yield made
    made.close()


def test_a_round_is_opened_weighed_merged_and_closed(connection: sqlite3.Connection) -> None:
    rounds = Rounds(connection)
    rounds.open(e.Open(1, "base", 3), 10)
    rounds.weigh(e.Weigh("node", 1, 40))
    rounds.weigh(e.Weigh("node", 1, 2))
    rounds.merged(1, 7)
    rounds.close(e.Close(1, 4, 2, 1, 0, 1, "merged"), 30)
    rounds.interrupt(99)

    row = connection.execute(
        "SELECT base, opened_ms, closed_ms, asked, accepted, refused, declined, failed, outcome, "
        "bytes, merge_ms FROM rounds"
    ).fetchone()
    assert row == ("base", 10, 30, 4, 2, 1, 0, 1, "merged", 42, 7)
    assert not connection.in_transaction


def test_a_restart_closes_the_round_that_is_open(connection: sqlite3.Connection) -> None:
    rounds = Rounds(connection)
    rounds.open(e.Open(1, "base", 3), 10)
    rounds.interrupt(20)
    assert connection.execute("SELECT outcome, closed_ms FROM rounds").fetchone() == (
        "interrupted",
        20,
    )
