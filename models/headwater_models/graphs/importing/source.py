"""A file as exporters write it, brought to one operator set and to what one output needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import (
    external_data_helper,
    helper,
    inliner,
    numpy_helper,
    shape_inference,
    version_converter,
)

from headwater.errors import BundleError, StorageError, UnsupportedError
from headwater_models.files import storage_errors
from headwater_models.graphs.expression import OPSET, Array
from headwater_models.graphs.importing.classical import (
    DOMAIN,
    class_names,
    lower,
    lowerings,
)
from headwater_models.graphs.tensor_types import Shape, dtype_of
from headwater_models.limits import Limits

_NAMING = ("CategoryMapper", "DictVectorizer", "LabelEncoder")
"""Operators of classical models that encode names."""

_REFUSALS = (
    RuntimeError,
    ValueError,
    onnx.checker.ValidationError,
    shape_inference.InferenceError,
    version_converter.ConvertError,
)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A model in standard operators.

    ``input`` and ``shape`` are the name and the declared sizes of its one input (names or 0 where
    open), ``output`` is that of what predicts; ``arrays`` are all its frozen arrays by name, in
    the order of the file, those of ``constants`` written by the exporter, which learn only where
    they are named; ``classes`` are those that the file names.
    """

    input: str
    shape: Shape
    output: str
    nodes: tuple[onnx.NodeProto, ...]
    arrays: dict[str, Array]
    constants: frozenset[str]
    classes: tuple[str, ...]


def read_source(file: Path, output: str = "") -> Source:
    """Read a model, with the data that lie in a file beside it.

    Parameters
    ----------
    output
        The output that predicts; empty: the only one of floating numbers.

    Raises
    ------
    BundleError
        When the file is no ONNX model or too large, or the data beside it are damaged.
    StorageError
        When it cannot be read, or the data that belong to it are not beside it.
    UnsupportedError
        When it cannot be brought to the operator set, has not one input and one such output, or
        needs another operator, which is named with its node.
    """
    model = _loaded(file)
    if model.ByteSize() > Limits().graph:
        raise BundleError(f"{file} has over {Limits().graph} bytes, the most that a bundle holds.")
    return standard_source(model, str(file), output)


def standard_source(model: onnx.ModelProto, name: str, output: str = "") -> Source:
    """Bring a model to the operator set; parameters and errors as of :func:`read_source`."""
    converted = _converted(model, name).graph
    graph = lower(converted)
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    taken = [i for i in graph.input if i.name not in arrays]
    if len(taken) != 1 or dtype_of(taken[0].type).kind != "f":
        raise UnsupportedError(
            f"{name} takes {_told(taken)}; a model to import takes one tensor of floating numbers. "
            "Export it with the channels side by side in one input (of names their index, as a "
            "channel with categories holds it)."
        )
    chosen = _chosen(graph, name, output)
    nodes = _needed(graph.node, chosen)
    for node in nodes:
        _refuse_other(node)
    used = {value for node in nodes for value in node.input}
    return Source(
        input=taken[0].name,
        shape=tuple(
            d.dim_value if d.HasField("dim_value") else d.dim_param
            for d in taken[0].type.tensor_type.shape.dim
        ),
        output=chosen,
        nodes=nodes,
        arrays={key: array for key, array in arrays.items() if key in used},
        constants=frozenset(n.output[0] for n in converted.node if n.op_type == "Constant"),
        classes=class_names(model.graph),
    )


def _loaded(file: Path) -> onnx.ModelProto:
    try:
        with storage_errors(file, "read"):
            model = onnx.load(file, load_external_data=False)
    except DecodeError as error:
        raise BundleError(f"{file} is not an ONNX model: {error}.") from error
    for name in _beside(model):
        if not (file.parent / name).is_file():
            raise StorageError(
                f"{file} keeps its arrays in {name!r}, which is missing: the exporter wrote both "
                f"files, and {name!r} must lie beside the model, in {file.parent}. Copy it there, "
                "or export into one file (PyTorch: external_data=False)."
            )
    try:
        with storage_errors(file, "read"):
            external_data_helper.load_external_data_for_model(model, str(file.parent))
    except (ValueError, onnx.checker.ValidationError) as error:
        raise BundleError(
            f"{file}: the arrays in the file beside it cannot be read: {error}. Copy both files "
            "again as the exporter wrote them, as plain files."
        ) from error
    return model


