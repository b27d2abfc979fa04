"""Rounds in the books: what was asked, what came of it, how many bytes and how long it took."""

from __future__ import annotations

import sqlite3

from headwater_coordinator import events as e


class Rounds:
    """A table of ``coordinator.db``; each method but :meth:`merged` is a transaction.

    Parameters
    ----------
    connection
        To the database, which commits each statement unless a transaction is open.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def interrupt(self, now: int) -> None:
        """Close the round that a restart cut short."""
        self._connection.execute(
            "UPDATE rounds SET outcome = 'interrupted', closed_ms = ? WHERE outcome = 'open'",
            (now,),
        )

    def open(self, effect: e.Open, now: int) -> None:
        """Record that a round began, before anyone is asked."""
        self._connection.execute(
            "INSERT INTO rounds (round, base, asked, opened_ms) VALUES (?, ?, ?, ?)",
            (effect.round, effect.base, effect.asked, now),
        )

    def close(self, effect: e.Close, now: int) -> None:
        """Record what came of a round's training."""
        self._connection.execute(
            "UPDATE rounds SET closed_ms = ?, asked = ?, accepted = ?, refused = ?, declined = ?, "
            "failed = ?, outcome = ? WHERE round = ?",
            (
                now,
                effect.asked,
                effect.accepted,
                effect.refused,
                effect.declined,
                effect.failed,
                effect.outcome,
                effect.round,
            ),
        )

    def weigh(self, effect: e.Weigh) -> None:
        """Count the bytes of an update, for its round and its device."""
        self._connection.executescript("BEGIN")
        with self._connection:
            self._connection.execute(
                "UPDATE rounds SET bytes = bytes + ? WHERE round = ?", (effect.size, effect.round)
            )
            self._connection.execute(
                "UPDATE devices SET bytes = bytes + ? WHERE node = ?", (effect.size, effect.node)
            )

    def merged(self, number: int, took_ms: int) -> None:
        """Record how long the merge took."""
        self._connection.execute(
            "UPDATE rounds SET merge_ms = ? WHERE round = ?", (took_ms, number)
        )
