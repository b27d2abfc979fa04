"""What a real coordinator did, read from its books into the chronicle of a run."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headwater_coordinator import events as e
from headwater_coordinator import queries
from headwater_coordinator.home import Home
from headwater_coordinator.reader import reading
from headwater_coordinator.status import RefusalRow
from headwater_simulator.report.results import Refusal, Release
from headwater_simulator.virtual.chronicle import NEWEST, Chronicle

ALL = 1_000_000
Clock = Callable[[int], int]
"""From UTC milliseconds to milliseconds of the scenario."""


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    kind: str
    sequence: int
    round: int
    words: str
    decided_ms: int | None


class _Update(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    round: int
    staleness: int


def releases(home: Home, clock: Clock, *, after: int = -1) -> list[Release]:
    """Return the releases with a later sequence number, oldest first; raises as the reader does."""
    with reading(home.database) as books:
        found = books.rows(_Version, _RELEASES, after=after)
    return [
        Release(
            sequence=one.sequence,
            version=one.version,
            time_ms=clock(one.decided_ms) if one.decided_ms is not None and one.round else 0,
            round=one.round,
            words=one.words if one.round else "The model that the fleet begins with.",
        )
        for one in found
    ]


def copy_books(home: Home, chronicle: Chronicle, clock: Clock) -> None:
    """Enter the rounds, updates and refusals of a coordinator that has ended.

    Raises
    ------
    StorageError
        When its books cannot be read.
    """
    _copy_rounds(home, chronicle, clock)
    with reading(home.database) as books:
        updates = books.rows(_Update, _UPDATES)
        refusals = books.rows(RefusalRow, _REFUSALS)
    for update in updates:
        chronicle.accepted(update.device, update.round, update.staleness)
        chronicle.devices[update.device].trained += 1
    for one in refusals:
        device = chronicle.devices[one.device]
        device.refused += 1
        device.trained += 1
    for one in refusals[-NEWEST:]:
        chronicle.refusals.append(
            Refusal(time_ms=clock(one.time_ms), device=one.device, attacks=False, reason=one.reason)
        )
    for view in queries.devices(home, running=False):
        chronicle.devices[view.device].declined = view.failures


def _copy_rounds(home: Home, chronicle: Chronicle, clock: Clock) -> None:
    with reading(home.database) as books:
        made = {one.round: one for one in books.rows(_Version, _DECIDED)}
    for one in reversed(queries.rounds(home, limit=ALL)):
        chronicle.opened(one.round, one.asked, clock(one.opened_ms))
        chronicle.weighed(one.round, one.bytes)
        if one.outcome not in ("merged", "void") or one.duration_ms is None:
            continue
        close = e.Close(
            round=one.round,
            asked=one.asked,
            accepted=one.accepted or 0,
            refused=one.refused or 0,
            declined=one.declined or 0,
            failed=one.failed or 0,
            outcome="void" if one.outcome == "void" else "merged",
        )
        chronicle.closed(close, clock(one.opened_ms + one.duration_ms))
        version = made.get(one.round)
        if version is not None:
            released = version.kind == "release"
            chronicle.judged(one.round, "released" if released else "refused", version.words)


_RELEASES = """
    SELECT * FROM versions WHERE kind = 'release' AND sequence > :after ORDER BY sequence
"""

_DECIDED = "SELECT * FROM versions WHERE kind <> 'candidate' AND round > 0"

_UPDATES = """
    SELECT updates.device, updates.round, (
        SELECT count(*) FROM versions
        WHERE kind = 'release' AND decided_ms <= received_ms AND versions.sequence > bases.sequence
    ) AS staleness
    FROM updates JOIN versions AS bases ON bases.version = base ORDER BY id
"""

_REFUSALS = "SELECT * FROM refusals WHERE kind = 'Update' ORDER BY id"
