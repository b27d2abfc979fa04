"""No graph that reaches outside itself passes, wherever in it the tensor lies."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from headwater.errors import BundleError
from headwater_models import graphscan
from headwater_models.graphscan import refuse_external_data
from tests.models.bundles import tiny

FLOATS = onnx.TensorProto.FLOAT


def external() -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w", data_type=FLOATS, dims=[2])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def graph() -> onnx.GraphProto:
    value = helper.make_tensor_value_info("x", FLOATS, [1])
    result = helper.make_tensor_value_info("y", FLOATS, [1])
    return helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [result])


def model(inside: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(inside)


def as_initialiser() -> onnx.ModelProto:
    inside = graph()
    inside.initializer.append(external())
    return model(inside)


def in_an_attribute() -> onnx.ModelProto:
    inside = graph()
    inside.node.append(helper.make_node("Constant", [], ["c"], value=external()))
    return model(inside)


def in_a_list_of_tensors() -> onnx.ModelProto:
    inside = graph()
    attribute = inside.node[0].attribute.add(name="many", type=onnx.AttributeProto.TENSORS)
    attribute.tensors.append(external())
    return model(inside)


def in_a_branch() -> onnx.ModelProto:
    inside, branch = graph(), graph()
    branch.initializer.append(external())
    inside.node.append(helper.make_node("If", ["x"], ["z"], then_branch=branch))
    return model(inside)


def in_a_list_of_graphs() -> onnx.ModelProto:
    inside, branch = graph(), graph()
    branch.initializer.append(external())
    attribute = inside.node[0].attribute.add(name="many", type=onnx.AttributeProto.GRAPHS)
    attribute.graphs.append(branch)
    return model(inside)


def in_a_sparse_initialiser() -> onnx.ModelProto:
    inside = graph()
    inside.sparse_initializer.add().values.CopyFrom(external())
    return model(inside)


def in_the_indices_of_a_sparse_attribute() -> onnx.ModelProto:
    inside = graph()
    attribute = inside.node[0].attribute.add(name="s", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.indices.CopyFrom(external())
    return model(inside)


def in_a_function() -> onnx.ModelProto:
    made = model(graph())
    node = helper.make_node("Constant", [], ["c"], value=external())
    made.functions.add(name="f", domain="d").node.append(node)
    return made


def in_training_info() -> onnx.ModelProto:
    made = model(graph())
    made.training_info.add().initialization.initializer.append(external())
    return made


@pytest.mark.parametrize(
    "make",
    [
        as_initialiser,
        in_an_attribute,
        in_a_list_of_tensors,
        in_a_branch,
        in_a_list_of_graphs,
        in_a_sparse_initialiser,
        in_the_indices_of_a_sparse_attribute,
        in_a_function,
        in_training_info,
    ],
)
def test_a_tensor_in_another_file_is_found(make: Callable[[], onnx.ModelProto]) -> None:
    with pytest.raises(BundleError, match=r"infer\.onnx keeps a tensor in another file"):
        refuse_external_data("infer.onnx", make().SerializeToString())


@pytest.mark.parametrize("field", ["data_location", "external_data"])
def test_either_mark_of_an_external_tensor_is_enough(field: str) -> None:
    made = as_initialiser()
    made.graph.initializer[0].ClearField(field)
    with pytest.raises(BundleError, match="in another file"):
        refuse_external_data("infer.onnx", made.SerializeToString())


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_graphs_that_headwater_builds_pass(kind: str) -> None:
    refuse_external_data("infer.onnx", tiny(kind).infer)
    refuse_external_data("train.onnx", tiny(kind).train)


def test_the_runtimes_own_format_is_refused() -> None:
    with pytest.raises(BundleError, match="ORT format"):
        refuse_external_data("infer.onnx", b"\x20\0\0\0ORTM" + b"\0" * 64)


def test_every_way_to_a_tensor_is_walked() -> None:
    kinds = {
        "ModelProto": "model",
        "GraphProto": "graph",
        "NodeProto": "node",
        "AttributeProto": "attribute",
        "SparseTensorProto": "sparse",
        "FunctionProto": "function",
        "TrainingInfoProto": "training",
        "TensorProto": "tensor",
    }
    for name, kind in kinds.items():
        known = graphscan._MESSAGES[kind]
        fields = getattr(onnx, name).DESCRIPTOR.fields
        walked = {f.number: kinds[f.message_type.name] for f in fields if _leads_on(f, kinds)}
        assert known.walked == walked, name
        assert not known.skipped & known.walked.keys()


def _leads_on(field: object, kinds: dict[str, str]) -> bool:
    message = getattr(field, "message_type", None)
    return message is not None and message.name in kinds


def outcome(data: bytes) -> str:
    try:
        refuse_external_data("infer.onnx", data)
    except BundleError as error:
        return str(error)
    return "passes"


@given(st.binary(max_size=64))
def test_bytes_that_are_no_graph_end_in_a_sentence_or_pass(data: bytes) -> None:
    assert outcome(data).startswith(("passes", "infer.onnx "))


@given(st.integers(1, len(tiny().infer) - 1))
def test_a_cut_graph_never_makes_the_scan_fail(size: int) -> None:
    assert outcome(tiny().infer[:size]).startswith(("passes", "infer.onnx is no ONNX graph"))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x3a\x05\x0a", "ends too early"),
        (b"\x38\x01", "field 7 of a model has another type"),
        (b"\x0b", "wire type 3"),
        (b"\xff" * 11, "too long"),
        (b"\xf8\x3f\x01", "unknown field 1023"),
        (b"\x08\x01" * 1_000_001, "more than 1000000 fields"),
    ],
)
def test_an_encoding_that_onnx_does_not_have_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(BundleError, match=complaint):
        refuse_external_data("infer.onnx", data)


def test_a_graph_nested_without_end_is_refused() -> None:
    inside = graph()
    for _ in range(12):
        outer = graph()
        outer.node.append(helper.make_node("If", ["x"], ["z"], then_branch=inside))
        inside = outer
    with pytest.raises(BundleError, match="nested too deep"):
        refuse_external_data("infer.onnx", model(inside).SerializeToString())
