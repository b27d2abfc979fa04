"""Rows, predictions and examples as the log holds them, read in columns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import StorageError
from headwater_agent.events import Floats, Model, Prediction, Row
from headwater_agent.segment import DamagedError, Ints, Reals, reals
from headwater_agent.segment_log import (
    CORRECTIONS,
    EXAMPLES,
    HIGHEST,
    LOWEST,
    PREDICTIONS,
    ROWS,
    SCORES,
    LogReader,
    Stored,
)
from headwater_models.manifest import Manifest

DEGRADED, PERSONAL, MARKED = 1, 2, 4
"""The bits of a prediction's flags."""

Chosen = NDArray[np.bool_]


class RowTable(msgspec.Struct, frozen=True, eq=False):
    """Rows of many streams, sorted by stream and slot, each once; ``cells`` float32 ``[R, C]``."""

    streams: Ints
    slots: Ints
    cells: Floats

    def windows(self, streams: Ints, ends: Ints, length: int) -> tuple[Floats, Chosen]:
        """Cut the windows of *length* rows that end at given slots of given streams.

        Returns
        -------
        windows
            float32 ``[M, length, C]`` of those whose rows are all here, in their order.
        whole
            bool ``[N]``: which those are.
        """
        if not len(self.slots):
            width = self.cells.shape[1]
            return np.zeros((0, length, width), np.float32), np.zeros(len(ends), np.bool_)
        slots = np.unique(self.slots)
        rank = np.minimum(np.searchsorted(slots, ends), len(slots) - 1)
        own = self.streams * len(slots) + np.searchsorted(slots, self.slots)
        last = np.searchsorted(own, streams * len(slots) + rank)
        last = np.minimum(last, len(own) - 1)
        first = np.maximum(last - (length - 1), 0)
        whole = (
            (last >= length - 1)
            & (self.streams[last] == streams)
            & (self.slots[last] == ends)
            & (self.streams[first] == streams)
            & (self.slots[first] == ends - (length - 1))
        )
        return self.cells[first[whole, None] + np.arange(length)], whole

    def rows(self, names: Sequence[str]) -> list[Row]:
        """Return them as rows that no record observed, by the names of the streams."""
        unseen = np.zeros(self.cells.shape[1], np.bool_)
        return [
            Row(names[stream], slot, cells.copy(), unseen)
            for stream, slot, cells in zip(
                self.streams.tolist(), self.slots.tolist(), self.cells, strict=True
            )
        ]


class Found(msgspec.Struct, frozen=True, eq=False):
    """Examples in columns, ascending by their sequence; ``labels`` float32 ``[N]``."""

    sequences: Ints
    streams: Ints
    times: Ints
    labels: Floats

    def only(self, chosen: Chosen) -> Found:
        """Return some of them."""
        return Found(
            self.sequences[chosen], self.streams[chosen], self.times[chosen], self.labels[chosen]
        )


