"""The ledger's tables in ``exchange.db``: what left, what was folded of it, what was received.

Whoever calls holds the transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from headwater.errors import LedgerError
from headwater_agent import ledger
from headwater_agent.correspondence import LedgerLine
from headwater_agent.ledger import Entry, Fold, Total

if TYPE_CHECKING:
    from sqlite_utils import Database

KEPT_ENTRIES = 10_000
"""Newest entries that are kept one by one: two months of check-ins, 13 MB with their receipts."""

FOLDED_AT_ONCE = 500
"""So many entries above that are folded together."""

KEPT_RECEIPTS = 2 * KEPT_ENTRIES
"""A coordinator that sends more receipts than this without an entry is not listened to."""

_LINE = ("time_ms", "task", "kind", "arrays", "bytes", "peer", "digest", "requests")


def lay_out(db: Database) -> None:
    """Chain the lines of a ledger that had no hashes, and make room for folds and receipts."""
    rows = list(db.query("SELECT * FROM egress ORDER BY id"))
    db.table("egress").drop()
    db.table("egress").create(
        {
            "number": int,
            "time_ms": int,
            "task": str,
            "kind": str,
            "arrays": str,
            "bytes": int,
            "peer": str,
            "digest": str,
            "requests": int,
            "seal": str,
            "hash": str,
        },
        pk="number",
    ).create_index(["task"], unique=True)
    db.table("folds").create(
        {"number": int, "day": int, "through": int, "last": str, "totals": str, "seal": str},
        pk="number",
    )
    db.table("receipts").create(
        {"number": int, "digest": str, "receipt": int, "statement": str}, pk="number"
    ).create_index(["digest", "receipt"], unique=True)
    table = Egress(db.conn)
    for row in rows:
        table.append(
            LedgerLine(
                time_ms=row["time_ms"],
                task=row["task"],
                kind=row["kind"],
                arrays=tuple(json.loads(row["arrays"])),
                bytes=row["bytes"],
                peer=row["peer"],
            )
        )


class Egress:
    """The writing side.

    Parameters
    ----------
    connection
        To the database.
    kept, at_once
        See :data:`KEPT_ENTRIES` and :data:`FOLDED_AT_ONCE`.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        kept: int = KEPT_ENTRIES,
        at_once: int = FOLDED_AT_ONCE,
    ) -> None:
        self._connection = connection
        self._kept = kept
        self._at_once = at_once

    def append(self, line: LedgerLine) -> Entry | None:
        """Write a line, unless there is one about its task; return its entry."""
        found = self._connection.execute("SELECT 1 FROM egress WHERE task = ?", (line.task,))
        if line.task and found.fetchone():
            return None
        self._fold()
        folds, newest = self._folds("ORDER BY number DESC LIMIT 1"), self._newest()
        seal = folds[0].seal if folds else ledger.BEGINNING
        entry = ledger.chained(newest[1], newest[0] + 1, line, seal)
        self._connection.execute(
            "INSERT INTO egress VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry.number,
                line.time_ms,
                line.task or None,
                line.kind,
                json.dumps(line.arrays),
                line.bytes,
                line.peer,
                line.digest,
                line.requests,
                entry.seal,
                entry.hash,
            ),
        )
        return entry

    def received(self, receipts: Iterable[tuple[str, int, str]]) -> int:
        """Keep receipts: what they are of, their numbers, and the signed statements.

        Returns
        -------
        int
            How many are new.
        """
        (count,) = self._connection.execute("SELECT count(*) FROM receipts").fetchone()
        new = list(receipts)[: max(0, KEPT_RECEIPTS - count)]
        return self._connection.executemany(
            "INSERT OR IGNORE INTO receipts (digest, receipt, statement) VALUES (?, ?, ?)", new
        ).rowcount

    def _newest(self) -> tuple[int, str]:
        """Return number and hash of the newest entry."""
        row = self._connection.execute(
            "SELECT number, hash FROM egress ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return (row[0], row[1]) if row else (0, ledger.BEGINNING)

    def _folds(self, order: str) -> list[Fold]:
        rows = self._connection.execute(f"SELECT * FROM folds {order}")  # noqa: S608 - our own
        return [fold_of(row) for row in rows]

    def _fold(self) -> None:
        """Fold the oldest entries once there are too many."""
        span = "(SELECT max(number) FROM egress) - (SELECT min(number) FROM egress) + 1"
        (count,) = self._connection.execute(f"SELECT {span}").fetchone()
        if (count or 0) < self._kept + self._at_once:
            return
        rows = self._connection.execute(
            "SELECT * FROM egress ORDER BY number LIMIT ?", (self._at_once,)
        )
        entries = [entry_of(row) for row in rows]
        for group in ledger.days(entries):
            self._fold_day(group)
        self._connection.execute("DELETE FROM egress WHERE number <= ?", (entries[-1].number,))
        self._connection.executemany(
            "DELETE FROM receipts WHERE number = "
            "(SELECT min(number) FROM receipts WHERE digest = ?)",
            [(entry.line.digest,) for entry in entries if entry.line.digest],
        )

    def _fold_day(self, entries: Sequence[Entry]) -> None:
        """Fold entries of one day into the newest fold where that is of the same day."""
        newest = self._folds("ORDER BY number DESC LIMIT 2")
        seals = [fold.seal for fold in newest] + [ledger.BEGINNING, ledger.BEGINNING]
        if newest and newest[0].day == entries[0].line.time_ms // ledger.DAY_MS:
            fold = ledger.widened(seals[1], newest[0], entries)
            self._connection.execute(
                "DELETE FROM folds WHERE number = (SELECT max(number) FROM folds)"
            )
        else:
            fold = ledger.folded(seals[0], entries)
        totals = msgspec.json.encode(fold.totals).decode()
        self._connection.execute(
            "INSERT INTO folds (day, through, last, totals, seal) VALUES (?, ?, ?, ?, ?)",
            (fold.day, fold.through, fold.last, totals, fold.seal),
        )


def entry_of(row: sqlite3.Row) -> Entry:
    """Read a row of ``egress``.

    Raises
    ------
    LedgerError
        When a value is not of its type: it was changed by another hand.
    """
    with _readable(f"entry {row['number']}"):
        line = {name: row[name] for name in _LINE} | {
            "task": row["task"] or "",
            "arrays": msgspec.json.decode(row["arrays"]),
        }
        entry = {name: row[name] for name in ("number", "seal", "hash")} | {"line": line}
        return msgspec.convert(entry, Entry)


def fold_of(row: sqlite3.Row) -> Fold:
    """Read a row of ``folds``; raises as :func:`entry_of` does."""
    with _readable(f"fold {row['number']}"):
        totals = msgspec.json.decode(row["totals"], type=tuple[Total, ...])
        values = {name: row[name] for name in ("day", "through", "last", "seal")}
        return msgspec.convert({**values, "totals": totals}, Fold)


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except (msgspec.MsgspecError, TypeError) as error:
        raise LedgerError(f"The ledger was changed: {what} cannot be read ({error}).") from error
