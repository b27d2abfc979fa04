"""What a live run came to: one JSON object for programs, a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from headwater_simulator.live.fleet import LiveDevice, LiveFleet

Side = Literal["left", "right"]

COLUMNS: tuple[tuple[str, Side], ...] = (
    ("device", "left"),
    ("records", "right"),
    ("per s", "right"),
    ("latency ms", "right"),
    ("baseline", "right"),
    ("released", "right"),
    ("personal", "right"),
    ("version", "left"),
    ("sent", "right"),
)
"""Headings of the table; the baseline is persistence, latencies are p50 and p99."""


class Mae(msgspec.Struct, frozen=True, kw_only=True):
    """Mean absolute errors over the same predictions, in the target's unit."""

    baseline: float
    released: float
    personal: float


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """From a record's receipt to its prediction's publication, milliseconds."""

    p50: float
    p99: float


class DeviceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One device; ``bytes_out`` is what its ledger says went to the coordinator."""

    id: str
    mae: Mae
    version: str
    latency_ms: Latency
    bytes_out: int


class DeviceNow(msgspec.Struct, frozen=True, kw_only=True):
    """A device as the table shows it."""

    summary: DeviceSummary
    records: int
    records_per_s: float
    scored: int
    sequence: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run; ``releases`` counts those after the first version."""

    rounds: int
    releases: int
    records: int
    devices: tuple[DeviceSummary, ...]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The run as it stands."""

    seconds: float
    rounds: int
    releases: int
    refused: int
    devices: tuple[DeviceNow, ...]

    def summary(self) -> Summary:
        """Return what programs are told."""
        return Summary(
            rounds=self.rounds,
            releases=self.releases,
            records=sum(device.records for device in self.devices),
            devices=tuple(device.summary for device in self.devices),
        )


def snapshot(fleet: LiveFleet, seconds: float) -> Snapshot:
    """Look at every part of a fleet, *seconds* after the records began."""
    status = fleet.status()
    return Snapshot(
        seconds=seconds,
        rounds=status.rounds if status else 0,
        releases=status.releases if status else 0,
        refused=status.refused_candidates if status else 0,
        devices=tuple(_device(device) for device in fleet.devices),
    )


def table(now: Snapshot, target: str, unit: str) -> RenderableType:
    """Draw a snapshot."""
    drawn = Table(
        title=f"{target} in {unit}: mean absolute errors on the same forecasts",
        box=None,
        padding=(0, 1, 0, 0),
    )
    for name, side in COLUMNS:
        drawn.add_column(name, justify=side, no_wrap=True)
    for device in now.devices:
        made = device.summary
        drawn.add_row(
            made.id,
            f"{device.records:,}",
            f"{device.records_per_s:,.0f}",
            f"{made.latency_ms.p50:.1f} / {made.latency_ms.p99:.0f}",
            *_errors(made.mae, device.scored),
            f"{device.sequence} {made.version[:6]}",
            f"{made.bytes_out / 1000:,.0f} kB",
        )
    line = (
        f"{now.seconds:3.0f} s   {now.rounds} rounds   {now.releases} releases   "
        f"{now.refused} candidates refused"
    )
    return Group(drawn, Text(line))


def _errors(mae: Mae, scored: int) -> Sequence[str]:
    if not scored:
        return ("-", "-", "-")
    best = min(mae.baseline, mae.released, mae.personal)
    return [
        f"[bold green]{error:.2f}[/]" if error == best else f"{error:.2f}"
        for error in (mae.baseline, mae.released, mae.personal)
    ]


def _device(device: LiveDevice) -> DeviceNow:
    said, live = device.checked_in(), device.live()
    return DeviceNow(
        summary=DeviceSummary(
            id=device.settings.device,
            mae=Mae(
                baseline=said.loss_baseline if said else 0.0,
                released=said.loss_released if said else 0.0,
                personal=said.loss_personal if said else 0.0,
            ),
            version=said.version if said else "",
            latency_ms=Latency(
                p50=live.latency_p50_ms if live else 0.0, p99=live.latency_p99_ms if live else 0.0
            ),
            bytes_out=device.bytes_out(),
        ),
        records=said.records if said else 0,
        records_per_s=live.records_per_s if live else 0.0,
        scored=said.scored if said else 0,
        sequence=said.sequence if said else 0,
    )
