"""A damaged ``agent.db``: kept aside, and what can still be read of it taken over."""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from headwater.errors import StorageError
from headwater_agent.seal import unseal
from headwater_agent.segment import DamagedError, decode_cells, decode_columns, decode_texts
from headwater_agent.segment_log import KINDS, Entries

KEPT = 3
"""Damaged databases that are kept; the oldest make room."""

_PARTS = ("-wal", "-shm", "")
_ASIDE = ".damaged-"
_TABLES = (
    "streams",
    "versions",
    "checkpoint",
    "counters",
    "updates",
    "events",
    "alarms",
    "marks",
    "held",
    "outbox",
    "segments",
)
"""In the order in which they are taken over: what is small and matters most comes first."""

LONGEST = 1 << 34
"""Bytes that a file which was cut off is given at most, whatever its header says."""

_MAGIC = b"SQLite format 3\0"
_HEADER = struct.Struct(">16sH10xI")
"""What a database begins with: its page size and, further on, how many pages there are."""

Values = tuple[Any, ...]


def mark_suspect(path: Path) -> None:
    """Leave a sign that the database at a path was found damaged, for the next start."""
    with suppress(OSError):
        _sign(path).touch()


def is_suspect(path: Path) -> bool:
    """Say whether the last run left such a sign."""
    return _sign(path).exists()


def set_aside(path: Path, now: int) -> Path:
    """Move a database that nobody has open, with its log, to a name of the time.

    Parameters
    ----------
    path
        Of the database.
    now
        The wall clock, UTC milliseconds.

    Returns
    -------
    Path
        Where it is now; of such copies the newest :data:`KEPT` stay.

    Raises
    ------
    StorageError
        When the folder cannot be written.
    """
    at = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}{_ASIDE}{at}")
    try:
        for part in _PARTS:
            with suppress(FileNotFoundError):
                path.with_name(path.name + part).replace(aside.with_name(aside.name + part))
        copies = sorted(
            copy
            for copy in path.parent.glob(f"{path.name}{_ASIDE}*")
            if not copy.name.endswith(("-wal", "-shm"))
        )
        for old in copies[:-KEPT]:
            for part in _PARTS:
                old.with_name(old.name + part).unlink(missing_ok=True)
        _sign(path).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path} is damaged and cannot be moved aside ({error.strerror}); move it away."
        ) from error
    return aside


def take_over(aside: Path, connection: sqlite3.Connection) -> tuple[int, int]:
    """Copy into an empty database of the same layout what of a damaged one decodes.

    Parameters
    ----------
    aside
        The damaged one; it is only read, but for empty pages in the place of those that its end
        lacks: SQLite reads nothing of a file that is too short.
    connection
        To the empty one, within a transaction.

    Returns
    -------
    taken, lost
        How many entries of tables were copied, and how many were found that could not be.
    """
    counts = [0, 0]
    _lengthen(aside)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(aside))}?mode=ro", uri=True)) as damaged:
            layouts = [db.execute("PRAGMA user_version").fetchone() for db in (damaged, connection)]
            for table in _TABLES if layouts[0] == layouts[1] else ():
                for values in _whole(damaged, table):
                    counts[not _copied(connection, table, values)] += 1
    except sqlite3.DatabaseError:
        pass  # nothing of it can be read
    return counts[0], counts[1]


def _sign(path: Path) -> Path:
    return path.with_suffix(".suspect")


def _lengthen(aside: Path) -> None:
    """Give a file that was cut off the length that its header states."""
    with suppress(OSError), aside.open("r+b") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_MAGIC):
            return
        page, pages = _HEADER.unpack(header)[1:]
        if (length := min(page * pages, LONGEST)) > file.seek(0, os.SEEK_END):
            file.truncate(length)


def _whole(damaged: sqlite3.Connection, table: str) -> Iterator[Values | None]:
    """Yield the entries of a table; None for one that cannot be read."""
    for key in _keys(damaged, table):
        try:
            yield damaged.execute(f"SELECT * FROM {table} WHERE rowid = ?", (key,)).fetchone()  # noqa: S608 - constants
        except sqlite3.DatabaseError:
            yield None


def _keys(damaged: sqlite3.Connection, table: str) -> list[int]:
    """Return the keys of a table from either end up to where it is broken, ascending."""
    found: set[int] = set()
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError):
            sql = f"SELECT rowid FROM {table} ORDER BY rowid {order}"  # noqa: S608 - constants
            for (key,) in damaged.execute(sql):
                found.add(key)
    return sorted(found)


def _copied(connection: sqlite3.Connection, table: str, values: Values | None) -> bool:
    if values is None:
        return False
    try:
        values = _CHECKED.get(table, _as_it_is)(connection, values)
        places = ", ".join("?" * len(values))
        connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", values)  # noqa: S608 - constants
    except (StorageError, sqlite3.IntegrityError, TypeError, ValueError):
        return False
    return True


def _as_it_is(connection: sqlite3.Connection, values: Values) -> Values:
    del connection
    return values


def _stream(connection: sqlite3.Connection, values: Values) -> Values:
    """Return a stream without the states that are not as they were written."""
    del connection
    key, name, *states = values
    return (key, name, *(state if _is_whole(state, name) else None for state in states))


def _is_whole(state: object, about: str) -> bool:
    try:
        unseal(state, about)
    except DamagedError:
        return False
    return True


def _checkpoint(connection: sqlite3.Connection, values: Values) -> Values:
    del connection
    _, state, through = values
    unseal(state, str(through))
    return values


def _segment(connection: sqlite3.Connection, values: Values) -> Values:
    """Return a segment without the entries of streams whose name is lost."""
    key, number, count, _, _, raw, cells, texts = values
    kind = next((kind for kind in KINDS if kind.number == number), None)
    if kind is None:
        raise DamagedError("a segment of no kind")
    table = decode_columns(count, raw, len(kind.columns))
    decode_cells(count, raw, cells)
    split = decode_texts(table[-1], raw, texts) if kind.texts else ()
    entries = Entries(kind, table, cells, split)
    if "stream" in kind.columns:
        known = [stream for (stream,) in connection.execute("SELECT id FROM streams")]
        kept = np.isin(entries.column("stream"), known)
        if not kept.any():
            raise DamagedError("a segment of no stream")
        if not kept.all():
            entries = entries.only(kept)
            made = entries.segment()
            count, raw, cells, texts = made.count, made.columns, made.cells, made.texts
    keys = entries.column(kind.key)
    return (key, number, count, int(keys.min()), int(keys.max()), raw, cells, texts)


_CHECKED: dict[str, Callable[[sqlite3.Connection, Values], Values]] = {
    "streams": _stream,
    "checkpoint": _checkpoint,
    "segments": _segment,
}
