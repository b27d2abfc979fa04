"""``agent.db`` as it is read: by the agent at start, by the trainer, by ``status``."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from headwater.errors import StorageError
from headwater_agent.events import Alarm, Batch, Example, Floats, Held, Mark, Prediction, Row
from headwater_agent.learner import MAX_WAITING
from headwater_agent.pipeline import Saved
from headwater_agent.store import Note, Update, reach_of, rebuild_windows, with_windows
from headwater_models.manifest import Manifest

BUSY_S = 10.0
"""Seconds that a statement waits for another process's lock."""

PAST_ROWS = 50_000
"""Rows from which drift detectors are warmed again at a start, over all streams."""

NEWEST_SCORED = 2_000
"""Predictions with a label that a start reads: drift detectors see them, labels correct them."""

NEWEST_EXAMPLES = 20_000
"""Examples of which a start reads the sequence, so that a label can correct them."""

_PREDICTIONS = (
    "SELECT label, p.id, name, time, version, released, personal, baseline, quality, received,"
    " served, threshold_released, threshold_personal, marked"
    " FROM predictions p JOIN streams s ON s.id = p.stream"
)

_WAITING = _PREDICTIONS + (  # noqa: S608 - constants alone
    " WHERE label IS NULL AND time + ? >"
    " coalesce((SELECT max(slot) FROM rows WHERE stream = s.id), 0) * ? ORDER BY number"
)
_SCORED = _PREDICTIONS + " WHERE label IS NOT NULL ORDER BY number DESC LIMIT ?"

_REMEDIES = (
    ("disk is full", "the disk is full; free some space"),
    ("malformed", "it is damaged; move it away to start again, or put a copy back"),
    ("not a database", "it is damaged; move it away to start again, or put a copy back"),
    ("readonly", "it cannot be written; check its owner and that the disk is not read-only"),
    ("unable to open", "it cannot be opened; check that the folder exists and is yours"),
    ("locked", "another program holds it; stop that program"),
    ("no such table", "it holds no agent's data yet; start the agent once"),
)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into a sentence with a remedy."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        remedy = next((r for sign, r in _REMEDIES if sign in text), "check the disk")
        raise StorageError(f"{path}: {remedy} ({text}).") from error


