"""Small tables as people have them, and what is made of them, for the tests of offline training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from headwater.settings import Duration
from headwater_models.manifest import Channel, Grid, Manifest, Optimiser, Reserve
from headwater_models.offline.recordings import Recording
from headwater_models.table import Table

MINUTE = 60_000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN_MS = int(BEGIN.timestamp()) * 1000


def table(columns: Mapping[str, Sequence[Any]]) -> Table:
    """A table of cells as text."""
    return Table("data.csv", "d" * 64, {k: [str(c) for c in v] for k, v in columns.items()})


def minutes(count: int, start: int = 0) -> list[str]:
    """Times a minute apart, in ISO 8601."""
    return [(BEGIN + timedelta(minutes=start + i)).isoformat() for i in range(count)]


def manifest(**changes: object) -> Manifest:
    """A forecast of ``level`` one minute ahead from two rows of two channels, by default."""
    fields: dict[str, object] = {
        "name": "tank",
        "task": "forecast",
        "channels": (
            Channel(name="level", minimum=-100, maximum=100),
            Channel(name="flow", minimum=-100, maximum=100),
        ),
        "grid": Grid(period=Duration(MINUTE), max_gap=Duration(3 * MINUTE)),
        "window": 2,
        "target": "level",
        "horizon": Duration(MINUTE),
        "loss": "mae",
        "baseline": "persistence",
        "optimiser": Optimiser(),
        "reserve": Reserve(block=Duration(60 * MINUTE)),
        "arrays": (),
    }
    made = Manifest(**(fields | changes))  # type: ignore[arg-type]
    made.check()
    return made


def recording(
    minutes_of: Sequence[float],
    values: Sequence[Sequence[float | int]],
    *,
    stream: str = "tank",
    labels: Sequence[float] | None = None,
) -> Recording:
    """A recording with records at minutes; NaN is a missing cell."""
    count = len(minutes_of)
    return Recording(
        stream=stream,
        group=stream,
        times=np.array([round(minute * MINUTE) for minute in minutes_of], np.int64),
        values=np.array(values, np.float32).reshape(count, -1),
        doubted=np.zeros(count, np.bool_),
        labels=np.array(labels if labels is not None else [np.nan] * count, np.float32),
    )


def waves(count: int, seed: int = 0, streams: int = 1) -> dict[str, list[object]]:
    """A level that follows what flowed before, with a state of it, in some streams."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[object]] = {
        name: [] for name in ("time", "tank", "level", "flow", "state")
    }
    for stream in range(streams):
        flow = rng.standard_normal(count + 1)
        level = 2 * flow[:-1] + 0.1 * rng.standard_normal(count)
        found["time"] += minutes(count)
        found["tank"] += [f"tank-{stream}"] * count
        found["level"] += [f"{x:.4f}" for x in level]
        found["flow"] += [f"{x:.4f}" for x in flow[1:]]
        found["state"] += ["high" if x > 0 else "low" for x in flow[1:]]
    return found


def write_csv(path: Path, columns: Mapping[str, Sequence[object]]) -> Path:
    """Write columns as a CSV file."""
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path
