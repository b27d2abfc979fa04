"""Graphs to ONNX bytes and back. Equal graphs give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import helper, numpy_helper, shape_inference

from headwater.errors import BundleError, UnsupportedError
from headwater_models.graphs.expression import (
    IR_VERSION,
    OPSET,
    Graph,
    Value,
)
from headwater_models.graphs.tensor_types import Shape, dtype_of, shape_of, type_of


def encode(graph: Graph, *, defaults: bool = True) -> bytes:
    """Return the ONNX model of *graph*: what its outputs need, checked.

    Parameters
    ----------
    defaults
        Whether parameters keep their defaults, so that the model runs without being fed them.

    Raises
    ------
    UnsupportedError
        When the graph breaks a rule of ONNX.
    """
    return encode_proto(graph_proto(graph, defaults=defaults))


def encode_proto(graph: onnx.GraphProto) -> bytes:
    """Return the ONNX model of a graph with subgraphs, checked; raises as :func:`encode`."""
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="headwater",
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        raise UnsupportedError(f"The graph that was built is not valid ONNX: {error}") from error
    return bytes(model.SerializeToString(deterministic=True))


def graph_proto(graph: Graph, *, defaults: bool) -> onnx.GraphProto:
    """Return what the outputs of *graph* need, as ONNX stores it."""
    nodes = graph.needed()
    used = {value.name for node in nodes for value in node.inputs}
    arrays = {name: array for name, array in graph.constants.items() if name in used}
    if defaults:
        arrays = {**graph.defaults, **arrays}
    return helper.make_graph(
        [node.proto() for node in nodes],
        "headwater",
        [declaration(value) for value in graph.inputs.values()],
        [declaration(value) for value in graph.outputs.values()],
        [numpy_helper.from_array(np.asarray(a, order="C"), name) for name, a in arrays.items()],
        value_info=[declaration(v) for name, v in graph.declared.items() if name in used],
    )


def decode(text: bytes) -> Graph:
    """Read a model so that it can grow further.

    The dtype of its input ``window`` (float32 if there is none) becomes the graph's.

    Raises
    ------
    BundleError
        When the bytes are no ONNX model.
    UnsupportedError
        When the model has another opset, operators of other domains, or subgraphs.
    """
    try:
        model = onnx.load_model_from_string(text)
    except DecodeError as error:
        raise BundleError(f"The graph is not an ONNX model: {error}.") from error
    if [(o.domain, o.version) for o in model.opset_import] != [("", OPSET)]:
        raise UnsupportedError(
            f"The graph must use opset {OPSET} of the standard operators and no other; "
            "convert it with onnx.version_converter."
        )
    return _from_proto(model.graph)


def _from_proto(proto: onnx.GraphProto) -> Graph:
    kinds = [dtype_of(i.type) for i in proto.input if i.name == "window"]
    graph = Graph(kinds[0] if kinds else np.float32)
    for i in proto.input:
        graph.input(i.name, shape_of(i.name, i.type), dtype_of(i.type))
    for tensor in proto.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name in graph.inputs:
            graph.defaults[tensor.name] = array
        else:
            graph.constant(array, tensor.name)
    known = {v.name: shape_of(v.name, v.type) for v in (*proto.value_info, *proto.output)}
    for node in proto.node:
        _replay(graph, node, known)
    for v in proto.value_info:
        graph.declare(graph.value(v.name))
    for o in proto.output:
        graph.output(graph.value(o.name))
    return graph


def _replay(graph: Graph, node: onnx.NodeProto, known: Mapping[str, Shape]) -> None:
    attributes = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
    nested = any(isinstance(value, onnx.GraphProto) for value in attributes.values())
    if node.domain not in ("", "ai.onnx") or nested:
        raise UnsupportedError(
            f"Node {node.name!r} ({node.domain}:{node.op_type}) is not a plain standard "
            "operator; replace it with standard operators."
        )
    omitted = Value(graph, "", graph.dtype, ())
    inputs = [graph.value(name) if name else omitted for name in node.input]
    names = list(node.output)
    graph.apply(
        node.op_type, inputs, attributes, names=names, shapes=[known.get(name) for name in names]
    )


def _plain(attribute: Any) -> Any:
    """Read what ONNX stores as bytes as text."""
    return attribute.decode() if isinstance(attribute, bytes) else attribute


def declaration(value: Value) -> onnx.ValueInfoProto:
    """Return the name, the dtype and the shape of a value, as ONNX stores them."""
    return helper.make_value_info(value.name, type_of(value.dtype, value.shape))
