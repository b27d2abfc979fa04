"""``exchange.db``: what the coordinator asked, what it sent, and every answer that left.

The federation client is its one writer. The agent reads it with read permission alone, which is
why it keeps a rollback journal: a write-ahead log would need its readers to write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.errors import StorageError
from headwater.wire import Kind
from headwater_agent import egress
from headwater_agent.correspondence import (
    CONNECTION,
    LedgerLine,
    Refusal,
    State,
    StoredTask,
    StoredVersion,
)
from headwater_agent.egress import Egress
from headwater_agent.ledger import DAY_MS, Entry, Fold, Total, added
from headwater_agent.migrations import Migration, migrate
from headwater_agent.receipts import Received

if TYPE_CHECKING:
    from sqlite_utils import Database

KEPT_TASKS = 1_000
"""Settled tasks that are remembered, so that a repetition is recognised."""


def _first_layout(db: Database) -> None:
    db.table("tasks").create(
        {
            "task": str,
            "kind": str,
            "fields": bytes,
            "flower": bytes,
            "received_ms": int,
            "state": str,
            "answered_ms": int,
            "reply": bytes,
            "outcome": str,
        },
        pk="task",
        not_null={"kind", "fields", "flower", "received_ms", "state"},
    ).create_index(["state"])
    db.table("versions").create(
        {
            "version": str,
            "kind": str,
            "sequence": int,
            "statement": str,
            "merged": int,
            "received_ms": int,
        },
        pk="version",
        not_null={"kind", "sequence", "statement", "merged", "received_ms"},
    )
    db.table("egress").create(
        {
            "id": int,
            "time_ms": int,
            "task": str,
            "kind": str,
            "arrays": str,
            "bytes": int,
            "peer": str,
        },
        pk="id",
    ).create_index(["task"], unique=True)


def _refusal(db: Database) -> None:
    """Keep since when and why the client may not run; no row while it may."""
    db.table("refusal").create(
        {"id": int, "since_ms": int, "reason": str}, pk="id", not_null={"since_ms", "reason"}
    )


def _delegation(db: Database) -> None:
    """Keep the publisher's newest statement; no row until one comes that is later than ours."""
    db.table("delegation").create({"id": int, "statement": str}, pk="id", not_null={"statement"})


LAYOUT: tuple[Migration, ...] = (_first_layout, _refusal, egress.lay_out, _delegation)
"""The steps of ``exchange.db``."""


