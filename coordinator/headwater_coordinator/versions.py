"""Versions in the books: candidates, what became of them, and the statements that are in force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from headwater_coordinator.engines import Engine
from headwater_coordinator.gate import Decision
from headwater_coordinator.state import Version

Kind = Literal["release", "candidate", "refused"]

_COLUMNS = "version, sequence, parent, statement, data_until_ms"


class Versions:
    """A table of the books; whoever calls holds the transaction.

    Parameters
    ----------
    engine
        The database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, kind: Kind) -> list[Version]:
        """Return the versions of a kind, in the order of their sequences."""
        query = f"SELECT {_COLUMNS} FROM versions WHERE kind = ? ORDER BY sequence"  # noqa: S608 - ours
        return [Version(*row) for row in self._engine.execute(query, (kind,))]

    def find(self, name: str) -> Version:
        """Return a version that is in the books."""
        query = f"SELECT {_COLUMNS} FROM versions WHERE version = ?"  # noqa: S608 - ours
        (row,) = self._engine.execute(query, (name,))
        return Version(*row)

    def is_release(self, name: str) -> bool:
        """Return whether a version was released at some time."""
        query = "SELECT 1 FROM versions WHERE version = ? AND kind = 'release'"
        return bool(self._engine.execute(query, (name,)))

    def recent(self, count: int, releases: int) -> set[str]:
        """Return the names of the newest versions and releases, and of all that is yet needed."""
        query = """
            SELECT version FROM versions WHERE kind = 'candidate'
            UNION SELECT base FROM updates WHERE state = 'accepted'
            UNION SELECT version FROM (SELECT version FROM versions
                                       ORDER BY created_ms DESC, sequence DESC LIMIT ?) AS newest
            UNION SELECT version FROM (SELECT version FROM versions WHERE kind = 'release'
                                       ORDER BY sequence DESC LIMIT ?) AS released
        """
        return {version for (version,) in self._engine.execute(query, (count, releases))}

    def enter(
        self, version: Version, kind: Kind, number: int, shares: Sequence[int], now: int
    ) -> None:
        """Add a version, or open one again that was refused.

        Parameters
        ----------
        number
            Of its round.
        shares
            Of how many examples each contributor's share is.
        """
        self._engine.upsert(
            "versions",
            {
                "version": version.name,
                "kind": kind,
                "sequence": version.sequence,
                "parent": version.parent,
                "round": number,
                "statement": version.statement,
                "data_until_ms": version.data_until_ms,
                "contributors": len(shares),
                "examples": sum(shares),
                "created_ms": now,
            },
            key="version",
        )

    def decide(self, version: Version, kind: Kind, decision: Decision, now: int) -> None:
        """Keep what became of a candidate, with the figures of the gate."""
        paired = decision.paired
        self._engine.update(
            "versions",
            ("version", version.name),
            {
                "kind": kind,
                "statement": version.statement,
                "decided_ms": now,
                "words": decision.words,
                "devices": paired.devices,
                "rows": paired.rows,
                "loss_candidate": paired.candidate,
                "loss_release": paired.release,
                "loss_baseline": paired.baseline,
                "difference": paired.mean,
                "standard_error": paired.standard_error if paired.rows > 1 else None,
            },
        )

    def bring_back(self, version: Version, words: str, now: int) -> None:
        """Make an older release the newest."""
        self._engine.update(
            "versions",
            ("version", version.name),
            {
                "sequence": version.sequence,
                "parent": version.parent,
                "data_until_ms": version.data_until_ms,
                "statement": version.statement,
                "decided_ms": now,
                "words": words,
            },
        )

    def renumber(self, version: Version) -> None:
        """Give a version another sequence, and the statement about it."""
        place = {"sequence": version.sequence, "statement": version.statement}
        self._engine.update("versions", ("version", version.name), place)
