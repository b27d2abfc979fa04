"""The append-only log in ``agent.db``: one table of segments, each the entries of one commit group.

Small segments are joined once there are enough of them, and the oldest are dropped, or cut, when a
kind is over its limit. So each entry is written at most twice, and reading stays quick however
small the groups were. The newest entry of a key counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_agent.segment import (
    DamagedError,
    Floats,
    Ints,
    Segment,
    decode_cells,
    decode_columns,
    decode_texts,
    encode,
)

SMALL = 256
"""Entries below which a segment is joined with its neighbours."""

JOINED = 1_024
"""Entries from which on neighbours are joined."""

LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1


class Kind(msgspec.Struct, frozen=True):
    """What the entries of a segment are.

    ``columns`` names the whole numbers; those of ``key`` are in the table, so that segments can be
    passed over. Where there are ``texts``, the last column holds their lengths.
    """

    number: int
    columns: tuple[str, ...]
    key: str
    texts: bool = False

    def index(self, column: str) -> int:
        """Return the place of a column."""
        return self.columns.index(column)


ROWS = Kind(1, ("stream", "slot"), "slot")
PREDICTIONS = Kind(
    2,
    (
        "number",
        "stream",
        "time",
        "received",
        "version",
        "flags",
        "threshold_released",
        "threshold_personal",
        "length",
    ),
    "number",
    texts=True,
)
SCORES = Kind(3, ("number", "label"), "number")
EXAMPLES = Kind(4, ("sequence", "stream", "time", "reserved"), "sequence")
CORRECTIONS = Kind(5, ("sequence", "label"), "sequence")
FINGERPRINTS = Kind(6, ("value",), "value")
KINDS = (ROWS, PREDICTIONS, SCORES, EXAMPLES, CORRECTIONS, FINGERPRINTS)

TABLE = (
    "CREATE TABLE segments (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, count INTEGER NOT NULL,"
    " first INTEGER NOT NULL, last INTEGER NOT NULL, columns BLOB NOT NULL, cells BLOB, texts)"
)
"""``first`` and ``last`` are the lowest and highest key of a segment."""

INSERT = (
    "INSERT INTO segments (kind, count, first, last, columns, cells, texts)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
"""Add a segment; its id follows the highest."""


class Entries(msgspec.Struct, frozen=True, eq=False):
    """Decoded entries of one kind: ``table`` int64 ``[columns, N]``, cells and texts as asked."""

    kind: Kind
    table: Ints
    cells: bytes = b""
    texts: Sequence[str] = ()

    def column(self, name: str) -> Ints:
        """Return a column, int64 ``[N]``."""
        column: Ints = self.table[self.kind.index(name)]
        return column

    def only(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Entries:
        """Return some of the entries, in the order given."""
        table = self.table[:, chosen]
        count = self.table.shape[1]
        cells = np.frombuffer(self.cells, np.uint8).reshape(count, -1)[chosen].tobytes()
        places = np.arange(count)[chosen].tolist()
        texts = [self.texts[place] for place in places] if self.texts else ()
        return Entries(self.kind, table, cells, texts)

    def segment(self) -> Segment:
        """Encode them again."""
        return encode(tuple(self.table), self.cells, "".join(self.texts))


class Stored(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A segment of which only the columns were read."""

    id: int
    raw: bytes
    table: Ints


