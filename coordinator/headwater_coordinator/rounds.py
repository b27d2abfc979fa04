"""Rounds in the books: what was asked, what came of it, how many bytes and how long it took."""

from __future__ import annotations

from headwater_coordinator import events as e
from headwater_coordinator.engines import Engine


class Rounds:
    """A table of the books; each method but :meth:`merged` is a transaction.

    Parameters
    ----------
    engine
        The database, which commits each statement unless a transaction is open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def interrupt(self, now: int) -> None:
        """Close the round that a restart cut short."""
        self._engine.execute(
            "UPDATE rounds SET outcome = 'interrupted', closed_ms = ? WHERE outcome = 'open'",
            (now,),
        )

    def open(self, effect: e.Open, now: int) -> None:
        """Record that a round began, before anyone is asked."""
        self._engine.execute(
            "INSERT INTO rounds (round, base, asked, opened_ms) VALUES (?, ?, ?, ?)",
            (effect.round, effect.base, effect.asked, now),
        )

    def close(self, effect: e.Close, now: int) -> None:
        """Record what came of a round's training."""
        self._engine.execute(
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
        with self._engine.transaction():
            self._engine.execute(
                "UPDATE rounds SET bytes = bytes + ? WHERE round = ?", (effect.size, effect.round)
            )
            self._engine.execute(
                "UPDATE devices SET bytes = bytes + ? WHERE node = ?", (effect.size, effect.node)
            )

    def merged(self, number: int, took_ms: int) -> None:
        """Record how long the merge took."""
        self._engine.execute("UPDATE rounds SET merge_ms = ? WHERE round = ?", (took_ms, number))
