from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from headwater.errors import BundleError
from headwater_models.graphs.builders import build
from headwater_models.graphs.inspect import check_operators, inspect_graph
from tests.models.graphs.example import all_specs, model_spec

BUILT = build(model_spec(), np.random.default_rng(0))


def changed(change: str) -> bytes:
    """Return the example's inference graph with one thing wrong."""
    model = onnx.load_model_from_string(BUILT.infer)
    match change:
        case "opset":
            model.opset_import[0].version = 22
        case "domain":
            model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        case "ir":
            model.ir_version = 11
        case "node":
            model.graph.node[0].domain = "com.microsoft"
        case "external":
            tensor = model.graph.initializer[0]
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="weights.bin")
        case "control":
            inner = helper.make_graph([], "inner", [], [])
            model.graph.node[0].attribute.append(helper.make_attribute("then_branch", inner))
        case "function":
            model.functions.add(name="f", domain="own")
        case "edge":
            model.graph.node[0].input[0] = "nowhere"
    return bytes(model.SerializeToString())


REFUSALS = {
    "opset": "only ai.onnx 21",
    "domain": "only ai.onnx 21",
    "ir": "IR version 11 is newer than 10",
    "node": "no standard operator",
    "external": "keeps a tensor in another file",
    "control": "control flow is refused",
    "function": "functions of its own",
    "edge": "not valid ONNX",
}


@pytest.mark.parametrize("change", REFUSALS)
def test_a_graph_that_is_more_than_standard_operators_is_refused(change: str) -> None:
    with pytest.raises(BundleError, match=REFUSALS[change]):
        check_operators("infer.onnx", changed(change))


def test_a_damaged_file_is_refused() -> None:
    with pytest.raises(BundleError, match=r"infer\.onnx"):
        check_operators("infer.onnx", BUILT.infer[: len(BUILT.infer) // 2])


def test_all_that_is_built_passes() -> None:
    for spec in all_specs("sgd", "adam"):
        built = build(spec, np.random.default_rng(0))
        check_operators("infer.onnx", built.infer)
        check_operators("train.onnx", built.train)


def test_a_graph_is_described_by_its_operators_inputs_and_outputs() -> None:
    facts = inspect_graph("infer.onnx", BUILT.infer)
    assert (facts.opset, facts.ir_version, facts.size) == (21, 10, len(BUILT.infer))
    assert facts.operators["MatMul"] == 2
    assert facts.inputs["window"] == "float32 [N, 3, 2]"
    assert facts.inputs["hidden.1.weight"] == "float32 [12, 4]"
    assert facts.outputs == {"prediction": "float32 [N, 1]", "features": "float32 [N, 4]"}


def test_frozen_numbers_are_counted_apart_from_parameters() -> None:
    model = onnx.load_model_from_string(BUILT.infer)
    names = {i.name for i in model.graph.input}
    frozen = [numpy_helper.to_array(t) for t in model.graph.initializer if t.name not in names]
    assert inspect_graph("infer.onnx", BUILT.infer).constants == sum(a.size for a in frozen)