def _beside(model: onnx.ModelProto) -> list[str]:
    """Return the files that hold arrays of a model, by their paths from its own."""
    return sorted(
        {
            entry.value
            for tensor in model.graph.initializer
            if external_data_helper.uses_external_data(tensor)
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )


def _converted(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return the model in the operator set that bundles are written in, without functions."""
    versions = {o.domain if o.domain != "ai.onnx" else "": o.version for o in model.opset_import}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.opset_import[:]
    copy.opset_import.extend(helper.make_opsetid(*each) for each in versions.items())
    try:
        if copy.functions:
            copy = inliner.inline_local_functions(copy)
        if versions.get("", OPSET) != OPSET:
            copy = version_converter.convert_version(copy, OPSET)
    except _REFUSALS as error:
        raise UnsupportedError(
            f"{name} is of operator set {versions.get('')} and cannot be brought to {OPSET}: "
            f"{error} Export it with opset {OPSET}, or the nearest that the exporter has."
        ) from error
    return copy


def _chosen(graph: onnx.GraphProto, name: str, wanted: str) -> str:
    """Return the output that predicts; labels of classes and maps by class are left aside."""
    floats = [
        o.name
        for o in graph.output
        if not o.type.HasField("tensor_type") or dtype_of(o.type).kind == "f"
    ]
    fitting = [wanted] if wanted in {o.name for o in graph.output} else [] if wanted else floats
    if len(fitting) != 1:
        raise UnsupportedError(
            f"{name} gives {_told(graph.output)}; name the one that predicts by --output."
        )
    return fitting[0]


def _needed(nodes: Iterable[onnx.NodeProto], output: str) -> tuple[onnx.NodeProto, ...]:
    wanted, kept = {output}, []
    for node in reversed(list(nodes)):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return tuple(kept[::-1])


def _refuse_other(node: onnx.NodeProto) -> None:
    """Refuse what is no standard operator on tensors."""
    named = f"{node.op_type} (node {node.name!r}) cannot be imported"
    if node.domain not in ("", "ai.onnx"):
        raise UnsupportedError(f"{named}: {_remedy(node)}")
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        raise UnsupportedError(
            f"{named}: it has a graph inside; export the model without branches and loops that "
            "depend on data."
        )


def _remedy(node: onnx.NodeProto) -> str:
    """Say why an operator of another domain is not taken, and what to do."""
    if node.op_type.startswith(("SVM", "TreeEnsemble")):
        return (
            f"an operator of {node.domain} cannot learn by gradients; train a linear model or a "
            "network instead (a forest or a support vector machine has no weights to average)."
        )
    if node.domain != DOMAIN:
        return f"it is an operator of {node.domain}; export with the operators of ONNX alone."
    if node.op_type in _NAMING:
        return (
            "it turns names into numbers; a window holds numbers already. Leave it out of what is "
            "exported, and make its column a channel with categories (--category), which holds "
            "the index of each name."
        )
    return (
        f"of {node.domain} there are {', '.join(sorted(lowerings()))}. Leave the step out of what "
        "is exported, or train with another in its place."
    )


def _told(values: Iterable[onnx.ValueInfoProto]) -> str:
    return ", ".join(f"{value.name!r} {_kind(value.type)}" for value in values) or "nothing"


def _kind(kind: onnx.TypeProto) -> str:
    if not kind.HasField("tensor_type"):
        return "(no tensor)"
    sizes = (str(d.dim_value or d.dim_param or "?") for d in kind.tensor_type.shape.dim)
    return f"{dtype_of(kind)} [{', '.join(sizes)}]"
