"""The air-quality model: PM2.5 at a station six hours ahead, from its last eight hours."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.settings import Duration
from headwater_models.graphs.builders import ModelSpec
from headwater_models.graphs.scaling import scaling_from_rows
from headwater_models.manifest import Grid, Optimiser, Reserve
from headwater_simulator.streams import CHANNELS, HOUR_MS, Station

HOUR = Duration(HOUR_MS)
DAY = Duration(24 * HOUR)
WEEK = Duration(7 * DAY)

HORIZON = Duration(6 * HOUR)

SCALING_HOURS = 8_760
"""The first station's first year gives the scales."""


def specification(stations: Sequence[Station]) -> ModelSpec:
    """Return what to build; ``benchmarks/beijing.py`` says how it was chosen."""
    return ModelSpec(
        kind="mlp",
        name="beijing-pm25",
        task="forecast",
        channels=CHANNELS,
        grid=Grid(period=HOUR, max_gap=DAY, hold=6),
        window=8,
        target="pm25",
        horizon=HORIZON,
        loss="mae",
        optimiser=Optimiser(name="adam", learning_rate=1e-3, batch=64),
        reserve=Reserve(share=0.1, block=WEEK),
        inputs=("window", "time"),
        hidden=(64, 64),
        scaling=scaling_from_rows(stations[0].values[:SCALING_HOURS], CHANNELS, None),
    )
