from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from headwater.errors import BundleError, UnsupportedError
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.serialisation import decode, encode
from tests.models.graphs.example import all_specs, model_spec, spec_id
from tests.models.graphs.harness import runner


@pytest.mark.parametrize("spec", all_specs("adam"), ids=spec_id)
def test_reading_and_writing_a_graph_gives_the_same_bytes(spec: ModelSpec) -> None:
    built = build(spec, np.random.default_rng(0))
    assert encode(decode(built.infer)) == built.infer
    assert encode(decode(built.train)) == built.train


def test_a_graph_states_opset_21_and_ir_10_which_old_runtimes_take() -> None:
    model = onnx.load_model_from_string(build(model_spec(), np.random.default_rng(0)).train)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 21)]
    assert model.ir_version == 10


def test_parameters_keep_their_defaults_or_leave_them() -> None:
    graph = Graph()
    graph.output(graph.parameter("w", np.array([1.0])) * 2.0)
    assert next(iter(runner(encode(graph))({}).values())) == [2.0]
    bare = onnx.load_model_from_string(encode(graph, defaults=False))
    assert "w" not in {tensor.name for tensor in bare.graph.initializer}


def test_omitted_inputs_survive() -> None:
    graph = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[2] x, float top) => (float[2] y) { y = Clip(x, , top) }"""
    )
    again = encode(decode(graph.SerializeToString()))
    feeds = {"x": np.array([-5, 5], np.float32), "top": np.float32(2)}
    assert runner(again)({k: np.asarray(v) for k, v in feeds.items()})["y"].tolist() == [-5, 2]


def test_each_output_of_an_operator_keeps_the_shape_that_is_written_for_it() -> None:
    graph = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[N, 3] x) => (float[N, 2] b) <int64[2] sizes = {1, 2}, float[N, 1] a>
        { a, b = Split <axis = 1> (x, sizes) }"""
    )
    read = decode(graph.SerializeToString())
    assert (read.value("a").shape, read.value("b").shape) == (("N", 1), ("N", 2))


def test_noise_is_refused() -> None:
    with pytest.raises(BundleError, match="not an ONNX model"):
        decode(b"\x00\xffnoise")


def test_another_opset_is_refused_with_a_way_out() -> None:
    model = onnx.load_model_from_string(build(model_spec(), np.random.default_rng(0)).infer)
    model.opset_import[0].version = 17
    with pytest.raises(UnsupportedError, match=r"convert it with onnx\.version_converter"):
        decode(model.SerializeToString())


def test_control_flow_is_refused() -> None:
    branch = helper.make_graph([], "branch", [], [])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    kind = helper.make_tensor_type_proto(onnx.TensorProto.BOOL, [])
    graph = helper.make_graph(
        [node], "g", [helper.make_value_info("x", kind)], [helper.make_value_info("y", kind)]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    with pytest.raises(UnsupportedError, match="not a plain standard operator"):
        decode(model.SerializeToString())


def test_a_graph_that_breaks_onnx_s_rules_is_not_written() -> None:
    graph = Graph()
    x = graph.input("x", ("N", 2))
    graph.output(graph.op("Identity", x, name="y", shape=("N", 3)))
    with pytest.raises(UnsupportedError, match="not valid ONNX"):
        encode(graph)
