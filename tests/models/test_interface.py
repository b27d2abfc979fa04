from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from headwater.errors import BundleError
from headwater_models.graphs.builders import build
from headwater_models.graphs.stack import stack
from headwater_models.interface import check_graphs
from headwater_models.manifest import Array
from tests.models.graphs.example import model_spec

SPEC = model_spec(inputs=("window", "time"))
BUILT = build(SPEC, np.random.default_rng(0))


def test_features_of_another_form_are_refused() -> None:
    graph = onnx.load_model_from_string(BUILT.infer).graph
    for node in graph.node:
        node.input[:] = ["seen" if name == "features" else name for name in node.input]
        node.output[:] = ["seen" if name == "features" else name for name in node.output]
    graph.node.append(helper.make_node("Shape", ["window"], ["features"]))
    graph.output[1].CopyFrom(helper.make_tensor_value_info("features", TensorProto.INT64, [3]))
    infer = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    with pytest.raises(BundleError, match=r"`features` is int64 \[3\], where .* float32 \[N, 3\]"):
        check_graphs(BUILT.manifest, infer.SerializeToString(), BUILT.train)


COMPLAINTS: dict[str, tuple[dict[str, Any], str]] = {
    "window": ({"window": 4}, r"input `window` is float32 \[N, 3, 2\], where .* \[N, 4, 2\]"),
    "time": ({"inputs": ("window",)}, "input `time` is int64 .* where the manifest has none"),
    "array": (
        {"arrays": (*BUILT.manifest.arrays, Array(name="more", shape=(2,)))},
        r"input `more` is missing, where the manifest has float32 \[2\]",
    ),
    "state": ({"state": ()}, r"train\.onnx: input `adam"),
    "classes": (
        {"task": "classification", "classes": ("x", "y")},
        r"output `prediction` is float32 \[N, 1\], where the manifest has float32 \[N, 2\]",
    ),
}


@pytest.mark.parametrize("name", COMPLAINTS)
def test_graphs_that_are_not_what_the_manifest_says_are_refused(name: str) -> None:
    change, words = COMPLAINTS[name]
    manifest = msgspec.structs.replace(BUILT.manifest, **change)
    with pytest.raises(BundleError, match=words):
        check_graphs(manifest, BUILT.infer, BUILT.train)


def test_a_float64_graph_is_no_product() -> None:
    twin = build(SPEC, np.random.default_rng(0), "float64")
    with pytest.raises(BundleError, match="is float64"):
        check_graphs(twin.manifest, twin.infer, twin.train)


def test_a_stacked_graph_has_all_arrays_of_each_member_and_one_window_for_all() -> None:
    infer, arrays = BUILT.infer, set(BUILT.weights)
    check_graphs(BUILT.manifest, infer, BUILT.train, stack(infer, arrays))
    for own, words in (
        (arrays - {"head.bias"}, r"`head.bias` is float32 \[1\], where .* float32 \[M, 1\]"),
        (arrays | {"window", "time"}, r"no input `window` of shape \[N, T, C\]"),
    ):
        with pytest.raises(BundleError, match=rf"infer\.stacked\.onnx.*{words}"):
            check_graphs(BUILT.manifest, infer, BUILT.train, stack(infer, own))
