"""``agent.db`` as it is written: by one agent, in groups, with everything in it bounded."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from headwater.errors import StorageError
from headwater_agent import events
from headwater_agent.agent_reader import AgentReader, guarded, quoted
from headwater_agent.events import Floats, Prediction
from headwater_agent.migrations import AGENT, migrate
from headwater_agent.settings import StoreSettings
from headwater_agent.store import Count, Entry, Note, Update, kept_rows
from headwater_models.manifest import Manifest

_PRUNE = {
    "rows": (
        "DELETE FROM rows WHERE rowid <= (SELECT max(rowid) FROM rows) - :limit AND slot <="
        " (SELECT max(slot) FROM rows n WHERE n.stream = rows.stream) - :keep"
    ),
    "examples": (
        "DELETE FROM examples WHERE sequence <= (SELECT max(sequence) FROM examples) - :limit"
    ),
    "predictions": (
        "DELETE FROM predictions WHERE number <= (SELECT max(number) FROM predictions) - :limit"
    ),
}
"""How each bounded table loses its oldest; the newest rows of each stream are spared."""

_LOCK_ATTEMPTS = 4
"""`headwater agent status` touches the lock for a moment; another agent keeps it."""

_MAX_HISTORY = (
    "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - 10000",
    "DELETE FROM updates WHERE sequence <= (SELECT max(sequence) FROM updates) - 10000",
    "DELETE FROM alarms WHERE id <= (SELECT max(id) FROM alarms) - 10000",
    "DELETE FROM marks WHERE id <= (SELECT max(id) FROM marks) - 100000",
    "DELETE FROM held WHERE id <= (SELECT max(id) FROM held) - 100000",
)


class SqliteStore(AgentReader):
    """The store on disk, and its only writer: a second one is refused.

    Parameters
    ----------
    path
        The database; its folder is made if need be.
    manifest
        The model whose rows and examples it holds.
    settings
        Durability and limits.
    late
        How long a prediction may wait for a label from outside, milliseconds.

    Raises
    ------
    StorageError
        When the database is damaged, newer than this program, or held by another agent.
    """

    def __init__(
        self, path: Path, manifest: Manifest, settings: StoreSettings, *, late: int = 0
    ) -> None:
        self._settings = settings
        self._late = late
        self._lock = _lock(path)
        with ExitStack() as undo, guarded(path):
            undo.callback(self._lock.close)
            self._open(path, manifest, f"file:{quoted(path)}")
            undo.callback(self._connection.close)
            self._streams = self._prepare()
            undo.pop_all()
        self._written = dict.fromkeys(_PRUNE, 0)

    def write(self, group: Sequence[Entry]) -> None:
        """Make a group durable; see :meth:`headwater_agent.store.Store.write`."""
        known = dict(self._streams)
        with guarded(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._write_batches([e for e in group if isinstance(e, events.Store)])
                for entry in group:
                    self._write(entry)
                self._prune()
                self._connection.execute("COMMIT")
            except BaseException:
                self._streams = known
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the database and give up the lock; a second call is fine."""
        super().close()
        self._lock.close()

    def _prepare(self) -> dict[str, int]:
        """Set the durability, bring the layout up to date and return the known streams."""
        self._connection.execute("PRAGMA journal_mode = WAL")
        level = "FULL" if self._settings.durability == "power" else "NORMAL"
        self._connection.execute(f"PRAGMA synchronous = {level}")
        migrate(self._connection, AGENT, self._path)
        return dict(self._connection.execute("SELECT name, id FROM streams").fetchall())

    def _write(self, entry: Entry) -> None:
        run = self._connection.execute
        match entry:
            case events.Store():
                return  # written with the others
            case events.Checkpoint(state, learned_through):
                run("REPLACE INTO checkpoint VALUES (1, ?, ?)", (state, learned_through))
            case Update(sequence, task, base, through, taken):
                values = (sequence, task, base, through, taken)
                run("REPLACE INTO updates VALUES (?, ?, ?, ?, ?)", values)
            case Note(time, kind, detail):
                run(
                    "INSERT INTO events (time, kind, detail) VALUES (?, ?, ?)", (time, kind, detail)
                )
            case Count(added):
                for name, value in added.items():
                    self._count(name, value)
            case events.Warn(alarms):
                self._connection.executemany(
                    "INSERT INTO alarms (stream, time, detector, channel, value, before)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        (self._stream(a.stream), a.time, a.detector, a.channel, a.value, a.before)
                        for a in alarms
                    ),
                )

    def _write_batches(self, batches: Sequence[events.Store]) -> None:
        run_all = self._connection.executemany
        rows = [row for batch in batches for row in batch.rows]
        predictions = [prediction for batch in batches for prediction in batch.predictions]
        examples = [example for batch in batches for example in batch.examples]
        progress = dict(pair for batch in batches for pair in batch.progress)
        standing = dict(pair for batch in batches for pair in batch.standing)
        run_all(
            "REPLACE INTO rows VALUES (?, ?, ?)",
            ((self._stream(r.stream), r.slot, _blob(r.values)) for r in rows),
        )
        run_all(
            "INSERT INTO predictions (id, stream, time, version, released, personal, baseline,"
            " quality, received, served, threshold_released, threshold_personal, marked)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            (self._prediction(p) for p in predictions),
        )
        run_all(
            "UPDATE predictions SET label = ? WHERE id = ?",
            ((score.label, score.prediction) for batch in batches for score in batch.scores),
        )
        run_all(
            "REPLACE INTO examples VALUES (?, ?, ?, ?, ?)",
            (
                (e.sequence, self._stream(e.stream), e.time, float(e.label[0]), int(e.reserved))
                for e in examples
            ),
        )
        run_all(
            "UPDATE examples SET label = ? WHERE sequence = ?",
            ((c.label, c.sequence) for batch in batches for c in batch.corrections),
        )
        self._write_aside(batches)
        run_all(
            "UPDATE streams SET progress = ? WHERE id = ?",
            ((state, self._stream(name)) for name, state in progress.items()),
        )
        run_all(
            "REPLACE INTO standing VALUES (?, ?)",
            ((self._stream(name) if name else 0, state) for name, state in standing.items()),
        )
        self._written["rows"] += len(rows)
        self._written["examples"] += len(examples)
        self._written["predictions"] += len(predictions)

    def _write_aside(self, batches: Sequence[events.Store]) -> None:
        """Write what the guard keeps aside, and forget what it does not any more."""
        run_all = self._connection.executemany
        run_all(
            "REPLACE INTO marks (stream, time, channel, value, reason) VALUES (?, ?, ?, ?, ?)",
            (
                (self._stream(m.stream), m.time, m.channel, m.value, m.reason)
                for batch in batches
                for m in batch.marks
            ),
        )
        run_all(
            "REPLACE INTO held (stream, time, label, reserved) VALUES (?, ?, ?, ?)",
            (
                (self._stream(h.stream), h.time, float(h.label[0]), int(h.reserved))
                for batch in batches
                for h in batch.held
            ),
        )
        cleared = [batch for batch in batches if batch.cleared]
        run_all(
            "DELETE FROM marks WHERE stream = ? AND time = ? AND channel = ?",
            (
                (self._stream(m.stream), m.time, m.channel)
                for batch in cleared
                for m in batch.cleared
            ),
        )
        run_all(
            "DELETE FROM held WHERE stream = ? AND time = ?",
            ((self._stream(e.stream), e.time) for batch in cleared for e in batch.examples),
        )

    def _prediction(self, p: Prediction) -> tuple[Any, ...]:
        made = (_blob(p.released), _blob(p.personal), _blob(p.baseline))
        facts = (p.quality, p.received, p.served, *p.thresholds, int(p.marked))
        return (p.id, self._stream(p.stream), p.time, p.version, *made, *facts)

    def _stream(self, name: str) -> int:
        found = self._streams.get(name)
        if found is None:
            made = self._connection.execute("INSERT INTO streams (name) VALUES (?)", (name,))
            found = self._streams[name] = int(made.lastrowid or 0)
        return found

    def _count(self, name: str, value: int) -> None:
        self._connection.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name)"
            " DO UPDATE SET value = value + excluded.value",
            (name, value),
        )

    def _prune(self) -> None:
        """Drop what is over a limit, once as much as a hundredth of the limit was written."""
        keep = kept_rows(self._manifest, self._late)
        for table, statement in _PRUNE.items():
            limit = getattr(self._settings, table)
            if self._written[table] <= limit // 100:
                continue
            self._written[table] = 0
            dropped = self._connection.execute(statement, {"limit": limit, "keep": keep}).rowcount
            if dropped:
                self._count(f"{table}-dropped", dropped)
        for statement in _MAX_HISTORY:
            self._connection.execute(statement)


def _blob(values: Floats) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


def _lock(path: Path) -> Any:
    """Hold the folder for one agent; the lock dies with the process."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.fdopen(os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600), "w")
    except OSError as error:
        raise StorageError(
            f"{path.parent} cannot be used: {error.strerror}; check that it is yours."
        ) from error
    for attempt in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05 * (attempt + 1 < _LOCK_ATTEMPTS))
        else:
            return lock
    lock.close()
    raise StorageError(
        f"{path} is in use by another agent; stop it, or give this one a state folder of its own."
    )
