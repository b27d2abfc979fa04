"""Upsampling by the nearest becomes a choice of places; what else resizes stays, or is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.importing import import_model
from headwater_models.graphs.importing.replay import Replay
from headwater_models.graphs.importing.rewrites import rewrites
from headwater_models.graphs.importing.source import standard_source
from tests.models.graphs.harness import evaluate
from tests.models.graphs.importing.exports import spec

FLOAT = onnx.TensorProto.FLOAT
TORCH = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
"""``nn.Upsample``, as both exporters of PyTorch write it."""


def resized(
    rows: int | str = "N", *, scales: Any = None, sizes: Any = None, **attributes: Any
) -> onnx.ModelProto:
    """A model that resizes ``[N, 2, 3]``, to sizes of which -1 stands for that of the input."""
    inputs, arrays, nodes = ["x", "", ""], {"scales": np.array(scales, np.float32)}, []
    if scales is not None:
        inputs[2] = "scales"
    if sizes is not None:
        inputs.append("sizes")
        kept = sum(size == -1 for size in sizes)
        arrays = {"rest": np.array(sizes[kept:], np.int64)}
        nodes = [
            helper.make_node("Shape", ["x"], ["kept"], end=kept),
            helper.make_node("Concat", ["kept", "rest"], ["sizes"], axis=0),
        ]
    nodes.append(helper.make_node("Resize", inputs, ["y"], name="grow", **attributes))
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", FLOAT, [rows, 2, 3])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items() if array.ndim],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def replayed(model: onnx.ModelProto) -> Value:
    graph = Graph()
    x = graph.input("x", ("N", 2, 3))
    y = Replay(graph, standard_source(model, "m.onnx"), {}, (), rewrites()).run(x)
    graph.output(y)
    return y


def assert_same(model: onnx.ModelProto, y: Value) -> None:
    x: NDArray[np.float32] = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString())
    (expected,) = session.run(None, {"x": x})
    np.testing.assert_array_equal(evaluate(y, {"x": x}), expected)


@pytest.mark.parametrize(
    "told",
    [
        {"scales": [1, 1, 2]},
        {"scales": [1, 3, 4]},
        {"scales": [5], "axes": [2]},
        {"scales": [2], "axes": [-1]},
        {"sizes": [-1, -1, 6]},
        {"sizes": [-1, 4, 9]},
    ],
)
def test_upsampling_by_a_whole_factor_is_a_gather(told: dict[str, Any]) -> None:
    model = resized(**told, **TORCH)
    y = replayed(model)
    assert {node.operator for node in y.graph.needed()} == {"Gather"}
    assert y.shape[0] == "N"
    assert_same(model, y)


@pytest.mark.parametrize("factor", [2, 3, 4, 7])
@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("coordinates", ["asymmetric", "half_pixel", "pytorch_half_pixel"])
def test_the_nearest_is_that_of_the_runtime(coordinates: str, rounding: str, factor: int) -> None:
    model = resized(
        scales=[1, 1, factor],
        mode="nearest",
        coordinate_transformation_mode=coordinates,
        nearest_mode=rounding,
    )
    y = replayed(model)
    assert {node.operator for node in y.graph.needed()} == {"Gather"}
    assert_same(model, y)


def test_rows_that_the_export_fixed_stay_open() -> None:
    y = replayed(resized(4, sizes=[4, 2, 6], **TORCH))
    assert y.shape == ("N", 2, 6)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_rows_that_the_export_fixed_stay_open_in_every_mode(mode: str) -> None:
    y = replayed(resized(1, sizes=[1, 2, 5], **{**TORCH, "mode": mode}))
    assert evaluate(y, {"x": np.zeros((4, 2, 3), np.float32)}).shape == (4, 2, 5)


def test_sizes_that_depend_on_data_are_left_to_the_runtime() -> None:
    model = resized(scales=[1, 1, 2], **TORCH)
    model.graph.node[-1].input[2] = "found"
    model.graph.node.insert(0, helper.make_node("ReduceMax", ["x", "last"], ["m"], keepdims=0))
    model.graph.node.insert(1, helper.make_node("Gather", ["m", "first"], ["found"]))
    for name in ("last", "first"):
        at = np.array([1, 2]) if name == "last" else np.array([0, 0, 0])
        model.graph.initializer.append(numpy_helper.from_array(at, name))
    assert replayed(model).graph.nodes[-1].operator == "Resize"


def test_what_does_not_grow_is_left_out() -> None:
    assert replayed(resized(scales=[1, 1, 1], **TORCH)).name == "x"


@pytest.mark.parametrize(
    "told",
    [
        {"scales": [1, 1, 2], **TORCH, "mode": "linear"},
        {"scales": [1, 1, 1.5], **TORCH},
        {"scales": [1, 1, 0.5], **TORCH},
        {"sizes": [-1, -1, 4], **TORCH},
        {"sizes": [-1, 4, 5], "mode": "linear"},
        {"scales": [1, 2.4, 1], **TORCH},
        {"scales": [2.4], "axes": [1], **TORCH},
        {"scales": [1, 1, 2], **TORCH, "coordinate_transformation_mode": "align_corners"},
    ],
)
def test_what_resizes_otherwise_stays_as_it_is(told: dict[str, Any]) -> None:
    model = resized(**told)
    y = replayed(model)
    assert [node.operator for node in y.graph.needed()] == ["Resize"]
    assert y.shape[0] == "N"
    assert_same(model, y)


def learner(mode: str) -> onnx.ModelProto:
    """An autoencoder: convolution, pooling, upsampling, convolution."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(3, 3, 3)) / 3 for name in ("down", "up")}
    grown = {**TORCH, "mode": mode}
    nodes = [
        helper.make_node("Conv", ["x", "down"], ["a"], name="in", pads=[1, 1]),
        helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[2], strides=[2]),
        helper.make_node("Resize", ["b", "", "scales"], ["c"], name="grow", **grown),
        helper.make_node("Conv", ["c", "up"], ["y"], name="out", pads=[1, 1]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", FLOAT, ["N", 3, 6])],
        [helper.make_tensor_value_info("y", FLOAT, ["N", 3, 6])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
        + [numpy_helper.from_array(np.array([1, 1, 2], np.float32), "scales")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_what_is_before_an_upsampling_learns() -> None:
    built = import_model(standard_source(learner("nearest"), "m.onnx"), spec("anomaly")).built
    assert [array.name for array in built.manifest.arrays if array.trained] == ["down", "up"]


def test_a_linear_upsampling_behind_weights_is_refused_with_what_to_export_instead() -> None:
    source = standard_source(learner("linear"), "m.onnx")
    with pytest.raises(
        UnsupportedError,
        match=r"^Resize \(node 'grow'\) .* parameters down .*--freeze.*nearest upsampling by a "
        r"fixed whole factor, or a ConvTranspose",
    ):
        import_model(source, spec("anomaly"))
    manifest = import_model(source, spec("anomaly", freeze=("down",))).built.manifest
    assert [array.name for array in manifest.arrays if array.trained] == ["up"]
