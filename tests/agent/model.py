"""A small forecasting manifest and records for it, shared by the tests of the agent's cores."""

from __future__ import annotations

import msgspec
import numpy as np

from headwater.settings import Duration
from headwater_agent.events import Arrived, Floats, Label, Record, Version
from headwater_models.arrays import Arrays
from headwater_models.manifest import Array, Channel, Grid, Manifest, Optimiser, Reserve

MINUTE = 60_000


def manifest(
    *,
    window: int = 3,
    horizon: int = 2,
    max_gap: int = 3,
    lateness: int = 0,
    hold: int = 0,
    share: float = 0.0,
    block: int = 60,
) -> Manifest:
    """A forecast of ``level`` from two channels; all times in minutes."""
    made = Manifest(
        name="tank",
        task="forecast",
        channels=(
            Channel(name="level", unit="m", minimum=0, maximum=10),
            Channel(name="flow", unit="m3/h", minimum=0, maximum=100),
        ),
        grid=Grid(
            period=Duration(MINUTE),
            max_gap=Duration(max_gap * MINUTE),
            lateness=Duration(lateness * MINUTE),
            hold=hold,
        ),
        window=window,
        target="level",
        horizon=Duration(horizon * MINUTE),
        loss="mae",
        baseline="persistence",
        optimiser=Optimiser(),
        reserve=Reserve(share=share, block=Duration(block * MINUTE)),
        arrays=(Array(name="w", shape=(2,)),),
        state=(Array(name="w.m", shape=(2,)),),
    )
    made.check()
    return made


def regression() -> Manifest:
    """The same channels with a label that comes from outside."""
    made = msgspec.structs.replace(
        manifest(), task="regression", target="", horizon=Duration(0), loss="mse"
    )
    made.check()
    return made


def classification() -> Manifest:
    """The same channels with three classes as labels."""
    made = msgspec.structs.replace(
        manifest(),
        task="classification",
        target="",
        horizon=Duration(0),
        loss="cross_entropy",
        classes=("calm", "rising", "falling"),
        baseline="majority",
    )
    made.check()
    return made


def anomaly() -> Manifest:
    """The same channels with a score of how unusual a window is."""
    made = msgspec.structs.replace(
        manifest(window=1), task="anomaly", target="", horizon=Duration(0), loss="mse"
    )
    made.check()
    return made


def record(
    minute: float,
    level: float | None = 1.0,
    flow: float | None = 1.0,
    *,
    stream: str = "tank-1",
    receipt: int = 0,
) -> Record:
    """A message at a minute; ``None`` means that it does not speak of the channel."""
    spoken = (level, flow)
    return Record(
        stream=stream,
        time=round(minute * MINUTE),
        values=np.array([np.nan if value is None else value for value in spoken], np.float32),
        present=np.array([value is not None for value in spoken]),
        receipt=receipt,
    )


def arrived(*items: Record | Label) -> Arrived:
    """Records and labels as one batch, in the order in which they came."""
    records = [item for item in items if isinstance(item, Record)]
    order = [
        sum(isinstance(other, Record) for other in items[:place])
        for place, item in enumerate(items)
        if isinstance(item, Label)
    ]
    labels = [item for item in items if isinstance(item, Label)]
    return Arrived(tuple(records), tuple(labels), tuple(order))


def version(sequence: int = 1, values: tuple[float, float] = (0.0, 0.0)) -> Version:
    """A released version with the given weights."""
    return Version(f"v{sequence}", sequence, {"w": np.array(values, np.float32)})


def arrays(*values: float) -> Arrays:
    """Weights of the model."""
    return {"w": np.array(values, np.float32)}


def floats(*values: float) -> Floats:
    """Return a float32 vector."""
    return np.array(values, np.float32)
