"""``agent.db`` as it is written: by one agent, in groups, with everything in it bounded."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

from headwater.clock import now_ms
from headwater.errors import StorageError
from headwater_agent import damage, events
from headwater_agent.agent_reader import AgentReader, guarded, quoted
from headwater_agent.layout import NEWEST
from headwater_agent.log_writer import LogWriter
from headwater_agent.migrations import AGENT, migrate
from headwater_agent.pipeline import Saved
from headwater_agent.seal import seal
from headwater_agent.segment import DamagedError
from headwater_agent.settings import StoreSettings
from headwater_agent.store import (
    FINGERPRINTS,
    Count,
    Entry,
    Fingerprints,
    Messages,
    Note,
    Outbox,
    Unsent,
    Update,
    unsent_after,
)
from headwater_models.manifest import Manifest

_LOCK_ATTEMPTS = 4
"""`headwater agent status` touches the lock for a moment; another agent keeps it."""

_CACHE_KIB = 256
"""Pages that a connection keeps at most: what is written is not read again soon."""

_WAL_PAGES = 1_000
"""Pages of 4 kB from which on the write-ahead log is brought into the database."""

_WAL_BYTES = 16 << 20
"""To how much the write-ahead log is cut down after a time of need."""

_MAX_HISTORY = (
    "DELETE FROM versions WHERE id <= (SELECT max(id) FROM versions) - 10000",
    "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - 10000",
    "DELETE FROM updates WHERE sequence <= (SELECT max(sequence) FROM updates) - 10000",
    "DELETE FROM alarms WHERE id <= (SELECT max(id) FROM alarms) - 10000",
    "DELETE FROM marks WHERE id <= (SELECT max(id) FROM marks) - 100000",
    "DELETE FROM held WHERE id <= (SELECT max(id) FROM held) - 100000",
)

_log = logging.getLogger(__name__)


class SqliteStore(AgentReader):
    """The store on disk, and its only writer: a second one is refused.

    A database that is found damaged at a start is kept aside and begun anew with what can be read
    of it; a note says so. Found later, that is an error, and the next start does it.

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
    fingerprints
        How many are kept.

    Raises
    ------
    StorageError
        When the database is newer than this program, cannot be written, or is held by another
        agent.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        settings: StoreSettings,
        *,
        late: int = 0,
        fingerprints: int = FINGERPRINTS,
    ) -> None:
        self._settings = settings
        self._late = late
        self._fingerprints = fingerprints
        self._lock = _lock(path)
        with ExitStack() as undo:
            undo.callback(self._lock.close)
            if damage.is_suspect(path):
                self._repair(path, manifest, "the last run found it damaged")
            else:
                try:
                    self._begin(path, manifest)
                except DamagedError as error:
                    self._repair(path, manifest, str(error))
            undo.pop_all()

    def load(self) -> Saved:
        """Return what the pipeline needs; see :meth:`headwater_agent.store.Store.load`."""
        with self._turn:
            try:
                return super().load()
            except DamagedError as error:
                self._connection.close()
                self._repair(self._path, self._manifest, str(error))
                return super().load()

    def write(self, group: Sequence[Entry]) -> None:
        """Make a group durable; see :meth:`headwater_agent.store.Store.write`."""
        with self._turn, self._suspecting(), guarded(self._path):
            self._write_group(group)

    def messages(self) -> Messages:
        """Return what the transport needs; see :meth:`headwater_agent.store.Store.messages`."""
        with self._snapshot():
            found = self._connection.execute(
                "SELECT token, topic, payload, retain FROM outbox ORDER BY id"
            ).fetchall()
            fingerprints = self._log.fingerprints()
        return Messages(
            fingerprints,
            [
                Unsent(token, topic, payload, bool(retain))
                for token, topic, payload, retain in found
            ],
        )

    def close(self) -> None:
        """Close the database and give up the lock; a second call is fine."""
        super().close()
        self._lock.close()

    def _begin(self, path: Path, manifest: Manifest) -> None:
        """Open the database, bring its layout up to date, and read what a writer must know."""
        died = path.with_name(f"{path.name}-wal").exists()
        with ExitStack() as undo, guarded(path):
            self._open(path, manifest, f"file:{quoted(path)}")
            undo.callback(self._connection.close)
            level = "FULL" if self._settings.durability == "power" else "NORMAL"
            for setting in (
                "journal_mode = WAL",
                f"synchronous = {level}",
                f"wal_autocheckpoint = {_WAL_PAGES}",
                f"journal_size_limit = {_WAL_BYTES}",
                f"cache_size = -{_CACHE_KIB}",
            ):
                self._connection.execute(f"PRAGMA {setting}")
            if died:
                self._check_whole()
            migrate(self._connection, AGENT, path, NEWEST)
            self._log = LogWriter(
                self._connection,
                manifest,
                self._settings,
                self._records,
                late=self._late,
                fingerprints=self._fingerprints,
            )
            self._read_outbox()
            undo.pop_all()

    def _check_whole(self) -> None:
        """Look for damage that only writing would meet, after a run that did not end in order."""
        (found,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise DamagedError(found)

    def _repair(self, path: Path, manifest: Manifest, reason: str) -> None:
        """Begin anew with what can still be read."""
        aside = damage.set_aside(path, now_ms())
        self._begin(path, manifest)
        with guarded(path):
            self._connection.execute("BEGIN IMMEDIATE")
            taken, lost = damage.take_over(aside, self._connection)
            detail = f"{reason} Kept as {aside.name}; taken over {taken}, not readable {lost}."
            self._write(Note(now_ms(), "repaired", detail))
            self._connection.execute("COMMIT")
            self._refresh()
        _log.warning("%s was damaged and is begun anew: %s", path, detail)

    def _write_group(self, group: Sequence[Entry]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._write_batches([e for e in group if isinstance(e, events.Store)])
            self._write_messages(group)
            for entry in group:
                self._write(entry)
            self._prune()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._refresh()
            raise

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        with self._suspecting(), super()._snapshot():
            yield

    @contextmanager
    def _suspecting(self) -> Iterator[None]:
        """Let the next start repair what is found damaged: this one cannot go on with it."""
        try:
            yield
        except DamagedError:
            damage.mark_suspect(self._path)
            raise

    def _refresh(self) -> None:
        """Read again what a writer must know, after what was written was taken back."""
        self._log.refresh()
        self._read_outbox()

    def _read_outbox(self) -> None:
        found = self._connection.execute("SELECT token, id FROM outbox ORDER BY id")
        self._unsent: dict[int, int] = dict(found.fetchall())

    def _write(self, entry: Entry) -> None:
        run = self._connection.execute
        match entry:
            case events.Store() | Outbox() | Fingerprints():
                return  # written with the others
            case events.Checkpoint(state, learned_through):
                sealed = seal(state, str(learned_through))
                run("REPLACE INTO checkpoint VALUES (1, ?, ?)", (sealed, learned_through))
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
                stream = self._log.stream
                self._run_all(
                    "INSERT INTO alarms (stream, time, detector, channel, value, before)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        (stream(a.stream), a.time, a.detector, a.channel, a.value, a.before)
                        for a in alarms
                    ],
                )

    def _write_batches(self, batches: Sequence[events.Store]) -> None:
        self._log.append(batches)
        self._write_aside(batches)
        progress = _sealed(pair for batch in batches for pair in batch.progress)
        standing = _sealed(pair for batch in batches for pair in batch.standing)
        stream = self._log.stream
        self._run_all(
            "UPDATE streams SET progress = coalesce(?, progress), standing = coalesce(?, standing)"
            " WHERE id = ?",
            [
                (progress.get(name), standing.get(name), stream(name))
                for name in progress | standing
            ],
        )

    def _write_aside(self, batches: Sequence[events.Store]) -> None:
        """Write what the guard keeps aside, and forget what it does not any more."""
        stream = self._log.stream
        for name, _ in (pair for batch in batches for pair in batch.erased):
            self._connection.execute(
                "DELETE FROM held WHERE ?1 IS NULL OR stream = ?1",
                (stream(name) if name else None,),
            )
        self._run_all(
            "REPLACE INTO marks (stream, time, channel, value, reason) VALUES (?, ?, ?, ?, ?)",
            [
                (stream(m.stream), m.time, m.channel, m.value, m.reason)
                for batch in batches
                for m in batch.marks
            ],
        )
        self._run_all(
            "REPLACE INTO held (stream, time, label, reserved) VALUES (?, ?, ?, ?)",
            [
                (stream(h.stream), h.time, h.label, int(h.reserved))
                for batch in batches
                for h in batch.held
            ],
        )
        cleared = [batch for batch in batches if batch.cleared]
        self._run_all(
            "DELETE FROM marks WHERE stream = ? AND time = ? AND channel = ?",
            [(stream(m.stream), m.time, m.channel) for batch in cleared for m in batch.cleared],
        )
        self._run_all(
            "DELETE FROM held WHERE stream = ? AND time = ?",
            [(stream(e.stream), e.time) for batch in cleared for e in batch.examples],
        )

    def _write_messages(self, group: Sequence[Entry]) -> None:
        """Write what is unsent at the end of the group, and the fingerprints."""
        fingerprints = [v for e in group if isinstance(e, Fingerprints) for v in e.values]
        self._log.remember(fingerprints[-self._fingerprints :])
        unsent: dict[int, Unsent] = {}
        for entry in group:
            if isinstance(entry, Outbox):
                if entry.afresh and self._unsent:
                    self._connection.execute("DELETE FROM outbox")
                    self._unsent.clear()
                unsent = unsent_after(unsent, entry)
                self._forget([token for token in entry.gone if token in self._unsent])
        over = len(self._unsent) + len(unsent) - self._settings.outbox
        if over > 0:
            self._forget(list(islice(self._unsent, over)))
            for token in list(unsent)[: max(0, len(unsent) - self._settings.outbox)]:
                del unsent[token]
            self._count("outbox-dropped", over)
        free = next(reversed(self._unsent.values()), 0) + 1
        self._run_all(
            "INSERT INTO outbox (id, token, topic, payload, retain) VALUES (?, ?, ?, ?, ?)",
            [
                (number, message.token, message.topic, message.payload, int(message.retain))
                for number, message in enumerate(unsent.values(), free)
            ],
        )
        self._unsent.update(zip(unsent, count(free), strict=False))

    def _forget(self, tokens: Sequence[int]) -> None:
        """Take messages out of the outbox: at once those that follow one another."""
        spans: list[list[int]] = []
        for number in map(self._unsent.pop, tokens):
            if spans and number == spans[-1][1] + 1:
                spans[-1][1] = number
            else:
                spans.append([number, number])
        self._run_all("DELETE FROM outbox WHERE id BETWEEN ? AND ?", spans)

    def _run_all(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        if values:
            self._connection.executemany(sql, values)

    def _count(self, name: str, value: int) -> None:
        self._connection.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name)"
            " DO UPDATE SET value = value + excluded.value",
            (name, value),
        )

    def _prune(self) -> None:
        """Drop what is over a limit."""
        for name, dropped in self._log.prune().items():
            self._count(name, dropped)
        for statement in _MAX_HISTORY:
            self._connection.execute(statement)


def _sealed(states: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """Return the last state of each name as it is stored."""
    return {name: seal(state, name) for name, state in dict(states).items()}


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
