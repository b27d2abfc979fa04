"""What a benchmark found: figures with their peers, as a table for people and JSON for programs."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

Better = Literal["lower", "higher"]

FEDERATED = ("headwater", "onnxruntime", "numpy", "flwr")
"""The packages behind the figures of a federation."""


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ours beside a peer's. ``ratio`` says how many times better ours is."""

    ours: float
    peers: dict[str, float]
    ratio: float
    unit: str
    better: Better


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run. A figure without a peer is a plain number.

    ``missing`` names the peers that could not run, with the reason.
    """

    benchmark: str
    machine: str
    versions: dict[str, str]
    figures: dict[str, float | Figure]
    missing: dict[str, str] = {}

    def encode(self) -> bytes:
        """Return the report as one JSON object; a figure's peers stand beside ``ours`` by name."""
        plain = {**msgspec.structs.asdict(self), "figures": self._figures()}
        if not self.missing:
            del plain["missing"]
        return msgspec.json.encode(plain)

    def _figures(self) -> dict[str, object]:
        return {name: _plain(figure) for name, figure in self.figures.items()}

    def show(self, console: Console) -> None:
        """Print a table."""
        table = Table("figure", "ours", "peer", "unit", title=self.benchmark, title_justify="left")
        for name, figure in self.figures.items():
            if isinstance(figure, Figure):
                peers = ", ".join(f"{peer} {value:.4g}" for peer, value in figure.peers.items())
                table.add_row(name, f"{figure.ours:.4g}", peers, figure.unit)
            else:
                table.add_row(name, f"{figure:,.{0 if figure.is_integer() else 4}f}", "", "")
        console.print(table)
        for peer, reason in self.missing.items():
            console.print(f"{peer} did not run: {reason}", markup=False)
        console.print(f"[dim]{self.machine}; {_listed(self.versions)}[/dim]")


def report(
    benchmark: str,
    packages: Sequence[str],
    figures: Mapping[str, float | Figure],
    missing: Mapping[str, str] | None = None,
) -> Report:
    """Put a report together with what is known of this machine and these packages."""
    return Report(
        benchmark=benchmark,
        machine=_machine(),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        figures=dict(figures),
        missing=dict(missing or {}),
    )


def spread(name: str, values: Sequence[float]) -> dict[str, float | Figure]:
    """Return the mean over seeds, and with several their standard deviation as ``NAME_sd``."""
    figures: dict[str, float | Figure] = {name: statistics.fmean(values)}
    if len(values) > 1:
        figures[f"{name}_sd"] = statistics.stdev(values)
    return figures


def _plain(figure: float | Figure) -> object:
    if not isinstance(figure, Figure):
        return figure
    return {
        "ours": figure.ours,
        **figure.peers,
        "ratio": figure.ratio,
        "unit": figure.unit,
        "better": figure.better,
    }


def _machine() -> str:
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else cpu} x {max(len(names), 1)}, {platform.system()}"


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
