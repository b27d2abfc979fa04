"""A small manifest and the rows, predictions and examples that fit it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater.settings import Duration
from headwater_agent import events
from headwater_agent.events import Example, Prediction, Row
from headwater_models.manifest import Array, Channel, Grid, Manifest, Optimiser, Reserve

PERIOD = 1_000


def small_manifest(window: int = 3, horizon: int = 2) -> Manifest:
    """Two channels ``a`` and ``b``, one row a second, a forecast of ``b``."""
    return Manifest(
        name="small",
        task="forecast",
        channels=(
            Channel(name="a", unit="degC", minimum=-50, maximum=60),
            Channel(name="b", unit="ug/m3", minimum=0, maximum=1000),
        ),
        grid=Grid(period=Duration(PERIOD), max_gap=Duration(5 * PERIOD)),
        window=window,
        target="b",
        horizon=Duration(horizon * PERIOD),
        loss="mae",
        baseline="persistence",
        optimiser=Optimiser(),
        reserve=Reserve(block=Duration(60 * PERIOD)),
        arrays=(Array(name="w", shape=(2,)),),
    )


def row(slot: int, stream: str = "s") -> Row:
    """Return a row whose cells tell its slot."""
    values = np.array([slot, slot + 0.5], np.float32)
    return Row(stream, slot, values, np.ones(2, np.bool_))


def example(
    sequence: int, slot: int, stream: str = "s", window: int = 3, *, reserved: bool = False
) -> Example:
    """Return the example that the rows up to a slot give."""
    cut = np.stack([row(s, stream).values for s in range(slot - window + 1, slot + 1)])
    return Example(sequence, stream, slot * PERIOD, cut, slot + 0.25, reserved)


def prediction(slot: int, stream: str = "s", value: float = 1.0) -> Prediction:
    """Return a prediction for the window that ends at a slot."""
    return Prediction(
        id=f"{stream}-{slot}",
        stream=stream,
        time=slot * PERIOD,
        version="v1",
        said=np.array([[value], [value + 1], [value + 2]], np.float32),
        quality="ok",
        received=slot * PERIOD + 7,
    )


def rows(slots: Sequence[int], stream: str = "s") -> events.Store:
    """Return an entry of rows alone."""
    return events.Store(rows=tuple(row(slot, stream) for slot in slots))
