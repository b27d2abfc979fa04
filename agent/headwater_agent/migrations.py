"""The layout of ``agent.db`` as an append-only list of steps, each in a transaction of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.errors import StorageError
from headwater_agent.seal import seal
from headwater_agent.segment import Ints, bits, encode, whole
from headwater_agent.segment_log import (
    EXAMPLES,
    INSERT,
    JOINED,
    PREDICTIONS,
    ROWS,
    SCORES,
    TABLE,
    Kind,
)
from headwater_agent.stored import DEGRADED, MARKED, PERSONAL

if TYPE_CHECKING:
    from sqlite_utils import Database

Migration = Callable[["Database"], None]


def migrate(
    connection: sqlite3.Connection,
    migrations: Sequence[Migration],
    path: Path,
    newest: Sequence[str] = (),
) -> None:
    """Bring a database to the newest layout; ``user_version`` counts the steps taken.

    Parameters
    ----------
    connection
        In autocommit mode (``isolation_level=None``).
    migrations
        All steps there ever were, oldest first.
    path
        For the error's sentence.
    newest
        Statements that make of nothing what all steps together make; none: the steps are taken.

    Raises
    ------
    StorageError
        When the database was written by a newer program.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise StorageError(
            f"{path} has layout {version}, this program knows up to {len(migrations)}; "
            "update headwater, or go back to the program that wrote it."
        )
    if version == len(migrations):
        return
    if version == 0 and newest:
        with _step(connection, len(migrations)):
            for statement in newest:
                connection.execute(statement)
        return
    from sqlite_utils import Database  # noqa: PLC0415 - 4 MB that no other start needs

    database = Database(connection, execute_plugins=False)
    for step in range(version, len(migrations)):
        with _step(connection, step + 1):
            migrations[step](database)


