"""What the coordinator has done so far, read from its books without writing to them."""

from __future__ import annotations

from typing import Any

import msgspec

from headwater import wire
from headwater_coordinator.location import Location
from headwater_coordinator.reader import Reader, reading


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A released or refused version, or the open candidate."""

    version: str
    kind: str
    sequence: int
    parent: str
    round: int
    contributors: int
    examples: int
    created_ms: int
    words: str
    loss_candidate: float | None
    loss_release: float | None
    loss_baseline: float | None
    difference: float | None
    standard_error: float | None


class DeviceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A device as it was last heard of."""

    node: str
    device: str
    version: str
    sequence: int
    records: int
    examples: int
    alarms: int
    """Raised by its drift detectors since it took its version."""
    retrain: bool
    """Whether it asks for a round on account of one."""
    forgotten: bool
    """Whether what it contributed was erased; it is asked for nothing more."""
    asked: int
    """How often it was asked for an update."""
    unanswered: int
    """How often nothing came of that."""
    online: bool
    seen_ms: int
    accepted: int
    refused: int


class RefusalRow(msgspec.Struct, frozen=True, kw_only=True):
    """A reply that was refused, and why."""

    time_ms: int
    device: str
    node: str
    kind: str
    reason: str


class HeldRow(msgspec.Struct, frozen=True, kw_only=True):
    """An update in quarantine. ``id`` is the number of its refusal."""

    id: int
    time_ms: int
    device: str
    node: str
    base: str
    """Empty where it is malformed."""
    sequence: int
    """0 where it could not be read."""
    round: int
    examples: int
    malformed: bool
    """Whether it can never be merged; then it may be cut, and cannot be released."""
    nbytes: int
    """Of its vector, or of the whole message where it could not be read."""
    kept: int
    """Bytes of them that are kept."""
    refused: int
    """How many replies of its device were ever refused."""
    reason: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at a glance. Lists begin with the newest."""

    rounds: int
    releases: int
    """Versions released since the first, which the bundle brought."""
    refused_candidates: int
    updates: dict[str, int]
    """Number of updates by state: accepted (pending), superseded, merged."""
    contributions: int
    """Devices whose statistics are merged from now on, and of how many examples they are."""
    contributed_examples: int
    release: str
    sequence: int
    versions: list[VersionRow]
    devices: list[DeviceRow]
    refusals: list[RefusalRow]


def read_status(books: Location, *, limit: int = 20) -> Status:
    """Read the status; works while the coordinator runs and while it does not.

    Parameters
    ----------
    books
        Where they lie.
    limit
        Versions and refusals listed, at most.

    Raises
    ------
    StorageError
        When there are none or they cannot be read.
    """
    with reading(books) as reader:
        return _read(reader, limit)


def read_quarantine(books: Location) -> list[HeldRow]:
    """Read what is in quarantine, the newest first; raises as :func:`read_status`."""
    with reading(books) as reader:
        return [_held(row) for row in reader.records(_QUARANTINE)]


def _held(row: dict[str, Any]) -> HeldRow:
    packed, base, examples = row.pop("update"), "", 0
    if not row["malformed"]:
        update = msgspec.msgpack.decode(packed, type=wire.Update)
        base, examples = update.base, update.examples
    return msgspec.convert(row | {"base": base, "examples": examples}, HeldRow, strict=False)


def _read(books: Reader, limit: int) -> Status:
    number = books.number
    release, *_ = books.records(
        "SELECT version, sequence FROM versions WHERE kind = 'release' ORDER BY sequence DESC"
    )
    states = books.counts("SELECT state, count(*) FROM updates GROUP BY state")
    return Status(
        rounds=number("SELECT count(*) FROM rounds WHERE outcome IN ('merged', 'void')"),
        releases=number("SELECT count(*) - 1 FROM versions WHERE kind = 'release'"),
        refused_candidates=number("SELECT count(*) FROM versions WHERE kind = 'refused'"),
        updates={"accepted": 0, "superseded": 0, "merged": 0} | states,
        contributions=number("SELECT count(*) FROM contributions"),
        contributed_examples=number("SELECT sum(examples) FROM contributions"),
        release=release["version"],
        sequence=release["sequence"],
        versions=books.rows(VersionRow, _VERSIONS, limit=limit),
        devices=books.rows(DeviceRow, _DEVICES),
        refusals=books.rows(RefusalRow, _REFUSALS, limit=limit),
    )


_VERSIONS = "SELECT * FROM versions ORDER BY created_ms DESC, sequence DESC LIMIT :limit"

_DEVICES = """
    SELECT *,
        (SELECT count(*) FROM updates WHERE updates.node = devices.node) AS accepted,
        (SELECT count(*) FROM refusals WHERE refusals.node = devices.node) AS refused
    FROM devices ORDER BY device
"""

_REFUSALS = "SELECT * FROM refusals ORDER BY id DESC LIMIT :limit"

_QUARANTINE = """
    SELECT id, time_ms, device, quarantine.node AS node, sequence, round, "update", reason,
        malformed, nbytes, length(vector) AS kept,
        (SELECT count(*) FROM refusals AS all_of_it WHERE all_of_it.node = quarantine.node)
            AS refused
    FROM quarantine JOIN refusals USING (id) ORDER BY id DESC
"""