class Records:
    """Read rows, predictions and examples out of the log, within one transaction of the caller's.

    Streams are numbers here, from 1; :meth:`names` says which they are.

    Parameters
    ----------
    connection
        To ``agent.db``.
    manifest
        The model whose rows these are.
    path
        For the error's sentence.

    Raises
    ------
    DamagedError
        From any method, when a part of the log is not what was written.
    StorageError
        When it holds rows of another model.
    """

    def __init__(self, connection: sqlite3.Connection, manifest: Manifest, path: Path) -> None:
        self._connection = connection
        self._log = LogReader(connection)
        self._manifest = manifest
        self._path = path

    def names(self) -> list[str]:
        """Return the name of each stream at the place of its number; empty where there is none."""
        found = self._connection.execute("SELECT id, name FROM streams ORDER BY id").fetchall()
        names = [""] * (found[-1][0] + 1 if found else 1)
        for stream, name in found:
            names[stream] = name
        return names

    def newest_slots(self, streams: int) -> Ints:
        """Return the newest slot of each stream, int64 ``[streams]``; ``LOWEST`` where none is."""
        newest = np.full(streams, LOWEST, np.int64)
        for stored in self._log.newest_first(ROWS):
            own, slots = self._known(stored, streams)
            np.maximum.at(newest, own, slots)
        return newest

    def count_rows(self, streams: int) -> Ints:
        """Return how many rows each stream has, int64 ``[streams]``."""
        own, slots = self._log.columns(ROWS)
        order = np.lexsort((slots, own))
        own, slots = own[order], slots[order]
        again = (own[1:] == own[:-1]) & (slots[1:] == slots[:-1])
        once = own[np.concatenate([np.ones(min(len(own), 1), np.bool_), ~again])]
        return np.bincount(once, minlength=streams)

    def rows(self, first: Ints, last: Ints) -> RowTable:
        """Return the rows of each stream between two slots, ends included.

        Parameters
        ----------
        first, last
            int64 ``[streams]``; none is wanted of a stream whose first is above its last.
        """
        width = len(self._manifest.channels)
        parts: list[tuple[Ints, Floats]] = []
        wanted = first <= last
        if wanted.any():
            low, high = int(first[wanted].min()), int(last[wanted].max())
            for stored in self._log.newest_first(ROWS, first=low, last=high):
                own, slots = self._known(stored, len(first))
                chosen = (first[own] <= slots) & (slots <= last[own])
                if chosen.any():
                    cells = self.cells(stored, width)[chosen]
                    parts.append((stored.table[:, chosen], cells))
        parts.append((np.empty((2, 0), np.int64), np.empty((0, width), np.float32)))
        own, slots = np.concatenate([table for table, _ in parts[::-1]], axis=1)
        cells = np.concatenate([cells for _, cells in parts[::-1]])
        order = np.lexsort((slots, own))
        own, slots = own[order], slots[order]
        newer = (own[1:] == own[:-1]) & (slots[1:] == slots[:-1])
        kept = np.concatenate([~newer, np.ones(min(len(own), 1), np.bool_)])
        return RowTable(own[kept], slots[kept], cells[order][kept])

    def windows(self, streams: Ints, times: Ints, count: int) -> tuple[Floats, Chosen]:
        """Return windows of those of *count* streams that end at these times.

        See :meth:`RowTable.windows`.
        """
        length, ends = self._manifest.window, times // int(self._manifest.grid.period)
        first, last = np.full(count, HIGHEST, np.int64), np.full(count, LOWEST, np.int64)
        np.minimum.at(first, streams, ends - (length - 1))
        np.maximum.at(last, streams, ends)
        return self.rows(first, last).windows(streams, ends, length)

    def examples(
        self, *, newest: int, reserved: bool | None = None, after: int = 0, through: int = HIGHEST
    ) -> Found:
        """Return the newest examples of a kind, within sequences after one and up to another."""
        parts, count = [np.empty((5, 0), np.int64)], 0
        for stored in self._log.newest_first(EXAMPLES, first=after + 1, last=through):
            sequences, chosen = stored.table[0], stored.table[0] <= through
            chosen &= sequences > after
            if reserved is not None:
                chosen &= stored.table[3] == reserved
            labels = self.cells(stored, 1)[:, 0].astype(np.float64).view(np.int64)
            parts.append(np.concatenate([stored.table, labels[None]])[:, chosen])
            count += int(chosen.sum())
            if count >= newest:
                break
        table = _last_of_each(np.concatenate(parts[::-1], axis=1))[:, -newest:]
        sequences, streams, times, _, labels = table
        return Found(sequences, streams, times, self._corrected(sequences, reals(labels)))

    def last_example(self) -> int:
        """Return the highest sequence of any example; 0: none."""
        (last,) = self._connection.execute(
            "SELECT coalesce(max(last), 0) FROM segments WHERE kind = ?", (EXAMPLES.number,)
        ).fetchone()
        return int(last)

    def count_examples(self, streams: int) -> Ints:
        """Return how many examples each stream has, int64 ``[streams]``."""
        table = _last_of_each(self._log.columns(EXAMPLES))
        return np.bincount(table[1], minlength=streams)

    def predictions(self) -> PredictionTable:
        """Return all predictions, without reading their cells and texts."""
        segments = list(self._log.newest_first(PREDICTIONS))[::-1]
        numbers, labels = self._log.columns(SCORES)
        return PredictionTable(self, self._manifest.outputs, segments, (numbers, reals(labels)))

    def cells(self, stored: Stored, width: int) -> Floats:
        """Return the cells of a segment, float32 ``[N, width]``."""
        cells = self._log.cells(stored)
        if cells.shape[1] != width:
            raise StorageError(
                f"{self._path} holds rows of another model; give this model a state folder of its "
                "own, or move the database away to start again."
            )
        return cells

    def texts(self, stored: Stored) -> list[str]:
        """Return the texts of a segment."""
        return self._log.texts(stored)

    def versions(self) -> dict[int, str]:
        """Return the names of versions by their numbers."""
        return dict(self._connection.execute("SELECT id, name FROM versions").fetchall())

    def _corrected(self, sequences: Ints, labels: Reals) -> Floats:
        corrected = labels.astype(np.float32)
        if len(sequences):
            span = {"first": int(sequences[0]), "last": int(sequences[-1])}
            for stored in list(self._log.newest_first(CORRECTIONS, **span))[::-1]:
                _put(sequences, corrected, stored.table[0], reals(stored.table[1]))
        return corrected

    def _known(self, stored: Stored, streams: int) -> tuple[Ints, Ints]:
        own, slots = stored.table
        if own.min() < 0 or own.max() >= streams:
            raise DamagedError(f"{self._path}: a stream of the log is not known")
        return own, slots


