"""``agent.db`` as it is read: by the agent at start, by the trainer, by ``status``."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headwater.errors import StorageError
from headwater_agent.events import Alarm, Batch, Example, Floats, Held, Mark, Prediction, Row
from headwater_agent.pipeline import Saved
from headwater_agent.seal import unseal
from headwater_agent.segment import DamagedError, Ints
from headwater_agent.segment_log import LOWEST
from headwater_agent.store import Note, PassingError, Update, reach_of
from headwater_agent.stored import PERSONAL, PredictionTable, Records
from headwater_agent.waiting import MAX_WAITING
from headwater_models.manifest import Manifest

BUSY_S = 10.0
"""Seconds that a statement waits for another process's lock."""

PAST_ROWS = 50_000
"""Rows from which drift detectors are warmed again at a start, over all streams."""

NEWEST_SCORED = 2_000
"""Predictions with a label that a start reads: drift detectors see them, labels correct them."""

NEWEST_EXAMPLES = 20_000
"""Examples of which a start reads the sequence, so that a label can correct them."""

_DAMAGED = "it is damaged; restart the agent, which keeps it aside and begins a new one"
_REMEDIES: tuple[tuple[str, type[StorageError], str], ...] = (
    ("disk is full", PassingError, "the disk is full; free some space"),
    ("disk I/O error", PassingError, "the disk does not answer; check it"),
    ("locked", PassingError, "another program holds it; stop that program"),
    ("malformed", DamagedError, _DAMAGED),
    ("not a database", DamagedError, _DAMAGED),
    ("decode to UTF-8", DamagedError, _DAMAGED),
    ("readonly", StorageError, "it cannot be written; check its owner and the disk"),
    ("unable to open", StorageError, "it cannot be opened; check its folder and its owner"),
    ("no such table", StorageError, "it holds no agent's data of this kind; start the agent once"),
)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into a sentence with a remedy, of a kind that says what may be done."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        kind, remedy = next(
            ((kind, remedy) for sign, kind, remedy in _REMEDIES if sign in text),
            (StorageError, "check the disk"),
        )
        raise kind(f"{path}: {remedy} ({text}).") from error
    except DamagedError as error:
        if str(path) in str(error):
            raise
        raise DamagedError(f"{path}: {_DAMAGED} ({error}).") from error


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
        self._turn = threading.RLock()
        self._connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA busy_timeout = 10000")
        self._records = Records(self._connection, manifest, path)

    def load(self) -> Saved:
        """Return what the pipeline needs to go on; see :meth:`headwater_agent.store.Store.load`."""
        with self._snapshot():
            state, through = self._learned()
            names = self._records.names()
            newest = self._records.newest_slots(len(names))
            predictions = self._records.predictions()
            return Saved(
                checkpoint=state,
                progress=self._states("progress"),
                standing=self._states("standing"),
                rows=self._newest_rows(names, newest, self._manifest.window),
                waiting=self._waiting(predictions, newest),
                scored=self._scored(predictions),
                sequences=self._sequences(names),
                examples=self.read_examples(after=through, newest=MAX_WAITING),
                sequence=max(through, self._records.last_example()),
            )

    def past_rows(self, each: int) -> list[Row]:
        """Return the newest rows of each stream in order, at most :data:`PAST_ROWS` over all."""
        with self._snapshot():
            names = self._records.names()
            share = min(each, PAST_ROWS // max(1, len(names) - 1))
            return self._newest_rows(names, self._records.newest_slots(len(names)), share)

    def checkpoint(self) -> bytes | None:
        """Return the newest learning state, if there is one."""
        with self._snapshot():
            return self._learned()[0]

    def standing(self) -> list[tuple[str, bytes]]:
        """Return what the labels made of the models so far; see :class:`.events.Store`."""
        with self._snapshot():
            return self._states("standing")

    def read_examples(self, *, after: int, newest: int) -> list[Example]:
        """Return examples to learn from, later than a sequence number, oldest first."""
        with self._snapshot():
            names = self._records.names()
            found = self._records.examples(newest=newest, reserved=False, after=after)
            windows, whole = self._records.windows(found.streams, found.times, len(names))
        kept = found.only(whole)
        return [
            Example(sequence, names[stream], time, window, label, False)
            for sequence, stream, time, window, label in zip(
                kept.sequences.tolist(),
                kept.streams.tolist(),
                kept.times.tolist(),
                windows,
                kept.labels.tolist(),
                strict=True,
            )
        ]

    def examples(self, *, reserved: bool, newest: int, through: int | None = None) -> Batch:
        """Return the newest examples; see :meth:`headwater_agent.store.Store.examples`."""
        with self._snapshot():
            streams = len(self._records.names())
            last = {} if through is None else {"through": through}
            found = self._records.examples(newest=newest, reserved=reserved, **last)
            windows, whole = self._records.windows(found.streams, found.times, streams)
        kept = found.only(whole)
        return Batch(
            window=windows,
            time=kept.times,
            label=kept.labels.reshape(-1, 1),
            weight=np.ones(len(kept.times), np.float32),
        )

    def update(self, sequence: int) -> Update | None:
        """Return the update begun under a number, if there is one."""
        with self._snapshot():
            found = self._one(
                "SELECT sequence, task, base, learned_through, taken_ms FROM updates"
                " WHERE sequence = ?",
                (sequence,),
            )
        return Update(*found) if found else None

    def last_update(self) -> int:
        """Return the highest sequence of any update begun; 0: none."""
        with self._snapshot():
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
        with self._snapshot():
            (windows,) = self._one("SELECT count(*) FROM held") or (0,)
        return values, windows

    def count_outbox(self) -> int:
        """Return how many messages of ours the broker has not acknowledged."""
        with self._snapshot():
            (waiting,) = self._one("SELECT count(*) FROM outbox") or (0,)
        return int(waiting)

    def held(self) -> list[Held]:
        """Return all windows that are held back, oldest first."""
        sql = (
            "SELECT name, time, label, reserved"
            " FROM held h JOIN streams s ON s.id = h.stream ORDER BY h.id"
        )
        with self._snapshot():
            found = self._connection.execute(sql).fetchall()
        return [Held(name, time, label, bool(reserved)) for name, time, label, reserved in found]

    def streams(self) -> list[dict[str, Any]]:
        """Return for each stream its ``name``, ``rows``, ``examples`` and ``newest`` slot."""
        with self._snapshot():
            names = self._records.names()
            rows = self._records.count_rows(len(names)).tolist()
            examples = self._records.count_examples(len(names)).tolist()
            newest = self._records.newest_slots(len(names)).tolist()
        return [
            {
                "name": name,
                "rows": rows[stream],
                "examples": examples[stream],
                "newest": None if newest[stream] == LOWEST else newest[stream],
            }
            for name, stream in sorted((name, stream) for stream, name in enumerate(names) if name)
        ]

    def scored(self, newest: int) -> tuple[NDArray[np.float64], Floats, str]:
        """Return labels ``[N]``, predictions ``[N, 4, K]`` and the newest version's name.

        The four are baseline, released, personal and served, of the newest scored predictions.
        """
        with self._snapshot():
            found = self._records.predictions()
            places = np.flatnonzero(found.scored)[-newest:]
            released, personal, baseline = found.made(places).swapaxes(0, 1)
            is_personal = found.column("flags")[places, None] & PERSONAL != 0
            served = np.where(is_personal, personal, released)
            made = np.stack([baseline, released, personal, served], axis=1)
            versions = found.column("version")
            last = self._records.versions().get(int(versions[-1])) if len(versions) else None
        return found.labels[places][::-1], made[::-1], last or ""

    def rows_of(self, name: str, first: int, last: int) -> tuple[NDArray[np.int64], Floats]:
        """Return slots int64 ``[R]`` and cells float32 ``[R, C]`` of a stream, ends included."""
        with self._snapshot():
            names = self._records.names()
            low, high = np.zeros(len(names), np.int64), np.full(len(names), -1, np.int64)
            if name in names:
                low[names.index(name)], high[names.index(name)] = first, last
            found = self._records.rows(low, high)
        return found.slots, found.cells

    def close(self) -> None:
        """Close the connection; a second call is fine."""
        self._connection.close()

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Read within one transaction, so that all that is read belongs together."""
        with self._turn, guarded(self._path):
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            except IndexError as error:
                raise DamagedError("the log speaks of a stream that is not known") from error
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")

    def _query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        from sqlite_utils import Database  # noqa: PLC0415 - 4 MB that a running agent does without

        with self._snapshot():
            return list(Database(self._connection, execute_plugins=False).query(sql, parameters))

    def _one(self, sql: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._connection.execute(sql, parameters).fetchone()
        return found

    def _learned(self) -> tuple[bytes | None, int]:
        """Return the newest learning state, and the sequence up to which it learned."""
        found = self._one("SELECT state, learned_through FROM checkpoint WHERE id = 1")
        if found is None:
            return None, 0
        sealed, through = found
        return unseal(sealed, str(through)), through

    def _states(self, column: Literal["progress", "standing"]) -> list[tuple[str, bytes]]:
        """Return this state of each stream that has one."""
        found = self._connection.execute(
            f"SELECT name, {column} FROM streams WHERE {column} IS NOT NULL ORDER BY id"  # noqa: S608 - constants
        )
        return [(name, unseal(sealed, name)) for name, sealed in found]

    def _newest_rows(self, names: list[str], newest: Ints, each: int) -> list[Row]:
        known = newest != LOWEST
        first = np.where(known, newest - (each - 1) * known, 0)
        return self._records.rows(first, np.where(known, newest, -1)).rows(names)

    def _waiting(self, found: PredictionTable, newest: Ints) -> list[tuple[Prediction, Floats]]:
        """Return the predictions whose label may still come, with their windows."""
        streams, times = found.column("stream"), found.column("time")
        reached = np.where(newest == LOWEST, 0, newest)[streams] * int(self._manifest.grid.period)
        open_still = times + reach_of(self._manifest, self._late) > reached
        places = np.flatnonzero(~found.scored & open_still)
        windows, whole = self._records.windows(streams[places], times[places], len(newest))
        return list(zip(found.predictions(places[whole]), windows, strict=True))

    def _scored(self, found: PredictionTable) -> list[tuple[Prediction, float]]:
        """Return the newest predictions whose label came, oldest first."""
        places = np.flatnonzero(found.scored)[-NEWEST_SCORED:]
        return list(zip(found.predictions(places), found.labels[places].tolist(), strict=True))

    def _sequences(self, names: list[str]) -> dict[tuple[str, int], int]:
        """Return the sequences of the newest examples, by stream and time."""
        found = self._records.examples(newest=NEWEST_EXAMPLES)
        return {
            (names[stream], time): sequence
            for stream, time, sequence in zip(
                found.streams.tolist(), found.times.tolist(), found.sequences.tolist(), strict=True
            )
        }


def quoted(path: Path) -> str:
    """Write a path so that SQLite's URI parser reads it as it is."""
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