class ExchangeReader:
    """What the agent, the trainer and the owner may see; read permission is enough.

    Parameters
    ----------
    path
        Of ``exchange.db``; it may appear later, until then everything is empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def waiting(self) -> list[StoredTask]:
        """Return the tasks that the agent's side has to do, oldest first."""
        sql = (
            "SELECT * FROM tasks WHERE state = 'open' AND reply IS NULL AND kind IN (?, ?) "
            "ORDER BY received_ms, task"
        )
        return [_task(row) for row in self._read(sql, (Kind.TRAIN, Kind.EVALUATE))]

    def task(self, task: str) -> StoredTask | None:
        """Return one task, whatever its state."""
        rows = self._read("SELECT * FROM tasks WHERE task = ?", (task,))
        return _task(rows[0]) if rows else None

    def newest(self) -> StoredVersion | None:
        """Return the release or rollback with the highest sequence."""
        rows = self._read(
            "SELECT * FROM versions WHERE kind != 'candidate' ORDER BY sequence DESC LIMIT 1"
        )
        return _version(rows[0]) if rows else None

    def versions(self) -> list[StoredVersion]:
        """Return all versions whose weights are here, lowest sequence first."""
        return [_version(r) for r in self._read("SELECT * FROM versions ORDER BY sequence")]

    def entries(self, since_ms: int = 0) -> list[Entry]:
        """Return the entries of the ledger that are kept one by one, oldest first.

        Raises
        ------
        LedgerError
            When one was changed so that it cannot be read.
        """
        sql = "SELECT * FROM egress WHERE time_ms >= ? ORDER BY number"
        return [egress.entry_of(row) for row in self._read_ledger(sql, (since_ms,))]

    def newest_entry(self) -> Entry | None:
        """Return the ledger's head; raises as :meth:`entries` does."""
        rows = self._read_ledger("SELECT * FROM egress ORDER BY number DESC LIMIT 1")
        return egress.entry_of(rows[0]) if rows else None

    def folds(self) -> list[Fold]:
        """Return what is left of older entries, oldest first; raises as :meth:`entries` does."""
        return [egress.fold_of(r) for r in self._read_ledger("SELECT * FROM folds ORDER BY number")]

    def receipts(self) -> list[str]:
        """Return the coordinator's signed receipts for what is kept one by one, oldest first."""
        rows = self._read_ledger("SELECT statement FROM receipts ORDER BY number")
        return [row["statement"] for row in rows]

    def totals(self) -> tuple[Total, ...]:
        """Return what left by day, kind and peer; raises as :meth:`entries` does."""
        sql = (
            f"SELECT time_ms / {DAY_MS} AS day, kind, peer, count(*) AS count, "  # noqa: S608 - a number
            "sum(requests) AS requests, sum(bytes) AS bytes FROM egress GROUP BY 1, 2, 3"
        )
        kept = [Total(**dict(row)) for row in self._read_ledger(sql)]
        return added([*(total for fold in self.folds() for total in fold.totals), *kept])

    def refusal(self) -> Refusal | None:
        """Return why the client may not run at present; None while it may."""
        if not self._read("SELECT 1 FROM sqlite_master WHERE name = 'refusal'"):
            return None  # of an earlier program
        rows = self._read("SELECT since_ms, reason FROM refusal")
        return Refusal(**dict(rows[0])) if rows else None

    def delegation(self) -> str | None:
        """Return the publisher's statement that came last and held; None where none came."""
        if not self._read("SELECT 1 FROM sqlite_master WHERE name = 'delegation'"):
            return None  # of an earlier program
        rows = self._read("SELECT statement FROM delegation")
        return rows[0]["statement"] if rows else None

    def sent_ms(self) -> int | None:
        """Return when the newest answer left."""
        sql = "SELECT max(time_ms) AS time_ms FROM egress WHERE kind != ?"
        rows = self._read_ledger(sql, (CONNECTION,))
        return rows[0]["time_ms"] if rows else None

    def _read_ledger(self, sql: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Read the ledger, which a program before this one may have written without hashes."""
        if self._read("SELECT 1 FROM sqlite_master WHERE name = 'egress'") and not self._read(
            "SELECT 1 FROM sqlite_master WHERE name = 'folds'"
        ):
            raise StorageError(
                f"{self._path} is of an earlier program; start the federation client once "
                "(`headwater agent federate --once`), which brings it up to date."
            )
        return self._read(sql, values)

    def _read(self, sql: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        if not self._path.exists():
            return []
        with _storage_errors(self._path, "read"):
            connection = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=5)
            try:
                connection.row_factory = sqlite3.Row
                return connection.execute(sql, values).fetchall()
            finally:
                connection.close()


class Exchange:
    """The one writer. Each method is one transaction, durable when it returns.

    Parameters
    ----------
    path
        Of ``exchange.db``; made or brought to the newest layout where needed.

    Raises
    ------
    StorageError
        When the database is newer than this program, damaged, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _storage_errors(path, "opened"):
            self._db = sqlite3.connect(path, isolation_level=None, timeout=5)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = DELETE")
            self._db.execute("PRAGMA synchronous = FULL")
            migrate(self._db, LAYOUT, path)
        self._egress = Egress(self._db)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def open_tasks(self) -> list[StoredTask]:
        """Return the tasks without an answer, oldest first."""
        sql = "SELECT * FROM tasks WHERE state = 'open' ORDER BY received_ms, task"
        with _storage_errors(self._path, "read"):
            return [_task(row) for row in self._db.execute(sql)]

    def settled(self) -> set[str]:
        """Return the names of tasks that are answered or refused."""
        with _storage_errors(self._path, "read"):
            rows = self._db.execute("SELECT task FROM tasks WHERE state != 'open'")
            return {str(row["task"]) for row in rows}

    def versions(self) -> list[StoredVersion]:
        """Return all versions, lowest sequence first."""
        with _storage_errors(self._path, "read"):
            rows = self._db.execute("SELECT * FROM versions ORDER BY sequence")
            return [_version(row) for row in rows]

    def delegation(self) -> str | None:
        """Return the publisher's statement that came last and held; None where none came."""
        with _storage_errors(self._path, "read"):
            row = self._db.execute("SELECT statement FROM delegation").fetchone()
            return row["statement"] if row else None

    def keep(
        self,
        task: StoredTask,
        version: StoredVersion | None,
        receipts: Sequence[Received] = (),
        delegation: str | None = None,
    ) -> None:
        """Store a task, in place of an open one of the same name, and what it brought."""
        with self._transaction():
            if delegation is not None:
                self._db.execute("INSERT OR REPLACE INTO delegation VALUES (1, ?)", (delegation,))
            self._egress.received(
                (one.receipt.message, one.receipt.number, one.statement) for one in receipts
            )
            self._db.execute(
                "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    task.task,
                    task.kind,
                    task.fields,
                    task.flower,
                    task.received_ms,
                    task.state,
                    task.answered_ms,
                    task.reply,
                    task.outcome,
                ),
            )
            if version is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        version.version,
                        version.kind,
                        version.sequence,
                        version.statement,
                        version.merged,
                        version.received_ms,
                    ),
                )

    def will_send(self, line: LedgerLine, reply: bytes, outcome: str | None) -> Entry | None:
        """Fix the answer to a task and write it into the ledger, before a byte of it leaves.

        An answer that was cut off and is sent again stands in the ledger once; there is an entry
        only the first time.
        """
        with self._transaction():
            self._db.execute(
                "UPDATE tasks SET reply = ?, outcome = ? WHERE task = ?",
                (reply, outcome, line.task),
            )
            return self._egress.append(line)

    def account(self, line: LedgerLine) -> Entry | None:
        """Write into the ledger what a connection sent apart from answers."""
        with self._transaction():
            return self._egress.append(line)

    def note_refusal(self, reason: str | None, now: int) -> bool:
        """Keep why the client may not run, or that it may; return whether that is news."""
        with self._transaction():
            known = self._db.execute("SELECT reason FROM refusal").fetchone()
            if (known["reason"] if known else None) == reason:
                return False
            self._db.execute("DELETE FROM refusal")
            if reason is not None:
                self._db.execute("INSERT INTO refusal VALUES (1, ?, ?)", (now, reason))
        return True

    def settle(self, task: str, state: State, now: int) -> None:
        """Close a task, and forget the oldest closed ones."""
        with self._transaction():
            self._db.execute(
                "UPDATE tasks SET state = ?, answered_ms = ? WHERE task = ?", (state, now, task)
            )
            self._db.execute(
                "DELETE FROM tasks WHERE state != 'open' AND task NOT IN (SELECT task FROM tasks "
                "WHERE state != 'open' ORDER BY answered_ms DESC LIMIT ?)",
                (KEPT_TASKS,),
            )

    def forget(self, versions: Sequence[str]) -> None:
        """Drop versions whose weights are no longer kept."""
        with self._transaction():
            self._db.executemany(
                "DELETE FROM versions WHERE version = ?", [(name,) for name in versions]
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _storage_errors(self._path, "written"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


@contextmanager
def _storage_errors(path: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be {doing}: {error}.") from error


def _task(row: sqlite3.Row) -> StoredTask:
    return StoredTask(**{**dict(row), "kind": Kind(row["kind"])})


def _version(row: sqlite3.Row) -> StoredVersion:
    return StoredVersion(**dict(row))