class PredictionTable:
    """All predictions in columns; which of them to make whole is chosen first.

    Attributes
    ----------
    columns
        int64 ``[columns, N]``; see :data:`.segment_log.PREDICTIONS`.
    labels, scored
        The newest label of each that came, float64 ``[N]``, and which these are, bool ``[N]``.
    """

    def __init__(
        self,
        records: Records,
        outputs: int,
        segments: Sequence[Stored],
        scores: tuple[Ints, Reals],
    ) -> None:
        self._records = records
        self._outputs = outputs
        numbers, labels = scores
        self._segments = segments
        empty = np.empty((len(PREDICTIONS.columns), 0), np.int64)
        self.columns = np.concatenate([empty, *(s.table for s in segments)], axis=1)
        self.labels = np.full(self.columns.shape[1], np.nan)
        self.scored = np.zeros(self.columns.shape[1], np.bool_)
        own = self.column("number")
        _put(own, self.labels, numbers, labels)
        _put(own, self.scored, numbers, np.ones(len(numbers), np.bool_))

    def column(self, name: str) -> Ints:
        """Return a column, int64 ``[N]``."""
        column: Ints = self.columns[PREDICTIONS.index(name)]
        return column

    def made(self, places: NDArray[np.intp]) -> Floats:
        """Return what released, personal and baseline predicted, float32 ``[M, 3, K]``."""
        parts = [self._made(stored)[own] for stored, own in self._parts(places)]
        return np.concatenate([np.empty((0, 3, self._outputs), np.float32), *parts])

    def predictions(self, places: NDArray[np.intp]) -> Iterator[Prediction]:
        """Yield those at ascending places."""
        names, versions = self._records.names(), self._records.versions()
        served: tuple[Model, Model] = ("released", "personal")
        for stored, own in self._parts(places):
            made, ids = self._made(stored), self._records.texts(stored)
            thresholds = reals(stored.table[6:8]).T.tolist()
            for place in own.tolist():
                _, stream, time, received, version, flags, *_ = stored.table[:, place].tolist()
                yield Prediction(
                    id=ids[place],
                    stream=names[stream],
                    time=time,
                    version=versions.get(version, ""),
                    said=made[place].copy(),
                    quality="degraded" if flags & DEGRADED else "ok",
                    received=received,
                    served=served[bool(flags & PERSONAL)],
                    thresholds=(thresholds[place][0], thresholds[place][1]),
                    marked=bool(flags & MARKED),
                )

    def _made(self, stored: Stored) -> Floats:
        return self._records.cells(stored, 3 * self._outputs).reshape(-1, 3, self._outputs)

    def _parts(self, places: NDArray[np.intp]) -> Iterator[tuple[Stored, NDArray[np.intp]]]:
        """Yield the segments of ascending places, and the places within each."""
        start = 0
        for stored in self._segments:
            count = stored.table.shape[1]
            low, high = np.searchsorted(places, [start, start + count])
            if low < high:
                yield stored, places[low:high] - start
            start += count


def _put(keys: Ints, values: NDArray[np.generic], at: Ints, new: NDArray[np.generic]) -> None:
    """Put new values at ascending keys; of several for a key the last, none for an unknown one."""
    if len(keys):
        places = np.minimum(np.searchsorted(keys, at), len(keys) - 1)
        known = keys[places] == at
        values[places[known]] = new[known]


def _last_of_each(table: Ints) -> Ints:
    """Return the entries with an ascending key in the first row, of equal ones the last."""
    order = np.argsort(table[0], kind="stable")
    table = table[:, order]
    again = table[0, 1:] == table[0, :-1]
    return table[:, np.concatenate([~again, np.ones(min(table.shape[1], 1), np.bool_)])]
