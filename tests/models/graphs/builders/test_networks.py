"""Networks compute what their sources say: compared with NumPy and with ONNX's own operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.graphs.builders.networks import MAX_STEPS, networks
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.serialisation import encode
from headwater_models.session import Predictor
from tests.models.graphs.example import model_spec, random_weights, rows
from tests.models.graphs.harness import runner

Arrays = dict[str, NDArray[Any]]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def features(spec: ModelSpec) -> tuple[NDArray[Any], Arrays, NDArray[Any]]:
    """Random weights, and the features they give of random whole windows, in float64."""
    built = build(spec, rng(), "float64")
    weights = random_weights(built.weights, rng())
    batch = rows(spec, rng(), 7, missing=0)
    assert spec.scaling is not None
    scaled = (batch.window - spec.scaling.mean) / spec.scaling.scale
    sequence = np.concatenate([scaled, np.zeros_like(scaled)], axis=2)
    return Predictor(built.infer).features(batch.window, batch.time, weights), weights, sequence


def test_every_kind_that_can_be_asked_for_is_there() -> None:
    assert list(networks()) == ["linear", "mlp", "resnet", "cnn", "gru", "autoencoder"]


def test_a_resnet_starts_as_its_stem() -> None:
    spec = model_spec(kind="resnet", hidden=(4, 6), activation="tanh")
    built = build(spec, rng(), "float64")
    batch = rows(spec, rng())
    found = Predictor(built.infer).features(batch.window, batch.time, built.weights)
    linear = build(model_spec(kind="linear"), rng(), "float64")
    flat = Predictor(linear.infer).features(batch.window, batch.time, linear.weights)
    stem = flat @ built.weights["stem.weight"]
    spread = np.sqrt(stem.var(axis=1, keepdims=True) + 1e-5)
    expected = np.tanh((stem - stem.mean(axis=1, keepdims=True)) / spread)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert built.weights["block.2.in.weight"].shape == (4, 6)


@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_a_cnn_convolves_causally_with_growing_dilation(kernel: int) -> None:
    spec = model_spec(kind="cnn", window=9, kernel=kernel, hidden=(4, 3), activation="tanh")
    found, weights, sequence = features(spec)
    value = sequence
    for number, dilation in ((1, 1), (2, 2)):
        value = np.tanh(convolution(value, weights, f"hidden.{number}", kernel, dilation))
    pooled = (value[:, -1], value.mean(axis=1), value.max(axis=1), sequence[:, -1, :2])
    np.testing.assert_allclose(found, np.concatenate(pooled, axis=1), rtol=1e-5, atol=1e-6)


def convolution(
    value: NDArray[Any], weights: Arrays, name: str, kernel: int, dilation: int
) -> NDArray[Any]:
    """ONNX's own operator, which has no float64."""
    weight, bias = (weights[f"{name}.{part}"].astype(np.float32) for part in ("weight", "bias"))
    inputs, width = value.shape[2], weight.shape[1]
    graph = Graph()
    graph.output(
        graph.op(
            "Conv",
            graph.input("x", ("N", inputs, value.shape[1])),
            weight.reshape(kernel, inputs, width).transpose(2, 1, 0),
            bias,
            kernel_shape=[kernel],
            dilations=[dilation],
            pads=[(kernel - 1) * dilation, 0],
            name="y",
        )
    )
    x = value.transpose(0, 2, 1).astype(np.float32)
    return runner(encode(graph))({"x": x})["y"].transpose(0, 2, 1)


@pytest.mark.parametrize("hidden", [(4,), (4, 3)])
def test_a_gru_is_the_recurrent_network_of_onnx(hidden: tuple[int, ...]) -> None:
    found, weights, sequence = features(model_spec(kind="gru", window=6, hidden=hidden))
    value = sequence
    for number in range(1, len(hidden) + 1):
        value = recurrence(value, weights, f"hidden.{number}")
    expected = np.concatenate([value[:, -1], sequence[:, -1, :2]], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def recurrence(value: NDArray[Any], weights: Arrays, name: str) -> NDArray[Any]:
    """ONNX's own operator, which has no float64; its gates are in the same order."""
    into, state, bias = (
        weights[f"{name}.{part}"].astype(np.float32)
        for part in ("input.weight", "state.weight", "input.bias")
    )
    graph = Graph()
    x = graph.input("x", (value.shape[1], "N", value.shape[2]))
    biases = np.concatenate([bias, np.zeros_like(bias)])[np.newaxis]
    arrays = (into.T[np.newaxis], state.T[np.newaxis], biases)
    made = graph.op("GRU", x, *arrays, name="y", hidden_size=len(state), linear_before_reset=1)
    graph.output(made)
    steps = value.transpose(1, 0, 2).astype(np.float32)
    return runner(encode(graph))({"x": steps})["y"][:, 0].transpose(1, 0, 2)


def test_a_gru_starts_with_orthogonal_recurrent_weights() -> None:
    weight = build(model_spec(kind="gru", hidden=(5,)), rng()).weights["hidden.1.state.weight"]
    for gate in np.split(weight, 3, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(5), atol=1e-6)


def test_a_window_that_is_too_long_to_unroll_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=f"at most {MAX_STEPS} rows, not {MAX_STEPS + 1}"):
        build(model_spec(kind="gru", window=MAX_STEPS + 1), rng())


@pytest.mark.parametrize("kind", ["cnn", "gru"])
def test_a_window_of_one_row_is_a_sequence_too(kind: str) -> None:
    found, _, _ = features(model_spec(kind=kind, window=1, hidden=(3,)))
    assert np.isfinite(found).all()
