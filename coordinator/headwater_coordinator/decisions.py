"""What was decided about versions and devices, by whom and why: a chain that only grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headwater_coordinator.engines import Engine
from headwater_coordinator.state import Version

Kind = Literal[
    "begin",
    "release",
    "reject",
    "rollback",
    "forget",
    "readmit",
    "renew",
    "accept",
    "drop",
    "group",
]

GATE = "the gate"
"""Who decides where no person does."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """Who decided, and why."""

    by: str
    words: str = ""


BY_GATE = Ruling(GATE)
"""Where there is nothing to say about it."""


class Decisions:
    """A table of the books; whoever calls holds the transaction.

    Every statement about a release that ever left is in it, while ``versions`` has the newest of
    each version.

    Parameters
    ----------
    engine
        The database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def about_version(self, kind: Kind, version: Version, ruling: Ruling, now: int) -> None:
        """Add what was decided about a version."""
        self._engine.execute(
            "INSERT INTO decisions (time_ms, kind, by, version, sequence, words, statement) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                now,
                kind,
                ruling.by,
                version.name,
                version.sequence,
                ruling.words,
                version.statement,
            ),
        )

    def about_keys(self, statement: str, ruling: Ruling, now: int) -> None:
        """Add that another statement of the publisher is in force, and which one was until then."""
        self._engine.execute(
            "INSERT INTO decisions (time_ms, kind, by, words, statement) "
            "VALUES (?, 'renew', ?, ?, ?)",
            (now, ruling.by, ruling.words, statement),
        )

    def about_device(self, kind: Kind, node: str, ruling: Ruling, now: int) -> None:
        """Add what was decided about a device, by its name."""
        self._engine.execute(
            "INSERT INTO decisions (time_ms, kind, by, device, words) SELECT ?, ?, ?, "
            "coalesce((SELECT nullif(device, '') FROM devices WHERE node = ?), ?), ?",
            (now, kind, ruling.by, node, node, ruling.words),
        )