class LogReader:
    """Read segments; with the columns alone, what lies behind them is not touched on the disk.

    Parameters
    ----------
    connection
        To a database with :data:`TABLE`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def newest_first(
        self, kind: Kind, *, first: int = LOWEST, last: int = HIGHEST
    ) -> Iterator[Stored]:
        """Yield the columns of the segments that may hold keys of a range, newest first.

        Raises
        ------
        DamagedError
            When one does not decode.
        """
        found = self._connection.execute(
            "SELECT id, count, columns, first, last FROM segments"
            " WHERE kind = ? AND last >= ? AND first <= ? ORDER BY id DESC",
            (kind.number, first, last),
        )
        for place, count, raw, lowest, highest in found:
            table = decode_columns(count, raw, len(kind.columns))
            keys = table[kind.index(kind.key)]
            if (keys.min(), keys.max()) != (lowest, highest):
                raise DamagedError("a segment of the log holds other keys than it says")
            yield Stored(place, raw, table)

    def cells(self, stored: Stored) -> Floats:
        """Return the cells of a segment, float32 ``[N, F]``; raises as above."""
        (cells,) = self._connection.execute(
            "SELECT cells FROM segments WHERE id = ?", (stored.id,)
        ).fetchone()
        return decode_cells(stored.table.shape[1], stored.raw, cells)

    def texts(self, stored: Stored) -> list[str]:
        """Return the texts of a segment; raises as above."""
        (texts,) = self._connection.execute(
            "SELECT texts FROM segments WHERE id = ?", (stored.id,)
        ).fetchone()
        return decode_texts(stored.table[-1], stored.raw, texts)

    def columns(self, kind: Kind) -> Ints:
        """Return all columns of a kind, int64 ``[columns, N]``, oldest first; raises as above."""
        tables = [stored.table for stored in self.newest_first(kind)]
        return np.concatenate([np.empty((len(kind.columns), 0), np.int64), *tables[::-1]], axis=1)


class Head(msgspec.Struct, frozen=True, gc=False):
    """Where a segment is, how many entries it has, and their lowest and highest key."""

    id: int
    count: int
    first: int
    last: int


class SegmentLog(LogReader):
    """Append to the log, join and drop; each call belongs into a transaction of the caller's.

    After a rollback :meth:`refresh` brings it back to what the database holds.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.refresh()

    def refresh(self) -> None:
        """Read where the segments are."""
        self._heads: dict[int, list[Head]] = {kind.number: [] for kind in KINDS}
        found = self._connection.execute(
            "SELECT kind, id, count, first, last FROM segments ORDER BY id"
        )
        for kind, *head in found:
            self._heads.setdefault(kind, []).append(Head(*head))
        self._fresh = {kind: _tail(heads) for kind, heads in self._heads.items()}
        self._unjoined = {
            kind: sum(head.count for head in heads[self._fresh[kind] :])
            for kind, heads in self._heads.items()
        }
        self._counts = {
            kind: sum(head.count for head in heads) for kind, heads in self._heads.items()
        }

    def heads(self, kind: Kind) -> Sequence[Head]:
        """Return where the segments of a kind are, oldest first."""
        return self._heads[kind.number]

    def count(self, kind: Kind) -> int:
        """Return how many entries of a kind there are, superseded ones too."""
        return self._counts[kind.number]

    def append(
        self, kind: Kind, columns: Sequence[Ints], cells: bytes = b"", texts: str = ""
    ) -> None:
        """Add entries as one segment; see :func:`.segment.encode`."""
        key = columns[kind.index(kind.key)]
        first, last = int(key.min()), int(key.max())
        made = encode(columns, cells, texts)
        row = (kind.number, made.count, first, last, made.columns, made.cells, made.texts)
        added = self._connection.execute(INSERT, row).lastrowid or 0
        heads = self._heads[kind.number]
        heads.append(Head(added, made.count, first, last))
        self._counts[kind.number] += made.count
        self._join_fresh(kind, end=len(heads) - (made.count >= SMALL))

    def find(self, text: str) -> int | None:
        """Return the number of the prediction with this id, if it is still there."""
        for stored in self.newest_first(PREDICTIONS):
            texts = self.texts(stored)
            if text in texts:
                return int(stored.table[0, texts.index(text)])
        return None

    def trim(
        self, kind: Kind, limit: int, spared: Callable[[Ints], NDArray[np.bool_]] | None = None
    ) -> int:
        """Drop the oldest entries over a limit and return how many they were.

        ``spared`` says, for the columns of some, which stay all the same.
        """
        over = self.count(kind) - limit
        if over <= 0:
            return 0
        heads = self._heads[kind.number]
        end = int(np.searchsorted(np.cumsum([head.count for head in heads]), over)) + 1
        entries = self._entries(kind, heads[:end])
        stays = np.arange(entries.table.shape[1]) >= over
        if spared is not None:
            stays |= spared(entries.table)
        self._replace(kind, 0, end, entries.only(stays))
        return int(len(stays) - stays.sum())

    def drop(self, kind: Kind, meant: Callable[[Ints], NDArray[np.bool_]]) -> None:
        """Drop the entries that are meant, as *meant* says of the columns of some."""
        heads = self._heads[kind.number]
        for place in reversed(range(len(heads))):
            entries = self._entries(kind, heads[place : place + 1])
            gone = meant(entries.table)
            if gone.any():
                self._replace(kind, place, place + 1, entries.only(~gone))

    def drop_before(self, kind: Kind, key: int) -> None:
        """Drop the oldest segments that hold nothing from this key on."""
        heads = self._heads[kind.number]
        end = next((i for i, head in enumerate(heads) if head.last >= key), len(heads))
        if end:
            self._replace(kind, 0, end, None)

    def forget_superseded(self, kind: Kind, key: int) -> None:
        """Keep the newest entry of each key alone, and none below a key."""
        heads = self._heads[kind.number]
        entries = self._entries(kind, heads)
        keys = entries.column(kind.key)
        kept, newest = np.unique(keys[::-1], return_index=True)
        places = len(keys) - 1 - newest[kept >= key]
        self._replace(kind, 0, len(heads), entries.only(np.sort(places)))

    def _join_fresh(self, kind: Kind, end: int) -> None:
        """Join the small segments before *end* when they are many, or a large one follows."""
        heads, start = self._heads[kind.number], self._fresh[kind.number]
        followed = end < len(heads)
        self._unjoined[kind.number] += heads[-1].count
        if not followed and self._unjoined[kind.number] < JOINED:
            return
        self._unjoined[kind.number] = 0
        if end - start > 1:
            self._replace(kind, start, end, self._entries(kind, heads[start:end]))
            end = start + 1
        self._fresh[kind.number] = end + followed

    def _entries(self, kind: Kind, heads: Sequence[Head]) -> Entries:
        """Decode neighbouring segments of a kind whole."""
        found = self._connection.execute(
            "SELECT count, columns, cells, texts FROM segments"
            " WHERE id BETWEEN ? AND ? AND kind = ? ORDER BY id",
            (heads[0].id, heads[-1].id, kind.number),
        )
        tables, cells, texts = [], [], []
        for count, raw, own_cells, own_texts in found:
            tables.append(decode_columns(count, raw, len(kind.columns)))
            decode_cells(count, raw, own_cells)
            cells.append(own_cells)
            if kind.texts:
                texts += decode_texts(tables[-1][-1], raw, own_texts)
        return Entries(kind, np.concatenate(tables, axis=1), b"".join(cells), texts)

    def _replace(self, kind: Kind, start: int, end: int, entries: Entries | None) -> None:
        """Put one segment, or none, in the place of neighbours."""
        heads = self._heads[kind.number]
        first, last = heads[start].id, heads[end - 1].id
        kept: list[Head] = []
        if entries is not None and entries.table.shape[1]:
            key, made = entries.column(kind.key), entries.segment()
            low, high = int(key.min()), int(key.max())
            kept = [Head(first, made.count, low, high)]
            self._connection.execute(
                "UPDATE segments SET count = ?, first = ?, last = ?, columns = ?, cells = ?,"
                " texts = ? WHERE id = ?",
                (made.count, low, high, made.columns, made.cells, made.texts, first),
            )
        self._connection.execute(
            "DELETE FROM segments WHERE id BETWEEN ? AND ? AND kind = ?",
            (first + len(kept), last, kind.number),
        )
        self._counts[kind.number] -= sum(head.count for head in heads[start:end])
        self._counts[kind.number] += sum(head.count for head in kept)
        heads[start:end] = kept
        moved = end - start - len(kept)
        self._fresh[kind.number] = max(self._fresh[kind.number] - moved, 0)


def _tail(heads: Sequence[Head]) -> int:
    """Return where the small segments at the end begin."""
    place = len(heads)
    while place and heads[place - 1].count < SMALL:
        place -= 1
    return place
