"""The second half of an autoencoder: widening again, and the score."""

from __future__ import annotations

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.graphs.builders.heads import Finish
from headwater_models.graphs.builders.layers import Layers
from headwater_models.graphs.builders.specification import ModelSpec
from headwater_models.graphs.expression import Value
from headwater_models.graphs.features import Reading


def decode(layers: Layers, bottleneck: Value, spec: ModelSpec) -> Value:
    """Return ``[N, F]``: the hidden layers in reverse."""
    value = bottleneck
    for number, width in enumerate(spec.hidden[-2::-1], start=1):
        value = layers.hidden(f"decoder.{number}", value, width)
    return value


def reconstruction_error(reading: Reading) -> tuple[int, Finish]:
    """Return how many cells of a window to reconstruct, and how that becomes a score ``[N, 1]``.

    The score is the mean squared error over the measured cells that are there, in units of their
    scale, and 0 where there are none. A reconstruction of zeros scores the distance from the mean.

    Raises
    ------
    UnsupportedError
        When all channels have categories.
    """
    measured, missing = reading.measured, reading.missing
    if measured is None or missing is None:
        raise UnsupportedError("task anomaly: at least one channel without categories is needed.")
    graph, cells = measured.graph, int(measured.shape[1]) * int(measured.shape[2])
    row = np.array([0, cells], np.int64)
    truth = graph.op("Reshape", measured, row)
    there = 1.0 - graph.op("Reshape", missing, row)
    count = graph.op("Max", there.sum([1], keepdims=True), 1.0)

    def finish(raw: Value, name: str) -> Value:
        error = there * (raw - truth)
        return graph.op("Div", (error * error).sum([1], keepdims=True), count, name=name)

    return cells, finish
