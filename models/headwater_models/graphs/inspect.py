"""What a graph is made of, read with ``onnx``: for those who build, sign or accept a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import shape_inference

from headwater.errors import BundleError
from headwater_models.graphs.expression import IR_VERSION, OPSET
from headwater_models.graphs.tensor_types import dtype_of, shape_of
from headwater_models.graphscan import refuse_external_data


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """A graph at a glance.

    ``operators`` counts nodes by operator; ``inputs`` and ``outputs`` are ``dtype [shape]`` by
    name, the parameters among the inputs; ``constants`` counts the frozen numbers.
    """

    size: int
    opset: int
    ir_version: int
    operators: dict[str, int]
    inputs: dict[str, str]
    outputs: dict[str, str]
    constants: int


def inspect_graph(name: str, graph: bytes) -> GraphFacts:
    """Describe a graph.

    Parameters
    ----------
    name
        What to call the file in an error.

    Raises
    ------
    BundleError
        When :func:`check_operators` would refuse it.
    """
    model = _checked(name, graph)
    inputs = {i.name for i in model.graph.input}
    frozen = [t for t in model.graph.initializer if t.name not in inputs]
    return GraphFacts(
        size=len(graph),
        opset=model.opset_import[0].version,
        ir_version=model.ir_version,
        operators=dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        inputs={i.name: _describe(i) for i in model.graph.input},
        outputs={o.name: _describe(o) for o in model.graph.output},
        constants=sum(_elements(tensor) for tensor in frozen),
    )


def check_operators(name: str, graph: bytes) -> None:
    """Refuse a graph that is more than standard operators applied to tensors.

    Raises
    ------
    BundleError
        When it is no valid ONNX, of another opset or a newer IR, or has external data, operators
        of another domain, functions, or control flow.
    """
    _checked(name, graph)


def _checked(name: str, graph: bytes) -> onnx.ModelProto:
    refuse_external_data(name, graph)
    try:
        model = onnx.load_model_from_string(graph)
        for complaint in _complaints(model):
            raise BundleError(f"{name}: {complaint}. Build the bundle again.")
        onnx.checker.check_model(model, full_check=True)
    except (DecodeError, onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        raise BundleError(f"{name} is not valid ONNX: {error}") from error
    return model


def _complaints(model: onnx.ModelProto) -> Iterator[str]:
    opsets = {o.domain or "ai.onnx": o.version for o in model.opset_import}
    if opsets != {"ai.onnx": OPSET}:
        yield f"it uses the operator sets {opsets}; only ai.onnx {OPSET} is taken"
    if model.ir_version > IR_VERSION:
        yield f"its IR version {model.ir_version} is newer than {IR_VERSION}"
    if model.functions or model.training_info:
        yield "it defines functions of its own"
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            yield f"node {node.name!r} is {node.domain}:{node.op_type}, no standard operator"
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            yield f"node {node.name!r} ({node.op_type}) has a graph inside; control flow is refused"


def _describe(value: onnx.ValueInfoProto) -> str:
    sizes = ", ".join(map(str, shape_of(value.name, value.type)))
    return f"{dtype_of(value.type)} [{sizes}]"


def _elements(tensor: onnx.TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count
