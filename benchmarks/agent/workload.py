"""What every side gets: a model as the builders make it, and sensors whose records it forecasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headwater.settings import Duration
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.keys import SigningKey
from headwater_models.manifest import Channel, Grid, Optimiser, Reserve

PUBLISHER = SigningKey.from_seed(b"publisher of the benchmark's key")
RELEASE = SigningKey.from_seed(b"release key of the benchmark's..")
"""Keys of a model that nobody is to trust."""

CHANNELS = (
    Channel(name="temperature", unit="degC", minimum=-20, maximum=50),
    Channel(name="humidity", unit="%", minimum=0, maximum=100),
    Channel(name="light", unit="lx", minimum=0, maximum=2000),
    Channel(name="co2", unit="ppm", minimum=300, maximum=3000),
)
TARGET = "co2"
WINDOW = 8
PERIOD = Duration(1_000)
START_MS = 1_735_689_600_000
"""Event time of the first record, 2025-01-01; each further one is a period later."""

STEP = 0.004
"""Longest move of a channel from one record to the next, as a share of its range."""

PULL = 0.002
"""Share of the way back to the middle of the range that a channel takes with each record."""


def model() -> Bundle:
    """Build and sign the model: 8 rows of four channels, hidden layers 64 and 64, one row ahead.

    No block is reserved, so that the agent learns from every record, as the scripts do.
    """
    spec = ModelSpec(
        kind="mlp",
        name="office",
        task="forecast",
        channels=CHANNELS,
        grid=Grid(period=PERIOD, max_gap=Duration(10 * PERIOD)),
        window=WINDOW,
        target=TARGET,
        horizon=PERIOD,
        loss="mae",
        optimiser=Optimiser(name="adam", learning_rate=1e-3, batch=64),
        reserve=Reserve(share=0.0, block=Duration(60 * PERIOD)),
        hidden=(64, 64),
    )
    bundle = build(spec, np.random.default_rng(0)).bundle()
    return bundle.sign(PUBLISHER, delegates=[RELEASE.public], created=START_MS)


def save_beside(folder: Path, first: Bundle, count: int) -> None:
    """Save so many models of the same graphs, each with weights of its own."""
    rng = np.random.default_rng(1)
    for number in range(count):
        weights = {
            name: (array + rng.normal(0, 0.01, array.shape)).astype(np.float32)
            for name, array in first.weights.items()
        }
        other = dataclasses.replace(first, weights=weights, version_statement=None)
        signed = other.sign(PUBLISHER, delegates=[RELEASE.public], created=START_MS)
        signed.save(folder / f"m{number:03}")


class Sensors:
    """Streams whose channels wander within their ranges, the same for every side.

    Parameters
    ----------
    streams
        How many take turns.
    seed
        Decides where they begin and how they move.

    Attributes
    ----------
    taken
        Records so far.
    """

    def __init__(self, streams: int = 1, seed: int = 0) -> None:
        self.streams = streams
        self.taken = 0
        self._rng = np.random.default_rng(seed)
        self._levels = self._rng.uniform(0.3, 0.7, (streams, len(CHANNELS)))
        self._low = np.array([channel.minimum for channel in CHANNELS], float)
        self._range = np.array([channel.maximum for channel in CHANNELS], float) - self._low
        self._topics = [f"sensors/s{number:03}" for number in range(streams)]
        self._row = 0
        self._endless = self._messages()

    def take(self, count: int) -> list[tuple[str, bytes]]:
        """Return topic and payload of the next records, the streams in turn."""
        self.taken += count
        return [next(self._endless) for _ in range(count)]

    def _messages(self) -> Iterator[tuple[str, bytes]]:
        names = [channel.name for channel in CHANNELS]
        form = '{"time":%d,' + ",".join(f'"{name}":%.3f' for name in names) + "}"
        while True:
            moves = self._rng.uniform(-STEP, STEP, self._levels.shape)
            self._levels += moves + PULL * (0.5 - self._levels)
            self._levels.clip(0, 1, out=self._levels)
            time = START_MS + self._row * PERIOD
            self._row += 1
            values = (self._low + self._levels * self._range).tolist()
            for topic, row in zip(self._topics, values, strict=True):
                yield topic, (form % (time, *row)).encode()
