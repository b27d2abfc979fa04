"""The schema of the books, as a list that is only ever added to.

It is written for SQLite; what PostgreSQL names otherwise is translated there (:mod:`.postgresql`).
"""

from __future__ import annotations

from headwater.errors import StorageError
from headwater_coordinator.engines.engine import Engine

MIGRATIONS = (
    """
    CREATE TABLE versions (
        version TEXT PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('release', 'candidate', 'refused')),
        sequence INTEGER NOT NULL,
        parent TEXT NOT NULL,
        round INTEGER NOT NULL,
        statement TEXT NOT NULL,
        contributors INTEGER NOT NULL DEFAULT 0,
        examples INTEGER NOT NULL DEFAULT 0,
        created_ms INTEGER NOT NULL,
        decided_ms INTEGER,
        words TEXT NOT NULL DEFAULT '',
        devices INTEGER,
        rows INTEGER,
        loss_candidate REAL,
        loss_release REAL,
        loss_baseline REAL,
        difference REAL,
        standard_error REAL
    ) STRICT;
    CREATE UNIQUE INDEX one_release_for_each_sequence ON versions (sequence)
        WHERE kind = 'release';
    CREATE UNIQUE INDEX one_open_candidate ON versions (kind) WHERE kind = 'candidate';
    CREATE TABLE devices (
        node TEXT PRIMARY KEY,
        device TEXT NOT NULL,
        version TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        records INTEGER NOT NULL,
        examples INTEGER NOT NULL,
        online INTEGER NOT NULL,
        seen_ms INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX one_node_for_each_name ON devices (device) WHERE device <> '';
    CREATE TABLE updates (
        id INTEGER PRIMARY KEY,
        node TEXT NOT NULL,
        device TEXT NOT NULL,
        base TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        round INTEGER NOT NULL,
        examples INTEGER NOT NULL,
        weight INTEGER NOT NULL,
        loss_before REAL NOT NULL,
        loss_after REAL NOT NULL,
        data_until_ms INTEGER NOT NULL,
        received_ms INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('accepted', 'superseded', 'merged')),
        merged_in TEXT REFERENCES versions (version),
        vector BLOB,
        UNIQUE (node, sequence),
        CHECK ((state = 'merged') = (merged_in IS NOT NULL)),
        CHECK ((state = 'accepted') = (vector IS NOT NULL))
    ) STRICT;
    CREATE UNIQUE INDEX one_pending_update_for_each_node ON updates (node)
        WHERE state = 'accepted';
    CREATE INDEX updates_by_version ON updates (merged_in);
    CREATE TABLE refusals (
        id INTEGER PRIMARY KEY,
        time_ms INTEGER NOT NULL,
        node TEXT NOT NULL,
        device TEXT NOT NULL,
        ask TEXT NOT NULL,
        kind TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT;
    CREATE TABLE rounds (
        round INTEGER PRIMARY KEY,
        base TEXT NOT NULL,
        opened_ms INTEGER NOT NULL,
        closed_ms INTEGER,
        asked INTEGER NOT NULL,
        accepted INTEGER,
        refused INTEGER,
        declined INTEGER,
        failed INTEGER,
        outcome TEXT NOT NULL DEFAULT 'open'
            CHECK (outcome IN ('open', 'merged', 'void', 'interrupted')),
        candidate TEXT
    ) STRICT;
    """,
    """
    ALTER TABLE devices ADD COLUMN alarms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN retrain INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE contributions (
        node TEXT PRIMARY KEY,
        device TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        holds_for TEXT NOT NULL,
        examples INTEGER NOT NULL,
        received_ms INTEGER NOT NULL,
        statistics BLOB NOT NULL
    ) STRICT;
    ALTER TABLE devices ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN erased INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE receipts (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        node TEXT NOT NULL,
        kind TEXT NOT NULL,
        task TEXT,
        digest TEXT NOT NULL,
        received_ms INTEGER NOT NULL,
        ask TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX receipts_by_node ON receipts (node, ask);
    """,
    """
    CREATE TABLE strategy_states (
        version TEXT PRIMARY KEY REFERENCES versions (version),
        strategy TEXT NOT NULL,
        state BLOB NOT NULL
    ) STRICT;
    """,
    """
    ALTER TABLE devices ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN asked_ms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN unanswered INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN utility REAL NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN duration_ms INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE versions ADD COLUMN data_until_ms INTEGER NOT NULL DEFAULT 0;
    UPDATE versions SET data_until_ms = created_ms;
    """,
    """
    ALTER TABLE updates ADD COLUMN norm REAL;
    CREATE TABLE quarantine (
        id INTEGER PRIMARY KEY REFERENCES refusals (id),
        node TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        round INTEGER NOT NULL,
        "update" BLOB NOT NULL,
        vector BLOB NOT NULL
    ) STRICT;
    CREATE INDEX quarantine_by_node ON quarantine (node, sequence);
    CREATE INDEX refusals_by_node ON refusals (node);
    """,
    """
    ALTER TABLE rounds ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE rounds ADD COLUMN merge_ms INTEGER;
    ALTER TABLE devices ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE decisions (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        time_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        by TEXT NOT NULL,
        version TEXT NOT NULL DEFAULT '',
        sequence INTEGER NOT NULL DEFAULT 0,
        device TEXT NOT NULL DEFAULT '',
        words TEXT NOT NULL DEFAULT '',
        statement TEXT NOT NULL DEFAULT ''
    ) STRICT;
    INSERT INTO decisions (time_ms, kind, by, version, sequence, words, statement)
        SELECT coalesce(decided_ms, created_ms),
            CASE WHEN kind = 'refused' THEN 'reject' WHEN round = 0 THEN 'begin' ELSE 'release' END,
            CASE WHEN round = 0 THEN 'the owner' ELSE 'the gate' END,
            version, sequence, words, statement
        FROM versions WHERE kind <> 'candidate' ORDER BY coalesce(decided_ms, created_ms);
    """,
    """
    ALTER TABLE quarantine ADD COLUMN malformed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE quarantine ADD COLUMN nbytes INTEGER NOT NULL DEFAULT 0;
    UPDATE quarantine SET nbytes = length(vector);
    """,
    """
    ALTER TABLE devices ADD COLUMN group_name TEXT NOT NULL DEFAULT '';
    ALTER TABLE devices ADD COLUMN scored INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN loss_baseline REAL NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN loss_released REAL NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN loss_personal REAL NOT NULL DEFAULT 0;
    """,
)


def migrate(engine: Engine, schema: int = len(MIGRATIONS)) -> None:
    """Bring a database up to date, each step in a transaction with its own record.

    Parameters
    ----------
    schema
        How many migrations it shall have seen.

    Raises
    ------
    StorageError
        When the database is newer than this program.
    """
    _refuse_newer(engine)
    for number, script in enumerate(MIGRATIONS[engine.schema : schema], engine.schema + 1):
        engine.advance(script, number)


def refuse_unknown(engine: Engine) -> None:
    """Refuse a database that has no books, or newer ones than this program knows."""
    if engine.schema == 0:
        raise StorageError(
            f"{engine.name} holds no books; `init` or `restore` with --database make them there."
        )
    _refuse_newer(engine)


def _refuse_newer(engine: Engine) -> None:
    if engine.schema > len(MIGRATIONS):
        raise StorageError(
            f"{engine.name} has schema {engine.schema}, this program knows {len(MIGRATIONS)}; "
            "update headwater."
        )
