"""What came in of each device and it was not told yet: kept until it has its receipt."""

from __future__ import annotations

from dataclasses import dataclass

from headwater_coordinator import events as e
from headwater_coordinator.engines import Engine

AT_ONCE = 50
"""Receipts that go out with one check-in."""

KEPT = 1_000
"""Newest messages of a device for which it can still be given receipts."""


@dataclass(frozen=True, slots=True)
class Booked:
    """A message that came in: what a receipt says of it."""

    number: int
    kind: str
    task: str | None
    digest: str
    time_ms: int


SPAN = 1_000_000
"""Numbers of receipts for each second between two restores: more than can be given."""


class Receipts:
    """A table of the books; whoever calls holds the transaction.

    Parameters
    ----------
    engine
        The database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def received(self, effect: e.Receive, now: int) -> None:
        """Keep a message, and forget those whose receipts went out with the ask it answers."""
        self._engine.execute(
            "DELETE FROM receipts WHERE node = ? AND ask = ?", (effect.node, effect.ask)
        )
        self._engine.execute(
            "INSERT INTO receipts (node, kind, task, digest, received_ms) VALUES (?, ?, ?, ?, ?)",
            (effect.node, effect.kind, effect.task, effect.digest, now),
        )
        self._engine.execute(
            "DELETE FROM receipts WHERE node = ? AND number <= (SELECT number FROM receipts "
            "WHERE node = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (effect.node, effect.node, KEPT),
        )

    def owed(self, node: str, ask: str) -> list[Booked]:
        """Return the oldest messages of a device that it has no receipt for, to go out with *ask*.

        Those that went out with an earlier ask, which was not answered, go out again.
        """
        rows = self._engine.execute(
            "SELECT number, kind, task, digest, received_ms FROM receipts WHERE node = ? "
            "ORDER BY number LIMIT ?",
            (node, AT_ONCE),
        )
        owed = [Booked(*row) for row in rows]
        self._engine.execute_many(
            "UPDATE receipts SET ask = ? WHERE number = ?", [(ask, one.number) for one in owed]
        )
        return owed

    def go_on_after(self, restore: int) -> None:
        """Give numbers above all that any restore before led to.

        Parameters
        ----------
        restore
            Its number, which rises with each by one or more a second.
        """
        self._engine.continue_from("receipts", restore * SPAN)
