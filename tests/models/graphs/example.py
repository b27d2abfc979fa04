"""Small models and batches for tests; every combination of task, loss and optimiser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.settings import Duration
from headwater_models.graphs.builders import ModelSpec
from headwater_models.graphs.scaling import Scaling
from headwater_models.manifest import Channel, Grid, Optimiser, Reserve

HOUR = 3_600_000
LOSSES = {
    "forecast": ("mse", "mae", "huber"),
    "regression": ("mse", "mae", "huber"),
    "classification": ("cross_entropy",),
}


def model_spec(**changes: Any) -> ModelSpec:
    """Return a forecast of channel `a` by an mlp over three rows of two channels."""
    spec = ModelSpec(
        kind="mlp",
        name="example",
        task="forecast",
        channels=(
            Channel(name="a", unit="C", minimum=-10, maximum=40),
            Channel(name="b", unit="hPa", minimum=900, maximum=1100),
        ),
        grid=Grid(period=Duration(HOUR), max_gap=Duration(3 * HOUR)),
        window=3,
        reserve=Reserve(share=0.1, block=Duration(24 * HOUR)),
        loss="mse",
        target="a",
        horizon=Duration(6 * HOUR),
        hidden=(4,),
        activation="tanh",
        scaling=Scaling(mean=(15.0, 1000.0), scale=(8.0, 20.0), label_mean=3.0, label_scale=2.0),
    )
    if changes.get("task", "forecast") != "forecast":
        spec = msgspec.structs.replace(spec, target="", horizon=Duration(0))
    if changes.get("task") == "classification":
        spec = msgspec.structs.replace(spec, classes=("x", "y", "z"), loss="cross_entropy")
    return msgspec.structs.replace(spec, **changes)


def all_specs(*optimisers: str) -> list[ModelSpec]:
    """List each kind, activation, task, loss and optimiser once, with and without clock."""
    networks = (("linear", "relu"), ("mlp", "relu"), ("mlp", "tanh"))
    return [
        model_spec(
            kind=kind,
            activation=activation,
            task=task,
            loss=loss,
            optimiser=optimiser(name),
            inputs=("window", "time") if activation == "tanh" else ("window",),
            hidden=(4, 3) if activation == "tanh" else (4,),
        )
        for kind, activation in networks
        for task, fitting in LOSSES.items()
        for loss in fitting
        for name in optimisers
    ]


def kind_specs(**changes: Any) -> list[ModelSpec]:
    """List each kind once: small, with the clock, and with a channel that has categories."""
    mode = Channel(name="mode", minimum=0, maximum=2, categories=("off", "on", "auto"))
    spec = model_spec(
        window=5,
        channels=(*model_spec().channels, mode),
        scaling=Scaling(mean=(15.0, 1000.0, 0.0), scale=(8.0, 20.0, 1.0)),
        inputs=("window", "time"),
        hidden=(4, 3),
        embedding=2,
        **changes,
    )
    networks = ("linear", "mlp", "resnet", "cnn", "gru")
    anomaly = {"kind": "autoencoder", "task": "anomaly", "target": "", "horizon": Duration(0)}
    return [
        *(msgspec.structs.replace(spec, kind=kind) for kind in networks),
        msgspec.structs.replace(spec, **anomaly),
    ]


def optimiser(name: str, **settings: float) -> Optimiser:
    return msgspec.convert({"name": name, **settings}, Optimiser)


def spec_id(spec: ModelSpec) -> str:
    parts = (spec.kind, spec.activation, spec.task, spec.loss, spec.optimiser.name)
    return "-".join(parts)


@dataclass(frozen=True)
class Rows:
    """A batch of a test; fields as in ``session.Batch``."""

    window: NDArray[Any]
    time: NDArray[np.int64]
    label: NDArray[Any]
    weight: NDArray[Any]

    def cast(self, dtype: str) -> Rows:
        return replace(
            self,
            window=self.window.astype(dtype),
            label=self.label.astype(dtype),
            weight=self.weight.astype(dtype),
        )


def rows(spec: ModelSpec, rng: np.random.Generator, count: int = 5, missing: float = 0.2) -> Rows:
    """Draw a batch with gaps, in float64 that float32 holds exactly."""
    assert spec.scaling is not None
    shape = (count, spec.window, len(spec.channels))
    window = rng.normal(spec.scaling.mean, spec.scaling.scale, shape)
    for column, channel in enumerate(spec.channels):
        if channel.categories:
            window[:, :, column] = rng.integers(0, len(channel.categories), shape[:2])
    window[rng.random(shape) < missing] = np.nan
    label = rng.normal(15, 8, (count, 1))
    if spec.classes:
        label = rng.integers(0, len(spec.classes), (count, 1)).astype(np.float64)
    time = rng.integers(1_300_000_000_000, 1_700_000_000_000, count)
    return Rows(window, time, label, rng.uniform(0.2, 2, count)).cast("float32").cast("float64")


def random_weights(
    shapes: dict[str, NDArray[np.float32]], rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Draw weights far from the builder's zeros, so that every path carries a gradient."""
    return {
        name: rng.normal(0, 0.5, a.shape).astype(np.float32).astype(np.float64)
        for name, a in shapes.items()
    }
