"""The layout of ``agent.db`` as an append-only list of steps, each in a transaction of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlite_utils import Database

from headwater.errors import StorageError

Migration = Callable[[Database], None]


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration], path: Path) -> None:
    """Bring a database to the newest layout; ``user_version`` counts the steps taken.

    Parameters
    ----------
    connection
        In autocommit mode (``isolation_level=None``).
    migrations
        All steps there ever were, oldest first.
    path
        For the error's sentence.

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
    database = Database(connection, execute_plugins=False)
    for step in range(version, len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            migrations[step](database)
            connection.execute(f"PRAGMA user_version = {step + 1}")
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


AGENT: tuple[Migration, ...] = (
    _first_layout,
    _what_was_served,
    _alarms,
    _what_is_kept_aside,
    _standing,
)
"""The steps of ``agent.db``."""
