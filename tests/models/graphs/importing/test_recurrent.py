"""Unrolled recurrent operators give what ONNX Runtime's own do."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.importing.replay import Replay
from headwater_models.graphs.importing.rewrites import rewrites
from headwater_models.graphs.importing.source import standard_source
from tests.models.graphs.harness import evaluate

STEPS, ROWS, INPUTS, HIDDEN = 4, 3, 2, 5
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def network(operator: str, output: int, *, state: bool = True, **attributes: Any) -> bytes:
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    gates = GATES[operator] * HIDDEN
    rng = np.random.default_rng(0)
    shapes = {"w": (gates, INPUTS), "r": (gates, HIDDEN), "b": (2 * gates,)}
    arrays = {name: rng.normal(size=(directions, *shape)) for name, shape in shapes.items()}
    if state:
        arrays |= {n: rng.normal(size=(directions, ROWS, HIDDEN)) for n in ("h", "c")}
    given = ["h", *(["c"] if operator == "LSTM" else [])] if state else []
    outputs = ["o0", "o1", *(["o2"] if operator == "LSTM" else [])]
    inputs = ["x", "w", "r", "b", *([""] if given else []), *given]
    node = helper.make_node(
        operator, inputs, outputs, name="cell", hidden_size=HIDDEN, **attributes
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [STEPS, ROWS, INPUTS])],
        [helper.make_tensor_value_info(f"o{output}", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(made.SerializeToString())


def unrolled(model: bytes, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    source = standard_source(onnx.load_model_from_string(model), "m.onnx")
    graph = Graph()
    value = graph.input("x", (STEPS, ROWS, INPUTS))
    return evaluate(Replay(graph, source, {}, (), rewrites()).run(value), {"x": x})


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("GRU", {"linear_before_reset": 1}),
        ("GRU", {"linear_before_reset": 0}),
        ("LSTM", {}),
        ("RNN", {}),
    ],
)
def test_every_output_is_that_of_the_runtime(
    operator: str, attributes: dict[str, Any], state: bool, direction: str
) -> None:
    x = np.random.default_rng(1).normal(size=(STEPS, ROWS, INPUTS)).astype(np.float32)
    for output in range(3 if operator == "LSTM" else 2):
        model = network(operator, output, state=state, direction=direction, **attributes)
        (expected,) = ort.InferenceSession(model).run([f"o{output}"], {"x": x})
        np.testing.assert_allclose(unrolled(model, x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"clip": 1.0}, "clipping"),
        ({"activations": ["Relu", "Tanh"]}, "its activations are not Sigmoid, Tanh"),
        ({"layout": 1}, "rows first"),
    ],
)
def test_what_is_not_unrolled_is_refused_by_name(attributes: dict[str, Any], why: str) -> None:
    x = np.zeros((STEPS, ROWS, INPUTS), np.float32)
    with pytest.raises(UnsupportedError, match=rf"GRU \(node 'cell'\) .*{why}"):
        unrolled(network("GRU", 0, **attributes), x)
