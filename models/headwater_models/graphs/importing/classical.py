"""The operators of classical models (``ai.onnx.ml``), which scikit-learn's exporter writes.

Each becomes standard operators, with what it has learned as arrays named after its node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Array

DOMAIN = "ai.onnx.ml"


class Lowered:
    """The nodes and arrays that take the place of one node.

    Attributes
    ----------
    node, attributes
        What is lowered.
    nodes, arrays
        What has been put in its place so far.
    """

    def __init__(self, node: onnx.NodeProto) -> None:
        self.node = node
        self.attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, Array] = {}
        self._stem = node.name or node.output[0]

    def array(self, name: str, value: Any) -> str:
        """Freeze floats in the graph under the node's name and this one."""
        self.arrays[f"{self._stem}.{name}"] = np.asarray(value, np.float32)
        return f"{self._stem}.{name}"

    def indices(self, name: str, value: Any) -> str:
        """Freeze integers."""
        self.arrays[f"{self._stem}.{name}"] = np.asarray(value, np.int64)
        return f"{self._stem}.{name}"

    def op(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Apply a standard operator; without *output* the result gets a name of its own."""
        made = output or f"{self._stem}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [made], name=made, **attributes))
        return made

    def text(self, attribute: str, default: str) -> str:
        """Return an attribute of text."""
        value = self.attributes.get(attribute, default.encode())
        return value.decode() if isinstance(value, bytes) else str(value)

    def refusal(self, why: str, remedy: str) -> UnsupportedError:
        """Return the error that says why this node cannot be imported."""
        return UnsupportedError(
            f"{self.node.op_type} (node {self.node.name!r}) cannot be imported: {why}; {remedy}."
        )


Lowering = Callable[[Lowered], None]


def lowerings() -> dict[str, Lowering]:
    """Return what becomes of each operator of classical models."""
    return {
        "ArrayFeatureExtractor": _columns,
        "Binarizer": _binarised,
        "Imputer": _imputed,
        "LinearClassifier": _linear_classifier,
        "LinearRegressor": _linear_regressor,
        "Normalizer": _normalised,
        "OneHotEncoder": _one_hot,
        "Scaler": _scaled,
        "ZipMap": _passed,
    }


def lower(graph: onnx.GraphProto) -> onnx.GraphProto:
    """Return the graph with constants as initialisers and classical operators lowered.

    What cannot be lowered stays as it is: no output that predicts may need it.
    """
    table, lowered = lowerings(), onnx.GraphProto()
    lowered.CopyFrom(graph)
    del lowered.node[:]
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            lowered.initializer.append(_constant(node))
        elif node.domain == DOMAIN and node.op_type in table:
            to = Lowered(node)
            table[node.op_type](to)
            lowered.node.extend(to.nodes)
            lowered.initializer.extend(
                numpy_helper.from_array(array, name) for name, array in to.arrays.items()
            )
        else:
            lowered.node.append(node)
    return lowered


def class_names(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return the classes in the order of their columns, where the graph names them.

    One against the rest has a classifier for each class, of which none names them all.
    """
    for operator in ("ZipMap", "LinearClassifier"):
        named = [
            helper.get_attribute_value(attribute)
            for node in graph.node
            if node.op_type == operator
            for attribute in node.attribute
            if attribute.name.startswith("classlabels_")
        ]
        if len(named) == 1:
            return tuple(x.decode() if isinstance(x, bytes) else str(x) for x in named[0])
    return ()


def _constant(node: onnx.NodeProto) -> onnx.TensorProto:
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        return tensor
    kind = np.float32 if "float" in attribute.name else np.int64
    array = np.asarray(value, None if "string" in attribute.name else kind)
    return numpy_helper.from_array(array, node.output[0])


def _passed(to: Lowered) -> None:
    to.op("Identity", to.node.input[0], output=to.node.output[0])


def _scaled(to: Lowered) -> None:
    moved = to.op("Sub", to.node.input[0], to.array("offset", to.attributes["offset"]))
    to.op("Mul", moved, to.array("scale", to.attributes["scale"]), output=to.node.output[0])


def _imputed(to: Lowered) -> None:
    x = to.node.input[0]
    if "imputed_value_floats" not in to.attributes:
        raise to.refusal("it fills integers", "impute floating numbers")
    missing = to.op("IsNaN", x)
    marker = to.attributes.get("replaced_value_float", np.nan)
    if not np.isnan(marker):
        missing = to.op("Equal", x, to.array("marker", marker))
    filled = to.array("values", to.attributes["imputed_value_floats"])
    to.op("Where", missing, filled, x, output=to.node.output[0])


def _normalised(to: Lowered) -> None:
    x, last = to.node.input[0], to.indices("axis", [-1])
    match to.text("norm", "MAX"):
        case "L1":
            size = to.op("ReduceL1", x, last, keepdims=1)
        case "L2":
            size = to.op("ReduceL2", x, last, keepdims=1)
        case _:
            size = to.op("ReduceMax", x, last, keepdims=1)
    empty = to.op("Equal", size, to.array("zero", 0.0))
    divisor = to.op("Where", empty, to.array("one", 1.0), size)
    to.op("Div", x, divisor, output=to.node.output[0])


def _binarised(to: Lowered) -> None:
    above = to.op("Greater", to.node.input[0], to.array("at", to.attributes.get("threshold", 0.0)))
    to.op("Cast", above, output=to.node.output[0], to=onnx.TensorProto.FLOAT)


def _columns(to: Lowered) -> None:
    flat = to.op("Reshape", to.node.input[1], to.indices("flat", [-1]))
    to.op("Gather", to.node.input[0], flat, axis=-1, output=to.node.output[0])


def _one_hot(to: Lowered) -> None:
    if "cats_int64s" not in to.attributes:
        raise to.refusal(
            "its categories are text",
            "train it on the numbers 0, 1, ... that a channel with categories (--category) holds",
        )
    x = to.op("Cast", to.node.input[0], to=onnx.TensorProto.INT64)
    column = to.op("Unsqueeze", x, to.indices("axis", [-1]))
    hit = to.op("Equal", column, to.indices("categories", to.attributes["cats_int64s"]))
    to.op("Cast", hit, output=to.node.output[0], to=onnx.TensorProto.FLOAT)


def _linear_regressor(to: Lowered) -> None:
    _post(to, _linear(to, to.attributes.get("targets", 1)), to.node.output[0])


def _linear_classifier(to: Lowered) -> None:
    labels = next(v for k, v in to.attributes.items() if k.startswith("classlabels_"))
    scores = _linear(to, len(labels))
    _post(to, scores, to.node.output[1])


def _linear(to: Lowered, rows: int) -> str:
    weight = np.asarray(to.attributes["coefficients"], np.float32)
    if weight.size % rows or len(to.attributes.get("intercepts", rows * [0])) != rows:
        raise to.refusal(
            f"it has not one row of coefficients for each of {rows} outputs",
            "export a classifier of two classes with both",
        )
    coefficients = to.array("coefficients", weight.reshape(rows, -1).T)
    intercepts = to.array("intercepts", to.attributes.get("intercepts", rows * [0.0]))
    return to.op("Add", to.op("MatMul", to.node.input[0], coefficients), intercepts)


def _post(to: Lowered, scores: str, output: str) -> None:
    match to.text("post_transform", "NONE"):
        case "NONE":
            to.op("Identity", scores, output=output)
        case "LOGISTIC":
            to.op("Sigmoid", scores, output=output)
        case "SOFTMAX":
            to.op("Softmax", scores, axis=-1, output=output)
        case other:
            raise to.refusal(f"its post_transform is {other}", "use NONE, LOGISTIC or SOFTMAX")
