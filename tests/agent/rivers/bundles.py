"""Small bundles for river models to learn on, and streams that can be learned."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import msgspec
import numpy as np

from headwater.settings import Duration
from headwater_agent.events import Batch
from headwater_agent.rivers.personal import RiverPersonal
from headwater_agent.rivers.settings import RiverSettings
from headwater_models.arrays import Arrays
from headwater_models.graphs.builders import Built, ModelSpec, build
from headwater_models.graphs.builders.specification import Kind
from headwater_models.manifest import Channel, Grid, Manifest, Reserve, Task
from headwater_models.session import Predictor

MINUTE = 60_000
LEVEL = Channel(name="level", unit="m", minimum=0, maximum=10)
RAIN = Channel(name="rain", unit="mm", minimum=0, maximum=50)
GATE = Channel(name="gate", minimum=0, maximum=2, categories=("shut", "ajar", "open"))
GRID = Grid(period=Duration(MINUTE), max_gap=Duration(2 * MINUTE))
RESERVE = Reserve(block=Duration(20 * MINUTE))

Dtype = Literal["float32", "float64"]


@cache
def bundle(
    task: Task = "regression",
    classes: int = 0,
    dtype: Dtype = "float32",
    kind: Kind = "linear",
    *,
    personal: Literal["none", "head", "blend"] = "none",
    freeze: tuple[str, ...] = (),
) -> Built:
    """A model of two rows of two channels."""
    spec = ModelSpec(
        kind=kind,
        name="weir",
        task=task,
        channels=(LEVEL, RAIN),
        grid=GRID,
        window=2,
        reserve=RESERVE,
        loss="cross_entropy" if classes else "mse",
        target="level" if task == "forecast" else "",
        horizon=Duration(MINUTE if task == "forecast" else 0),
        classes=tuple(f"c{number}" for number in range(classes)),
        hidden=(4,),
        kernel=2,
        personal=personal,
        freeze=freeze,
    )
    return build(spec, np.random.default_rng(0), dtype)


def anomaly_manifest() -> Manifest:
    """An anomaly task over level, rain and the gate's category, with the clock."""
    return Manifest(
        name="weir",
        task="anomaly",
        channels=(LEVEL, RAIN, GATE),
        grid=GRID,
        window=2,
        loss="mse",
        baseline="persistence",
        optimiser=bundle().manifest.optimiser,
        reserve=RESERVE,
        inputs=("window", "time"),
        arrays=(),
    )


def settings(model: str, **keys: Any) -> RiverSettings:
    """The table ``[learn.river]`` as it is read from TOML."""
    return msgspec.convert({"model": model, **keys}, RiverSettings)


def personal(wanted: RiverSettings, built: Built, weights: Arrays | None = None) -> RiverPersonal:
    """A river model on a bundle."""
    predictor = Predictor(built.infer)
    return RiverPersonal(wanted, built.manifest, predictor, weights or built.weights)


def stream(count: int, classes: int = 0, seed: int = 0) -> Batch:
    """Windows whose label follows from the last level: its class, or a line through it."""
    rng = np.random.default_rng(seed)
    window = rng.uniform([0, 0], [10, 50], (count, 2, 2)).astype(np.float32)
    level = window[:, -1, :1]
    label = np.floor(level / 10 * classes) if classes else 2 * level + 1
    time = np.arange(count, dtype=np.int64) * MINUTE
    return Batch(window, time, label.astype(np.float32), np.ones(count, np.float32))