@contextmanager
def _step(connection: sqlite3.Connection, version: int) -> Iterator[None]:
    """Come to a layout whole, or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute(f"PRAGMA user_version = {version}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _first_layout(db: Database) -> None:
    db.table("streams").create(
        {"id": int, "name": str, "progress": bytes}, pk="id", not_null={"name"}
    ).create_index(["name"], unique=True)
    db.table("rows").create(
        {"stream": int, "slot": int, "cells": bytes},
        pk=("stream", "slot"),
        not_null={"stream", "slot", "cells"},
    )
    db.table("examples").create(
        {"sequence": int, "stream": int, "time": int, "label": float, "reserved": int},
        pk="sequence",
        not_null={"stream", "time", "label", "reserved"},
    ).create_index(["reserved", "sequence"])
    db.table("predictions").create(
        {
            "number": int,
            "id": str,
            "stream": int,
            "time": int,
            "version": str,
            "released": bytes,
            "personal": bytes,
            "baseline": bytes,
            "quality": str,
            "received": int,
            "label": float,
        },
        pk="number",
        not_null={"id", "stream", "time", "version"},
    ).create_index(["id"], unique=True).create_index(["stream", "time"])
    db.table("checkpoint").create(
        {"id": int, "state": bytes, "learned_through": int}, pk="id", not_null={"state"}
    )
    db.table("updates").create(
        {
            "sequence": int,
            "task": str,
            "base": str,
            "learned_through": int,
            "taken_ms": int,
        },
        pk="sequence",
    )
    db.table("events").create({"id": int, "time": int, "kind": str, "detail": str}, pk="id")
    db.table("counters").create({"name": str, "value": int}, pk="name", not_null={"value"})


def _what_was_served(db: Database) -> None:
    """Each prediction says which model was published, its thresholds, and whether it is held."""
    db.table("predictions").add_column("served", str, not_null_default="released")
    db.table("predictions").add_column("threshold_released", float)
    db.table("predictions").add_column("threshold_personal", float)
    db.table("predictions").add_column("marked", int, not_null_default=0)
    db.execute("DELETE FROM checkpoint")
    db.execute("UPDATE streams SET progress = NULL")


def _alarms(db: Database) -> None:
    db.table("alarms").create(
        {
            "id": int,
            "stream": int,
            "time": int,
            "detector": str,
            "channel": str,
            "value": float,
            "before": float,
        },
        pk="id",
        not_null={"stream", "time", "detector", "channel"},
    )


def _what_is_kept_aside(db: Database) -> None:
    """Keep what the guard marked, and the windows that are held back for it."""
    db.table("marks").create(
        {
            "id": int,
            "stream": int,
            "time": int,
            "channel": int,
            "value": float,
            "reason": str,
        },
        pk="id",
        not_null={"stream", "time", "channel", "value", "reason"},
    ).create_index(["stream", "time", "channel"], unique=True)
    db.table("held").create(
        {"id": int, "stream": int, "time": int, "label": float, "reserved": int},
        pk="id",
        not_null={"stream", "time", "label", "reserved"},
    ).create_index(["stream", "time"], unique=True)
    db.execute("UPDATE streams SET progress = NULL")


def _standing(db: Database) -> None:
    """Keep what the labels changed: a stream's score, and under 0 what is the device's."""
    db.table("standing").create({"stream": int, "state": bytes}, pk="stream", not_null={"state"})


def _segments(db: Database) -> None:
    """Put rows, predictions, scores and examples into a log, and begin the outbox.

    What is converted here is written in the form of :mod:`.segment`: whoever changes that form
    converts both.
    """
    db.execute(TABLE)
    db.table("versions").create({"id": int, "name": str}, pk="id", not_null={"name"})
    db.execute("INSERT INTO versions (name) SELECT version FROM predictions GROUP BY version")
    db.table("versions").create_index(["name"], unique=True)
    db.table("outbox").create(
        {"id": int, "token": int, "topic": str, "payload": bytes, "retain": int},
        pk="id",
        not_null={"token", "topic", "payload", "retain"},
    )
    for found in _chunks(db, "SELECT length(cells), stream, slot, cells FROM rows ORDER BY rowid"):
        _, streams, slots, cells = zip(*found, strict=True)
        _append(db, ROWS, (whole(streams), whole(slots)), b"".join(cells))
    _convert_predictions(db)
    for found in _chunks(
        db, "SELECT 0, sequence, stream, time, reserved, label FROM examples ORDER BY sequence"
    ):
        _, *columns, labels = zip(*found, strict=True)
        made = np.array(labels, "<f4").tobytes()
        _append(db, EXAMPLES, [whole(column) for column in columns], made)
    for table in ("rows", "predictions", "examples"):
        db.table(table).drop()


def _standing_beside_progress(db: Database) -> None:
    """Keep what labels change beside a stream's progress, for both change at once.

    Under 0 and no name is what is the device's.
    """
    db.execute("INSERT INTO streams (id, name) VALUES (0, '')")
    db.table("streams").add_column("standing", bytes)
    db.execute(
        "UPDATE streams SET standing = (SELECT state FROM standing s WHERE s.stream = streams.id)"
    )
    db.table("standing").drop()


def _convert_predictions(db: Database) -> None:
    sql = (
        "SELECT length(released) + length(personal) + length(baseline), released, personal,"
        " baseline, number, stream, time, coalesce(received, 0), v.id,"
        " (quality IS 'degraded') * ? + (served = 'personal') * ? + (marked != 0) * ?,"
        " threshold_released, threshold_personal, p.id"
        " FROM predictions p JOIN versions v ON v.name = version ORDER BY number"
    )
    for found in _chunks(db, sql, (DEGRADED, PERSONAL, MARKED)):
        _, *made, number, stream, time, received, version, flags, one, two, ids = zip(
            *found, strict=True
        )
        columns = [whole(c) for c in (number, stream, time, received, version, flags)]
        columns += [np.array(c, np.float64).view(np.int64) for c in (one, two)]
        columns.append(whole([len(key) for key in ids]))
        cells = b"".join(part for of_one in zip(*made, strict=True) for part in of_one)
        _append(db, PREDICTIONS, columns, cells, "".join(ids))
    scores = "SELECT 0, number, label FROM predictions WHERE label IS NOT NULL ORDER BY number"
    for found in _chunks(db, scores):
        _, numbers, labels = zip(*found, strict=True)
        _append(db, SCORES, (whole(numbers), bits(labels)))


def _chunks(
    db: Database, sql: str, parameters: Sequence[int] = ()
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield what is found in pieces that become segments, of an equal first column each."""
    cursor = db.execute(sql, parameters)
    while found := list(islice(cursor, JOINED)):
        for _, alike in groupby(found, lambda row: row[0]):
            yield list(alike)


def _append(
    db: Database, kind: Kind, columns: Sequence[Ints], cells: bytes = b"", texts: str = ""
) -> None:
    key, made = columns[kind.index(kind.key)], encode(columns, cells, texts)
    row = (kind.number, made.count, int(key.min()), int(key.max()))
    db.execute(INSERT, (*row, made.columns, made.cells, made.texts))


def _guard_with_tables(db: Database) -> None:
    """Begin the streams anew, for the guard counts in another way."""
    db.execute("UPDATE streams SET progress = NULL")


def _sealed(db: Database) -> None:
    """Give states a checksum."""
    for key, state, through in db.execute("SELECT * FROM checkpoint").fetchall():
        sealed = seal(state, str(through))
        db.execute("UPDATE checkpoint SET state = ? WHERE id = ?", (sealed, key))
    for key, name, *states in db.execute("SELECT * FROM streams").fetchall():
        sealed_ones = (None if state is None else seal(state, name) for state in states)
        db.execute(
            "UPDATE streams SET progress = ?, standing = ? WHERE id = ?", (*sealed_ones, key)
        )


AGENT: tuple[Migration, ...] = (
    _first_layout,
    _what_was_served,
    _alarms,
    _what_is_kept_aside,
    _standing,
    _segments,
    _standing_beside_progress,
    _guard_with_tables,
    _sealed,
)
"""The steps of ``agent.db``."""