class AgentReader:
    """Read an agent's database beside the running agent; nothing is ever written.

    Parameters
    ----------
    path
        The database.
    manifest
        The model whose rows and examples it holds.

    Raises
    ------
    StorageError
        When there is no such database, or it cannot be read.
    """

    _late = 0

    def __init__(self, path: Path, manifest: Manifest) -> None:
        if not path.exists():
            raise StorageError(f"{path} does not exist; start the agent once.")
        with guarded(path):
            self._open(path, manifest, f"file:{quoted(path)}?mode=ro")

    def _open(self, path: Path, manifest: Manifest, uri: str) -> None:
        self._path = path
        self._manifest = manifest
        self._connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA busy_timeout = 10000")

    def load(self) -> Saved:
        """Return what the pipeline needs to go on; see :meth:`headwater_agent.store.Store.load`."""
        with guarded(self._path):
            found = self._one("SELECT state, learned_through FROM checkpoint WHERE id = 1")
            state, through = found or (None, 0)
            progress = self._connection.execute(
                "SELECT name, progress FROM streams WHERE progress IS NOT NULL ORDER BY id"
            )
            (sequence,) = self._one("SELECT coalesce(max(sequence), 0) FROM examples") or (0,)
            return Saved(
                checkpoint=state,
                progress=progress.fetchall(),
                standing=self._standing(),
                rows=list(self._newest_rows(self._manifest.window)),
                waiting=with_windows(self._manifest, list(self._waiting()), self.rows_of),
                scored=self._scored(),
                sequences=self._sequences(),
                examples=self.read_examples(after=through, newest=MAX_WAITING),
                sequence=sequence,
            )

    def past_rows(self, each: int) -> list[Row]:
        """Return the newest rows of each stream in order, at most :data:`PAST_ROWS` over all."""
        with guarded(self._path):
            (streams,) = self._one("SELECT count(*) FROM streams") or (0,)
            return list(self._newest_rows(min(each, PAST_ROWS // max(1, streams))))

    def checkpoint(self) -> bytes | None:
        """Return the newest learning state, if there is one."""
        with guarded(self._path):
            found = self._one("SELECT state FROM checkpoint WHERE id = 1")
        return found[0] if found else None

    def standing(self) -> list[tuple[str, bytes]]:
        """Return what the labels made of the models so far; see :class:`.events.Store`."""
        with guarded(self._path):
            return self._standing()

    def read_examples(self, *, after: int, newest: int) -> list[Example]:
        """Return examples to learn from, later than a sequence number, oldest first."""
        with guarded(self._path):
            found = self._connection.execute(
                "SELECT e.stream, time, label, sequence, name FROM examples e JOIN streams s"
                " ON s.id = e.stream WHERE reserved = 0 AND sequence > ?"
                " ORDER BY sequence DESC LIMIT ?",
                (after, newest),
            ).fetchall()[::-1]
            windows, whole = self._windows(found)
        kept = [row for row, there in zip(found, whole, strict=True) if there]
        return [
            Example(sequence, name, time, window, np.array([label], np.float32), False)
            for (_, time, label, sequence, name), window in zip(kept, windows, strict=True)
        ]

    def examples(self, *, reserved: bool, newest: int, through: int | None = None) -> Batch:
        """Return the newest examples; see :meth:`headwater_agent.store.Store.examples`."""
        with guarded(self._path):
            found = self._connection.execute(
                "SELECT stream, time, label FROM examples WHERE reserved = ?"
                " AND sequence <= ? ORDER BY sequence DESC LIMIT ?",
                (int(reserved), 2**62 if through is None else through, newest),
            ).fetchall()[::-1]
            windows, whole = self._windows(found)
        times = np.array([time for _, time, _ in found], np.int64)
        labels = np.array([label for _, _, label in found], np.float32)
        return Batch(
            window=windows,
            time=times[whole],
            label=labels[whole].reshape(-1, 1),
            weight=np.ones(int(whole.sum()), np.float32),
        )

    def update(self, sequence: int) -> Update | None:
        """Return the update begun under a number, if there is one."""
        with guarded(self._path):
            found = self._one(
                "SELECT sequence, task, base, learned_through, taken_ms FROM updates"
                " WHERE sequence = ?",
                (sequence,),
            )
        return Update(*found) if found else None

    def last_update(self) -> int:
        """Return the highest sequence of any update begun; 0: none."""
        with guarded(self._path):
            (sequence,) = self._one("SELECT coalesce(max(sequence), 0) FROM updates") or (0,)
        return int(sequence)

    def counters(self) -> dict[str, int]:
        """Return the counters that outlive a restart."""
        return {row["name"]: row["value"] for row in self._query("SELECT * FROM counters")}

    def notes(self, newest: int) -> list[Note]:
        """Return the newest notes, newest first."""
        sql = "SELECT time, kind, detail FROM events ORDER BY id DESC LIMIT ?"
        return [Note(**row) for row in self._query(sql, (newest,))]

    def alarms(self, newest: int) -> list[Alarm]:
        """Return the newest alarms, newest first."""
        sql = (
            "SELECT name AS stream, time, detector, channel, value, before"
            " FROM alarms a JOIN streams s ON s.id = a.stream ORDER BY a.id DESC LIMIT ?"
        )
        return [Alarm(**row) for row in self._query(sql, (newest,))]

    def marks(self) -> list[Mark]:
        """Return all values that are kept aside, newest first."""
        sql = (
            "SELECT name AS stream, time, channel, value, reason"
            " FROM marks m JOIN streams s ON s.id = m.stream ORDER BY m.id DESC"
        )
        return [Mark(**row) for row in self._query(sql)]

    def count_aside(self) -> tuple[dict[str, int], int]:
        """Return how many values are kept aside for each reason, and how many windows."""
        sql = "SELECT reason, count(*) AS count FROM marks GROUP BY reason ORDER BY count DESC"
        values = {row["reason"]: row["count"] for row in self._query(sql)}
        (windows,) = self._one("SELECT count(*) FROM held") or (0,)
        return values, windows

    def held(self) -> list[Held]:
        """Return all windows that are held back, oldest first."""
        sql = (
            "SELECT name, time, label, reserved"
            " FROM held h JOIN streams s ON s.id = h.stream ORDER BY h.id"
        )
        with guarded(self._path):
            found = self._connection.execute(sql).fetchall()
        return [
            Held(name, time, np.array([label], np.float32), bool(reserved))
            for name, time, label, reserved in found
        ]

    def streams(self) -> list[dict[str, Any]]:
        """Return for each stream its ``name``, ``rows``, ``examples`` and ``newest`` slot."""
        return self._query(
            "SELECT name, (SELECT count(*) FROM rows WHERE stream = s.id) AS rows,"
            " (SELECT count(*) FROM examples WHERE stream = s.id) AS examples,"
            " (SELECT max(slot) FROM rows WHERE stream = s.id) AS newest"
            " FROM streams s ORDER BY name"
        )

    def scored(self, newest: int) -> tuple[NDArray[np.float64], Floats, str]:
        """Return labels ``[N]``, predictions ``[N, 4, K]`` and the newest version's name.

        The four are baseline, released, personal and served, of the newest scored predictions.
        """
        with guarded(self._path):
            found = self._connection.execute(
                "SELECT label, baseline, released, personal,"
                " iif(served = 'personal', personal, released) FROM predictions"
                " WHERE label IS NOT NULL ORDER BY number DESC LIMIT ?",
                (newest,),
            ).fetchall()
            last = self._one("SELECT version FROM predictions ORDER BY number DESC LIMIT 1")
        labels = np.array([label for label, *_ in found], np.float64)
        raw = b"".join(blob for _, *blobs in found for blob in blobs)
        made = np.frombuffer(raw, "<f4").reshape(len(found), 4, self._manifest.outputs)
        return labels, made, last[0] if last else ""

    def close(self) -> None:
        """Close the connection; a second call is fine."""
        self._connection.close()

    def _query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        with guarded(self._path):
            return list(Database(self._connection, execute_plugins=False).query(sql, parameters))

    def _one(self, sql: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._connection.execute(sql, parameters).fetchone()
        return found

    def _windows(self, found: Sequence[tuple[Any, ...]]) -> tuple[Floats, NDArray[np.bool_]]:
        times = np.array([row[1] for row in found], np.int64)
        return rebuild_windows(self._manifest, [row[0] for row in found], times, self._rows_between)

    def rows_of(self, name: str, first: int, last: int) -> tuple[NDArray[np.int64], Floats]:
        """Return slots int64 ``[R]`` and cells float32 ``[R, C]`` of a stream, ends included."""
        found = self._one("SELECT id FROM streams WHERE name = ?", (name,)) or (0,)
        return self._rows_between(found[0], first, last)

    def _rows_between(self, stream: int, first: int, last: int) -> tuple[NDArray[np.int64], Floats]:
        found = self._connection.execute(
            "SELECT slot, cells FROM rows WHERE stream = ? AND slot BETWEEN ? AND ? ORDER BY slot",
            (stream, first, last),
        ).fetchall()
        slots = np.array([slot for slot, _ in found], np.int64)
        return slots, self._cells(b"".join(cells for _, cells in found), len(found))

    def _cells(self, raw: bytes, count: int) -> Floats:
        width = len(self._manifest.channels)
        if len(raw) != 4 * width * count:
            raise StorageError(
                f"{self._path} holds rows of another model; give this model a state folder of its "
                "own, or move the database away to start again."
            )
        return np.frombuffer(raw, "<f4").reshape(count, width)

    def _newest_rows(self, each: int) -> Iterator[Row]:
        found = self._connection.execute(
            "SELECT name, slot, cells FROM streams s JOIN rows r ON r.stream = s.id"
            " WHERE slot > (SELECT max(slot) FROM rows WHERE stream = s.id) - ?"
            " ORDER BY s.id, slot",
            (each,),
        )
        unseen = np.zeros(len(self._manifest.channels), np.bool_)
        for name, slot, cells in found:
            yield Row(name, slot, self._cells(cells, 1)[0].copy(), unseen)

    def _waiting(self) -> Iterator[Prediction]:
        """Yield the predictions whose label may still come."""
        found = self._connection.execute(
            _WAITING,
            (reach_of(self._manifest, self._late), int(self._manifest.grid.period)),
        )
        for _, *row in found:
            yield _prediction(row)

    def _standing(self) -> list[tuple[str, bytes]]:
        return self._connection.execute(
            "SELECT coalesce(name, ''), state FROM standing t LEFT JOIN streams s"
            " ON s.id = t.stream ORDER BY t.stream"
        ).fetchall()

    def _sequences(self) -> dict[tuple[str, int], int]:
        """Return the sequences of the newest examples, by stream and time."""
        found = self._connection.execute(
            "SELECT name, time, sequence FROM examples e JOIN streams s ON s.id = e.stream"
            " ORDER BY sequence DESC LIMIT ?",
            (NEWEST_EXAMPLES,),
        )
        return {(name, time): sequence for name, time, sequence in found}

    def _scored(self) -> list[tuple[Prediction, float]]:
        """Return the newest predictions whose label came, oldest first."""
        found = self._connection.execute(
            _SCORED,
            (NEWEST_SCORED,),
        ).fetchall()
        return [(_prediction(row), label) for label, *row in reversed(found)]


def _prediction(row: Sequence[Any]) -> Prediction:
    """Return the prediction of a row of ``_PREDICTIONS``, without its label."""
    key, name, time, version, *made, quality, received, served, one, two, marked = row
    released, personal, baseline = (np.frombuffer(blob, "<f4") for blob in made)
    return Prediction(
        id=key,
        stream=name,
        time=time,
        version=version,
        released=released,
        personal=personal,
        baseline=baseline,
        quality=quality,
        received=received,
        served=served,
        thresholds=(math.nan if one is None else one, math.nan if two is None else two),
        marked=bool(marked),
    )


def quoted(path: Path) -> str:
    """Write a path so that SQLite's URI parser reads it as it is."""
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
