"""What a coordinator has done and is about: functions of its folder, whoever shows the answers."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import msgspec

from headwater_coordinator.home import Home
from headwater_coordinator.live import Live, read_live
from headwater_coordinator.lock import holder
from headwater_coordinator.reader import reading
from headwater_coordinator.status import Status, read_status

SHOWN = 20
"""Rounds or releases that are returned unless more are asked for."""

ERRORS = 5
"""Lines of the log that are shown."""

_TAIL_BYTES = 65_536


class Overview(Status, frozen=True, kw_only=True):
    """The status of the books, and what runs."""

    running: bool
    live: Live | None
    """Where the federation stands; None while nothing runs."""
    online: int
    known: int
    received_bytes: int
    """Of all updates, as they were sent."""
    candidate: str
    """The open one; empty where none is."""
    errors: list[str]
    """The newest warnings of the coordinator's log, oldest first."""


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """A device as the books know it."""

    device: str
    node: str
    group: str
    """Which its owner put it into; empty: none."""
    online: bool
    forgotten: bool
    version: str
    sequence: int
    staleness: int | None
    """Releases since its own; None where it has not said what it runs."""
    seen_ms: int
    accepted: int
    """Its updates that were accepted, whatever became of them."""
    merged: int
    pending: int
    refused: int
    asked: int
    failures: int
    """How often nothing came of a task to train."""
    records: int
    examples: int
    alarms: int
    retrain: bool
    bytes: int
    """Of its updates, as they were sent."""
    loss_before: float | None
    """Of its newest update: mean loss on its own data before and after it learned."""
    loss_after: float | None
    scored: int
    """Predictions that its last check-in took the mean losses below over."""
    loss_baseline: float | None
    """In the field, of baseline, release and personal model; None where nothing was scored."""
    loss_released: float | None
    loss_personal: float | None


class RoundView(msgspec.Struct, frozen=True, kw_only=True):
    """A round, or what lies between two merges; counts are known when it is closed."""

    round: int
    base: str
    base_sequence: int | None
    asked: int
    accepted: int | None
    refused: int | None
    declined: int | None
    failed: int | None
    outcome: str
    candidate: str | None
    became: str | None
    """What became of the candidate: ``release``, ``refused``, or still ``candidate``."""
    bytes: int
    """Of the updates that were asked for in it, as they were sent."""
    opened_ms: int
    duration_ms: int | None
    merge_ms: int | None


class ReleaseView(msgspec.Struct, frozen=True, kw_only=True):
    """A release or rollback; the figures are those of the gate when the version was judged."""

    sequence: int
    version: str
    parent: str
    kind: str
    time_ms: int
    by: str
    words: str
    contributors: int
    examples: int
    devices: int | None
    rows: int | None
    loss_candidate: float | None
    loss_release: float | None
    loss_baseline: float | None
    difference: float | None
    standard_error: float | None


def is_running(home: Home) -> bool:
    """Say whether a coordinator works in the folder."""
    return holder(home.lock) is not None


def overview(home: Home, *, running: bool, limit: int = SHOWN) -> Overview:
    """Return where the coordinator stands if it is *running*, and the newest of everything."""
    status = read_status(home.books, limit=limit)
    with reading(home.books) as books:
        received = books.number("SELECT sum(bytes) FROM devices")
    found = [row.version for row in status.versions if row.kind == "candidate"]
    return Overview(
        **{name: getattr(status, name) for name in Status.__struct_fields__},
        running=running,
        live=read_live(home.live) if running else None,
        online=sum(row.online for row in status.devices) if running else 0,
        known=len(status.devices),
        received_bytes=received,
        candidate=found[0] if found else "",
        errors=last_errors(home.logs / "serverapp.log"),
    )


def devices(home: Home, *, running: bool) -> list[DeviceView]:
    """Return every device, by name; none is online unless the coordinator is *running*."""
    with reading(home.books) as books:
        return books.rows(DeviceView, _DEVICES, running=int(running))


def rounds(home: Home, *, limit: int = SHOWN) -> list[RoundView]:
    """Return rounds, the newest first."""
    with reading(home.books) as books:
        return books.rows(RoundView, _ROUNDS, limit=limit)


def releases(home: Home, *, limit: int = SHOWN) -> list[ReleaseView]:
    """Return releases and rollbacks, the newest first."""
    with reading(home.books) as books:
        return books.rows(ReleaseView, _RELEASES, limit=limit)


def last_errors(log: Path, count: int = ERRORS) -> list[str]:
    """Return the newest warnings and errors of a log; none where it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    marks = (" WARNING ", " ERROR ")
    return list(deque((line for line in lines if any(m in line for m in marks)), maxlen=count))


_DEVICES = """
    WITH current (sequence) AS (SELECT max(sequence) FROM versions WHERE kind = 'release'),
    given AS (
        SELECT node, count(*) AS accepted, count(*) FILTER (WHERE state = 'merged') AS merged,
            count(*) FILTER (WHERE state = 'accepted') AS pending, max(sequence) AS newest
        FROM updates GROUP BY node
    ),
    denied AS (SELECT node, count(*) AS refused FROM refusals GROUP BY node)
    SELECT devices.device, devices.node, group_name AS "group", online * :running AS online,
        forgotten, version, devices.sequence,
        CASE WHEN version = '' THEN NULL WHEN devices.sequence > current.sequence THEN 0
            ELSE current.sequence - devices.sequence END AS staleness,
        seen_ms, coalesce(given.accepted, 0) AS accepted, coalesce(given.merged, 0) AS merged,
        coalesce(given.pending, 0) AS pending, coalesce(denied.refused, 0) AS refused,
        asked, unanswered AS failures, devices.records, devices.examples, alarms, retrain, bytes,
        updates.loss_before, updates.loss_after, scored,
        CASE WHEN scored > 0 THEN loss_baseline END AS loss_baseline,
        CASE WHEN scored > 0 THEN loss_released END AS loss_released,
        CASE WHEN scored > 0 THEN loss_personal END AS loss_personal
    FROM devices CROSS JOIN current
    LEFT JOIN given USING (node) LEFT JOIN denied USING (node)
    LEFT JOIN updates ON updates.node = devices.node AND updates.sequence = given.newest
    ORDER BY devices.device, devices.node
"""

_ROUNDS = """
    SELECT rounds.round, base, bases.sequence AS base_sequence, asked, accepted, refused, declined,
        failed, outcome, candidate, made.kind AS became, bytes, opened_ms,
        closed_ms - opened_ms AS duration_ms, merge_ms
    FROM rounds
    LEFT JOIN versions AS bases ON bases.version = base
    LEFT JOIN versions AS made ON made.version = candidate
    ORDER BY rounds.round DESC LIMIT :limit
"""

_RELEASES = """
    SELECT decisions.sequence, version, parent, decisions.kind, time_ms, by, decisions.words,
        contributors, examples, devices, rows, loss_candidate, loss_release, loss_baseline,
        difference, standard_error
    FROM decisions JOIN versions USING (version)
    WHERE decisions.kind IN ('begin', 'release', 'rollback')
    ORDER BY number DESC LIMIT :limit
"""
