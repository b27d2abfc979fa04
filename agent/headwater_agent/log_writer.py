"""What the pipeline stores in numbers, laid out in columns and appended to the log."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater_agent import labels
from headwater_agent.columns import slot_numbers, streams_of, values_of
from headwater_agent.events import (
    Correction,
    Floats,
    Row,
    Score,
    Store,
)
from headwater_agent.kept import Kept
from headwater_agent.predictions import Predictions
from headwater_agent.segment import Ints, bits, whole
from headwater_agent.segment_log import (
    CORRECTIONS,
    EXAMPLES,
    FINGERPRINTS,
    JOINED,
    LOWEST,
    PREDICTIONS,
    ROWS,
    SCORES,
    Kind,
    SegmentLog,
)
from headwater_agent.settings import StoreSettings
from headwater_agent.stacking import stack
from headwater_agent.store import kept_rows
from headwater_agent.stored import DEGRADED, MARKED, PERSONAL, Records
from headwater_models.manifest import Manifest

KNOWN = labels.MAX_WAITING
"""Newest predictions that are known by their id: to be scored, and not to be written again."""


class LogWriter:
    """Append to the log within transactions of the caller's; see :class:`.segment_log.SegmentLog`.

    Parameters
    ----------
    connection
        To ``agent.db``.
    manifest
        The model whose rows these are.
    settings
        The limits.
    records
        Of the same connection.
    late
        How long a prediction may wait for a label from outside, milliseconds.
    fingerprints
        How many are kept.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        manifest: Manifest,
        settings: StoreSettings,
        records: Records,
        *,
        late: int,
        fingerprints: int,
    ) -> None:
        self._connection = connection
        self._outputs = manifest.outputs
        self._limits = {
            ROWS: settings.rows,
            PREDICTIONS: settings.predictions,
            EXAMPLES: settings.examples,
            FINGERPRINTS: fingerprints,
        }
        self._kept_rows = kept_rows(manifest, late)
        self._records = records
        self._log = SegmentLog(connection)
        self.refresh()

    def refresh(self) -> None:
        """Read what is known of the database; needed after a rollback."""
        self._log.refresh()
        self._numbers = {
            table: dict(self._connection.execute(f"SELECT name, id FROM {table}").fetchall())  # noqa: S608 - constants
            for table in ("streams", "versions")
        }
        self._known = self._newest_ids()
        last = [head.last for kind in (PREDICTIONS, SCORES) for head in self._log.heads(kind)]
        self._number = max(last, default=0)
        self._newest: Ints | None = None

    def stream(self, name: str) -> int:
        """Return the number of a stream, which is given one if it is new."""
        return self._numbered("streams", name)

    def append(self, batches: Sequence[Store]) -> None:
        """Append what batches hold in numbers, and drop the examples that they erase."""
        self._rows(_all(batch.rows for batch in batches))
        self._predictions(Predictions.join([batch.predictions for batch in batches]))
        self._scores(_all(batch.scores for batch in batches))
        self._examples(Kept.join([batch.examples for batch in batches]))
        self._corrections(_all(batch.corrections for batch in batches))
        for name, through in _all(batch.erased for batch in batches):
            self._erase(name, through)

    def remember(self, fingerprints: Sequence[int]) -> None:
        """Append fingerprints of messages."""
        if fingerprints:
            self._log.append(FINGERPRINTS, (whole(fingerprints),))

    def fingerprints(self) -> list[int]:
        """Return the newest fingerprints, oldest first."""
        values: list[int] = self._log.columns(FINGERPRINTS)[0].tolist()
        return values[-self._limits[FINGERPRINTS] :]

    def prune(self) -> dict[str, int]:
        """Drop what is over a limit, once that is a hundredth of the limit.

        Returns
        -------
        dict
            By the name of a counter, how many of what an owner would miss.
        """
        dropped = {
            "rows-dropped": self._trim(ROWS, share=100, spared=self._spared),
            "predictions-dropped": self._trim(PREDICTIONS, share=100),
            "examples-dropped": self._trim(EXAMPLES, share=100),
        }
        self._trim(FINGERPRINTS, share=1)
        self._follow(SCORES, PREDICTIONS)
        self._follow(CORRECTIONS, EXAMPLES)
        return {name: count for name, count in dropped.items() if count}

    def _erase(self, name: str, through: int) -> None:
        """Drop the examples of a stream, or of all (empty), up to a sequence."""
        stream = self.stream(name) if name else None

        def meant(table: Ints) -> NDArray[np.bool_]:
            chosen: NDArray[np.bool_] = table[0] <= through
            return chosen if stream is None else chosen & (table[1] == stream)

        self._log.drop(EXAMPLES, meant)

    def _rows(self, rows: Sequence[Row]) -> None:
        if rows:
            cells = values_of(rows).astype("<f4").tobytes()
            streams = self._streams(streams_of(rows))
            slots = slot_numbers(rows)
            self._log.append(ROWS, (streams, slots), cells)
            self._move_on(streams, slots)

    def _predictions(self, found: Predictions) -> None:
        made = self._new(found)
        if not made:
            return
        numbers = range(self._number + 1, self._number + 1 + len(made))
        self._number = numbers[-1]
        columns = (
            np.arange(numbers.start, numbers.stop, dtype=np.int64),
            self._streams(made.streams),
            made.times,
            whole(made.received),
            self._column("versions", made.versions),
            _flags(made),
            *_thresholds(made.thresholds),
            whole(list(map(len, made.ids))),
        )
        self._log.append(PREDICTIONS, columns, made.said.astype("<f4").tobytes(), "".join(made.ids))

    def _new(self, found: Predictions) -> Predictions:
        """Return predictions without those that were written before, and know them from now on."""
        known, made = self._known, found
        numbers = list(range(self._number + 1, self._number + 1 + len(found)))
        given = list(map(known.setdefault, found.ids, numbers))
        if given != numbers:
            made = found.take(np.flatnonzero(np.equal(given, numbers)))
            known.update(zip(made.ids, numbers, strict=False))
        if len(known) > KNOWN + KNOWN // 4:
            for key in list(islice(known, len(known) - KNOWN)):
                del known[key]
        return made

    def _scores(self, scores: Sequence[Score]) -> None:
        numbers = list(map(self._known.get, [score.prediction for score in scores]))
        reals = [score.label for score in scores]
        if None in numbers:
            pairs = [
                (self._log.find(score.prediction) if number is None else number, score.label)
                for number, score in zip(numbers, scores, strict=True)
            ]
            numbers = [number for number, _ in pairs if number is not None]
            reals = [label for number, label in pairs if number is not None]
        if numbers:
            self._log.append(SCORES, (np.array(numbers, np.int64), bits(reals)))

    def _examples(self, made: Kept) -> None:
        if made:
            columns = (
                made.sequences,
                self._streams(made.streams),
                made.times,
                made.reserved.astype(np.int64),
            )
            self._log.append(EXAMPLES, columns, made.labels.astype("<f4").tobytes())

    def _corrections(self, made: Sequence[Correction]) -> None:
        if made:
            columns = (whole([one.sequence for one in made]), bits([one.label for one in made]))
            self._log.append(CORRECTIONS, columns)

    def _streams(self, names: Sequence[str]) -> Ints:
        return self._column("streams", names)

    def _column(self, table: str, names: Sequence[str]) -> Ints:
        first = names[0]
        if names.count(first) == len(names):
            return np.full(len(names), self._numbered(table, first), np.int64)
        numbers = {name: self._numbered(table, name) for name in dict.fromkeys(names)}
        return np.array([numbers[name] for name in names], np.int64)

    def _numbered(self, table: str, name: str) -> int:
        numbers = self._numbers[table]
        found = numbers.get(name)
        if found is None:
            made = self._connection.execute(f"INSERT INTO {table} (name) VALUES (?)", (name,))  # noqa: S608 - constants
            found = numbers[name] = made.lastrowid or 0
        return found

    def _cells(self, values: list[Floats], width: int) -> bytes:
        return stack(values).reshape(-1, width).astype("<f4").tobytes()

    def _newest_ids(self) -> dict[str, int]:
        parts: list[tuple[list[str], list[int]]] = []
        count = 0
        for stored in self._log.newest_first(PREDICTIONS):
            parts.append((self._log.texts(stored), stored.table[0].tolist()))
            count += stored.table.shape[1]
            if count >= KNOWN:
                break
        return {
            key: number
            for ids, numbers in parts[::-1]
            for key, number in zip(ids, numbers, strict=True)
        }

    def _trim(
        self,
        kind: Kind,
        *,
        share: int,
        spared: Callable[[Ints], NDArray[np.bool_]] | None = None,
    ) -> int:
        limit = self._limits[kind]
        over = self._log.count(kind) - limit
        return self._log.trim(kind, limit, spared) if over > limit // share else 0

    def _spared(self, table: Ints) -> NDArray[np.bool_]:
        """Say which rows are among the newest of their streams."""
        streams, slots = table
        if self._newest is None:
            self._newest = self._records.newest_slots(max(self._numbers["streams"].values()) + 1)
        spared: NDArray[np.bool_] = slots > self._newest[streams] - self._kept_rows
        return spared

    def _move_on(self, streams: Ints, slots: Ints) -> None:
        """Keep the newest slot of each stream, once they are known."""
        if self._newest is not None:
            new = int(streams.max()) + 1 - len(self._newest)
            if new > 0:
                self._newest = np.pad(self._newest, (0, new), constant_values=LOWEST)
            np.maximum.at(self._newest, streams, slots)

    def _follow(self, kind: Kind, followed: Kind) -> None:
        """Drop what speaks of entries that were dropped, and what came anew more than twice."""
        heads = self._log.heads(followed)
        if heads and self._log.heads(kind):
            self._log.drop_before(kind, heads[0].first)
            if self._log.count(kind) > 2 * self._limits[followed] + JOINED:
                self._log.forget_superseded(kind, heads[0].first)


_FLAGS = {
    (quality, served, marked): DEGRADED * (quality == "degraded")
    | PERSONAL * (served == "personal")
    | MARKED * marked
    for quality in ("ok", "degraded")
    for served in ("released", "personal")
    for marked in (False, True)
}


def _flags(made: Predictions) -> Ints:
    kinds = zip(made.qualities, made.served, made.marked, strict=True)
    return whole([_FLAGS[kind] for kind in kinds])


def _thresholds(both: Sequence[tuple[float, float]]) -> tuple[Ints, Ints]:
    if both.count(both[0]) == len(both):
        released, personal = bits(both[0])
        return np.full(len(both), released), np.full(len(both), personal)
    return bits([one for one, _ in both]), bits([other for _, other in both])


def _all(parts: Iterable[Sequence[Any]]) -> Sequence[Any]:
    """Return what the parts hold, the only one that holds anything as it is."""
    filled = [part for part in parts if part]
    return filled[0] if len(filled) == 1 else list(chain.from_iterable(filled))
