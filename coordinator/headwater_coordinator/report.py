"""The status as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from headwater.settings import Duration
from headwater_coordinator.status import DeviceRow, HeldRow, Status


def render(status: Status, now: int) -> RenderableType:
    """Draw the status; *now* is in UTC milliseconds, for ages."""
    updates = status.updates
    words = (
        f"Release {status.sequence} ({status.release[:12]}) after {status.rounds} rounds and "
        f"{status.releases} releases; {status.refused_candidates} candidates refused.\n"
        f"Updates: {updates['merged']} merged, {updates['accepted']} pending, "
        f"{updates['superseded']} superseded by later ones."
    )
    if status.contributions:
        words += (
            f"\nStatistics of {status.contributed_examples:,} examples from "
            f"{status.contributions} devices."
        )
    tables = [_devices(status, now), _versions(status)]
    if status.refusals:
        tables.append(_refusals(status, now))
    return Group(words, *tables)


def render_quarantine(held: Sequence[HeldRow], now: int) -> RenderableType:
    """Draw what is in quarantine; ages are taken at *now*, UTC milliseconds."""
    table = Table("id", "refused", "device", "update", "examples", "refusals", "reason")
    for one in held:
        table.add_row(
            str(one.id),
            f"{age(now - one.time_ms)} ago",
            one.device or one.node,
            *(("", "") if one.malformed else (str(one.sequence), f"{one.examples:,}")),
            str(one.refused),
            f"{one.reason}{_cut(one)}",
        )
    return table if held else "Nothing is in quarantine."


def _cut(one: HeldRow) -> str:
    """Say what is kept of an update that can never be merged."""
    if not one.malformed:
        return ""
    kept = "all" if one.kept == one.nbytes else f"the first {one.kept:,}"
    return f" Malformed, never to be merged; {kept} of {one.nbytes:,} bytes are kept."


def _devices(status: Status, now: int) -> Table:
    table = Table(
        "device", "state", "version", "records", "examples", "updates", "refused", "drift"
    )
    for device in status.devices:
        state = "online" if device.online else f"seen {age(now - device.seen_ms)} ago"
        if device.forgotten:
            state = "forgotten"
        table.add_row(
            device.device or device.node,
            state,
            f"{device.sequence} {device.version[:12]}",
            f"{device.records:,}",
            f"{device.examples:,}",
            str(device.accepted),
            str(device.refused),
            _drift(device),
        )
    return table


def _drift(device: DeviceRow) -> str:
    if not device.alarms:
        return "no alarm"
    alarms = f"{device.alarms:,} alarm{'s' * (device.alarms > 1)}"
    return f"{alarms}, asks for a round" if device.retrain else alarms


def _versions(status: Status) -> Table:
    table = Table("sequence", "version", "round", "devices", "examples", "what the gate said")
    for version in status.versions:
        table.add_row(
            str(version.sequence),
            version.version[:12],
            str(version.round),
            str(version.contributors),
            f"{version.examples:,}",
            version.words or ("waits for its judgement" if version.round else "the first"),
        )
    return table


def _refusals(status: Status, now: int) -> Table:
    table = Table("refused", "device", "kind", "reason")
    for refusal in status.refusals:
        table.add_row(
            f"{age(now - refusal.time_ms)} ago",
            refusal.device or refusal.node,
            refusal.kind,
            refusal.reason,
        )
    return table


def age(milliseconds: int) -> str:
    """Write how long ago something was, to the second."""
    return str(Duration(max(0, milliseconds) // 1000 * 1000))
