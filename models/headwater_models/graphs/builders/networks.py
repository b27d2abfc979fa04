"""The networks: from what is read of a window to the features that the last layer sees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_models.graphs.builders.layers import Layers, glorot
from headwater_models.graphs.builders.specification import Kind, ModelSpec
from headwater_models.graphs.expression import Value
from headwater_models.graphs.features import Reading, last_row

MAX_STEPS = 256
"""Longest window of a recurrent network; each step adds its operators to the graph."""

Network = Callable[[Layers, Reading, ModelSpec], Value]
"""``network(layers, reading, spec) -> features [N, F]``"""


def networks() -> dict[Kind, Network]:
    """Return the network of each kind."""
    return {
        "linear": lambda _, reading, __: reading.flat().values,
        "mlp": mlp,
        "resnet": resnet,
        "cnn": cnn,
        "gru": gru,
        "autoencoder": mlp,
    }


def mlp(layers: Layers, reading: Reading, spec: ModelSpec) -> Value:
    """Hidden layers over the whole window."""
    signal = reading.flat()
    value, gaps = signal.values, signal.gaps
    for number, width in enumerate(spec.hidden, start=1):
        value = layers.hidden(f"hidden.{number}", value, width, gaps)
        gaps = np.zeros(width, bool)
    return value


def resnet(layers: Layers, reading: Reading, spec: ModelSpec) -> Value:
    """Residual blocks on a trunk as wide as the first of them.

    Each block is normalised at its entry (He et al. 2016, as Gorishniy et al. 2021 for tables)
    and adds nothing at first, so that a deep network starts as a shallow one.
    """
    signal, trunk = reading.flat(), spec.hidden[0]
    value = layers.linear("stem", signal.values, layers.first_weights(signal.gaps, trunk))
    for number, width in enumerate(spec.hidden, start=1):
        block = f"block.{number}"
        entry = layers.normalise(f"{block}.norm", value)
        inner = layers.activate(
            layers.linear(f"{block}.in", entry, layers.first_weights(np.zeros(trunk, bool), width))
        )
        value = value + layers.last(f"{block}.out", inner, trunk)
    return layers.activate(layers.normalise("norm", value))


def cnn(layers: Layers, reading: Reading, spec: ModelSpec) -> Value:
    """Causal convolutions, each with twice the dilation of the one before it.

    The features are the last step, the mean and the maximum over the window, and the last row
    itself with the clock. See van den Oord et al. (2016) and Bai et al. (2018).
    """
    graph, signal = layers.graph, reading.sequence()
    value, gaps = signal.values, signal.gaps
    for number, width in enumerate(spec.hidden, start=1):
        patches = _patches(value, spec.kernel, 2 ** (number - 1))
        value = layers.hidden(f"hidden.{number}", patches, width, np.tile(gaps, spec.kernel))
        gaps = np.zeros(width, bool)
    steps = np.array([1], np.int64)
    pooled = (
        graph.op("Squeeze", last_row(value), steps),
        graph.op("ReduceMean", value, steps, keepdims=0),
        graph.op("ReduceMax", value, steps, keepdims=0),
    )
    return graph.op("Concat", *pooled, *reading.present(), axis=1)


def _patches(value: Value, kernel: int, dilation: int) -> Value:
    """Return ``[N, T, kernel * F]``: each step beside those before it, zeros before the first.

    A convolution is then one matrix product, which has a float64 kernel and takes a leading
    axis of devices.
    """
    graph, reach = value.graph, (kernel - 1) * dilation
    _, steps, width = (size if isinstance(size, int) else 0 for size in value.shape)
    padded = graph.op("Pad", value, np.array([0, reach, 0, 0, 0, 0], np.int64))
    at = np.arange(steps)[:, np.newaxis] + dilation * np.arange(kernel)
    taken = graph.op("Gather", padded, at, axis=1)
    return graph.op("Reshape", taken, np.array([0, steps, kernel * width], np.int64))


def gru(layers: Layers, reading: Reading, spec: ModelSpec) -> Value:
    """Gated recurrent units, unrolled over the window (Cho et al. 2014).

    The reset gate acts after the recurrent product, as in cuDNN, so that a step needs one. The
    features are the last state, and the last row itself with the clock.

    Raises
    ------
    UnsupportedError
        When the window has more rows than are worth unrolling.
    """
    if spec.window > MAX_STEPS:
        raise UnsupportedError(
            f"window: a gru is unrolled over at most {MAX_STEPS} rows, not {spec.window}; "
            "take a longer period, or a cnn."
        )
    signal = reading.sequence()
    value, gaps = signal.values, signal.gaps
    for number, width in enumerate(spec.hidden, start=1):
        states = _recur(layers, f"hidden.{number}", value, width, gaps)
        value = _stack(states)
        gaps = np.zeros(width, bool)
    return layers.graph.op("Concat", states[-1], *reading.present(), axis=1)


def _recur(
    layers: Layers, name: str, value: Value, width: int, gaps: NDArray[np.bool_]
) -> list[Value]:
    """Return the state ``[N, width]`` after each step; the gates are update, reset, new."""
    graph, steps = layers.graph, int(value.shape[1])
    into = np.zeros((len(gaps), 3 * width))
    into[~gaps] = glorot(layers.rng, int((~gaps).sum()), 3 * width)
    given = layers.linear(f"{name}.input", value, into)
    row = graph.op("Reshape", given, np.array([0, steps * 3 * width], np.int64))
    parts = graph.apply(
        "Split", (row, np.array([2 * width, width] * steps)), {"axis": 1}, count=2 * steps
    )
    weight = layers.parameter(f"{name}.state.weight", _orthogonal(layers.rng, width))
    state = graph.constant(np.zeros((1, width), graph.dtype))
    states = []
    for gates, new in zip(parts[::2], parts[1::2], strict=True):
        kept_gates, kept_new = _split(state @ weight, 2 * width, width)
        update, reset = _split(graph.op("Sigmoid", gates + kept_gates), width, width)
        proposed = graph.op("Tanh", new + reset * kept_new)
        state = proposed + update * (state - proposed)
        states.append(state)
    return states


def _split(value: Value, *sizes: int) -> tuple[Value, ...]:
    return value.graph.apply("Split", (value, np.array(sizes)), {"axis": 1}, count=len(sizes))


def _stack(states: list[Value]) -> Value:
    """Return ``[N, T, F]`` of T states ``[N, F]``."""
    graph, axis = states[0].graph, np.array([1], np.int64)
    return graph.op("Concat", *(graph.op("Unsqueeze", s, axis) for s in states), axis=1)


def _orthogonal(rng: np.random.Generator, width: int) -> NDArray[np.float64]:
    """Draw three orthogonal matrices side by side (Saxe et al. 2014)."""
    drawn = (np.linalg.qr(rng.normal(size=(width, width)))[0] for _ in range(3))
    return np.concatenate(list(drawn), axis=1)
