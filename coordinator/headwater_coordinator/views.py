"""Answers to queries as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table

from headwater_coordinator.audit import Entry
from headwater_coordinator.live import Live
from headwater_coordinator.queries import DeviceView, Overview, ReleaseView, RoundView
from headwater_coordinator.report import age, render


def overview(found: Overview, now: int) -> RenderableType:
    """Draw what runs, and the status of the books."""
    return Group("\n".join(_standing(found)), render(found, now), *found.errors)


def devices(found: Sequence[DeviceView], now: int) -> Table:
    """Draw devices; *now* is in UTC milliseconds."""
    grouped = any(one.group for one in found)
    table = _table(
        *("device", *(("group",) if grouped else ()), "state", "release", "behind", "asked"),
        *("failed", "updates", "merged", "refused", "bytes", "loss"),
    )
    for one in found:
        table.add_row(
            one.device or one.node,
            *((one.group,) if grouped else ()),
            _state(one, now),
            str(one.sequence),
            _shown(one.staleness),
            str(one.asked),
            str(one.failures),
            str(one.accepted),
            str(one.merged),
            str(one.refused),
            f"{one.bytes:,}",
            "" if one.loss_before is None else f"{one.loss_before:.4g} to {one.loss_after:.4g}",
        )
    return table


def rounds(found: Sequence[RoundView], now: int) -> Table:
    """Draw rounds; *now* is in UTC milliseconds."""
    table = _table(
        *("round", "from", "asked", "updates", "refused", "failed"),
        *("bytes", "took", "merge", "outcome"),
    )
    for one in found:
        took = now - one.opened_ms if one.outcome == "open" else one.duration_ms
        table.add_row(
            str(one.round),
            _shown(one.base_sequence),
            str(one.asked),
            *map(_shown, (one.accepted, one.refused)),
            "" if one.failed is None else str(one.failed + (one.declined or 0)),
            f"{one.bytes:,}",
            "" if took is None else age(took),
            "" if one.merge_ms is None else f"{one.merge_ms} ms",
            one.became or one.outcome,
        )
    return table


def releases(found: Sequence[ReleaseView]) -> Table:
    """Draw releases and rollbacks."""
    table = _table("sequence", "version", "from", "when", "kind", "by", "devices", "why")
    for one in found:
        table.add_row(
            str(one.sequence),
            one.version[:12],
            one.parent[:12],
            moment(one.time_ms),
            one.kind,
            one.by,
            str(one.contributors),
            one.words or "the first",
        )
    return table


def audit(found: Sequence[Entry]) -> Table:
    """Draw what was decided."""
    table = _table("when", "what", "about", "by", "why")
    for one in found:
        about = one.device or (f"{one.sequence} {one.version[:12]}" if one.version else "keys")
        table.add_row(moment(one.time_ms), one.kind, about, one.by, one.words)
    return table


def moment(time_ms: int) -> str:
    """Write UTC milliseconds to the second.

    Examples
    --------
    >>> moment(1_700_000_040_000)
    '2023-11-14 22:14:00Z'
    """
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


def _standing(found: Overview) -> Iterator[str]:
    if not found.running:
        yield f"No coordinator runs; {found.known} devices are known."
    elif found.live is None:
        yield "The coordinator runs; where it stands is not known."
    else:
        yield f"The coordinator runs; {found.online} of {found.known} devices are online."
        yield _where(found.live)
    if found.candidate:
        yield f"Candidate {found.candidate[:12]} waits for its judgement."
    yield f"Updates brought {found.received_bytes:,} bytes."


def _where(live: Live) -> str:
    where = f"Round {live.round}" if live.discipline == "rounds" else "The buffer"
    return (
        f"{where}: {live.phase}, {live.accepted} of {live.wanted} updates, {live.asked} devices "
        f"asked, {live.open} of them at work."
    )


def _state(one: DeviceView, now: int) -> str:
    if one.forgotten:
        return "forgotten"
    if not one.seen_ms:
        return "never seen"
    return "online" if one.online else f"seen {age(now - one.seen_ms)} ago"


def _shown(value: int | None) -> str:
    return "" if value is None else str(value)


def _table(*names: str) -> Table:
    return Table(*names, box=None, pad_edge=False, header_style="bold")
