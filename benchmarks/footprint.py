"""What the agent takes of a small device: ``python -m benchmarks.footprint``.

Memory, the time from its start to its first prediction, and what it makes the system write, each
of a real process on real messages. docs/benchmarks.md says what the figures are. With ``--json``
one object comes last.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.agent import workload
from benchmarks.agent.sides import AGENT, AGENT_WITHOUT_RIVER, Place, settings_of
from benchmarks.agent.stage import Stage, stage
from benchmarks.report import Better, Figure, report
from headwater_agent.nodekey import make_key
from headwater_simulator.broker import free_ports

PACKAGES = ("headwater", "onnxruntime", "numpy", "paho-mqtt", "river")
PEER = "naive_script"
RATE = 100
"""Records per second while memory and writes are watched."""

FIRST_RATE = 1_000
"""Records per second until the first prediction, so that its window is full at once."""

CLIENT_S = 5.0
"""Seconds after which a federation client without a coordinator waits and does nothing."""

Figures = dict[str, float | Figure]

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)


@dataclass(frozen=True)
class Taken:
    """What a process took: seconds, megabytes, and bytes per record."""

    first_s: float
    rss_mb: float
    disk_bytes: float
    written_bytes: float


@app.command()
def command(
    turns: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of streaming in each turn.")] = 60.0,
    folder: Annotated[
        Path | None, typer.Option(help="Where state is kept; a disk, not a tmpfs.")
    ] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Does it run at all?")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Measure memory, the time to the first prediction, and what is written to the disk."""
    turns, seconds = (1, 1.0) if quick else (turns, seconds)
    with tempfile.TemporaryDirectory(prefix="headwater-bench-", dir=folder) as name:
        model = Path(name) / "model"
        workload.model().save(model)
        found = report("footprint", PACKAGES, measure(model, turns, seconds, folder))
    found.show(Console(stderr=as_json))
    if as_json:
        typer.echo(found.encode().decode())


def measure(model: Path, turns: int, seconds: float, folder: Path | None) -> Figures:
    """Return the figures; the sides take turns."""
    sides = (AGENT_WITHOUT_RIVER, AGENT, PEER)
    taken: dict[str, list[Taken]] = {side: [] for side in sides}
    for _ in range(turns):
        for side in sides:
            with stage(model, folder) as place:
                taken[side].append(take(place, side, seconds))
    plain, river, peer = (taken[side] for side in sides)
    with stage(model, folder) as place:
        client = client_mb(place, CLIENT_S)
    return {
        "rss_mb": statistics.median(turn.rss_mb for turn in plain),
        "rss_mb_river": beside([t.rss_mb for t in river], [t.rss_mb for t in peer], "MB"),
        "first_prediction_s": statistics.median(turn.first_s for turn in plain),
        "first_prediction_s_river": beside(
            [t.first_s for t in river], [t.first_s for t in peer], "s"
        ),
        "disk_bytes_per_1000_records": beside(
            [t.disk_bytes for t in plain], [t.disk_bytes for t in peer], "B"
        ),
        "written_bytes_per_1000_records": beside(
            [t.written_bytes for t in plain], [t.written_bytes for t in peer], "B"
        ),
        "federation_client_rss_mb": client,
    }


def beside(ours: Sequence[float], peer: Sequence[float], unit: str) -> Figure:
    """Return the medians of both."""
    mine, theirs = statistics.median(ours), statistics.median(peer)
    better: Better = "lower"
    ratio = theirs / mine if mine else float("nan")
    return Figure(ours=mine, peers={PEER: theirs}, ratio=ratio, unit=unit, better=better)


def take(place: Stage, name: str, seconds: float) -> Taken:
    """Start a side, wait for its first answer, and stream to it."""
    with place.side(name, 1) as running:
        first = running.first_answer(FIRST_RATE) - running.began
        running.rest()
        before = written(running.pid)
        trace = running.stream(RATE, seconds)
        disk, passed = (
            1000 * (after - start) / max(1, len(trace.sent))
            for after, start in zip(written(running.pid), before, strict=True)
        )
        return Taken(first, rss_mb(running.pid), disk, passed)


def client_mb(place: Stage, seconds: float) -> float:
    """Return the memory of a federation client that waits for a coordinator.

    There is none at the port that it is told, so it tries, and then waits for the next attempt.
    """
    (port,) = free_ports(1)
    here = Place(port, 1, place.model, place.folder)
    path, settings = settings_of(here, drift=False)
    make_key(settings.node_key.parent)
    with path.open("a") as file:
        file.write(f'\n[federation]\nenabled = true\ncoordinator = "http://127.0.0.1:{port}"\n')
    child = place.hands.start(
        "client", [sys.executable, "-m", "headwater", "agent", "federate", "--settings", str(path)]
    )
    time.sleep(seconds)
    found = rss_mb(child.pid)
    child.stop()
    return found


def rss_mb(pid: int) -> float:
    """Return a process's resident memory in megabytes (of 1,000,000 bytes), shared pages too."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


def written(pid: int) -> tuple[int, int]:
    """Return the bytes that a process made the system write to disks, and those it handed over.

    The first counts pages as they become dirty (``write_bytes``), so it knows of whole pages and
    of a page that is changed again before it is written; it is 0 on a tmpfs. The second counts
    what went to files through calls of ``write`` (``wchar``), a part of a page as such a part.
    """
    lines = Path(f"/proc/{pid}/io").read_text(encoding="utf-8").splitlines()
    counts = dict(line.split(": ") for line in lines)
    return int(counts["write_bytes"]), int(counts["wchar"])


if __name__ == "__main__":
    app()
