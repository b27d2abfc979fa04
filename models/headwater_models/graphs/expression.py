"""ONNX graphs written as expressions: values that know their dtype and shape.

A :class:`Graph` grows by applying operators to :class:`Value` s; Python's arithmetic operators
work on them. The same operator on the same inputs gives the same value, names come from a
counter, and what no output needs is left out: equal programs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

from headwater.errors import UnsupportedError
from headwater_models.graphs.sizes import follow
from headwater_models.graphs.tensor_types import Shape, dtype_of, shape_of, type_of

OPSET = 21
IR_VERSION = 10

Array = NDArray[Any]

_REFUSALS = (
    onnx.defs.SchemaError,
    onnx.checker.ValidationError,
    shape_inference.InferenceError,
)


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor of a graph. An omitted optional input of a node has the name ``""``."""

    graph: Graph = field(repr=False)
    name: str
    dtype: np.dtype[Any]
    shape: Shape

    def __add__(self, other: Operand) -> Value:
        return self.graph.op("Add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self.graph.op("Add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self.graph.op("Sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.graph.op("Sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self.graph.op("Mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self.graph.op("Mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self.graph.op("Div", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self.graph.op("Div", other, self)

    def __matmul__(self, other: Operand) -> Value:
        return self.graph.op("MatMul", self, other)

    def __neg__(self) -> Value:
        return self.graph.op("Neg", self)

    @property
    def is_float(self) -> bool:
        """Whether gradients can flow through this value."""
        return self.dtype.kind == "f"

    def cast(self, dtype: np.dtype[Any] | type) -> Value:
        """Convert to another dtype."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self if self.dtype == dtype else self.graph.op("Cast", self, to=kind)

    def sum(self, axes: Sequence[int], *, keepdims: bool = False) -> Value:
        """Sum over axes."""
        return self.graph.op("ReduceSum", self, np.array(axes, np.int64), keepdims=int(keepdims))

    def mean(self, axes: Sequence[int]) -> Value:
        """Average over axes, which stay with size 1."""
        return self.graph.op("ReduceMean", self, np.array(axes, np.int64), keepdims=1)

    def transpose(self, order: Sequence[int]) -> Value:
        """Permute the axes."""
        if list(order) == list(range(len(self.shape))):
            return self
        return self.graph.op("Transpose", self, perm=list(order))

    def unsqueeze(self, axes: Sequence[int]) -> Value:
        """Insert axes of size 1 where the result has these positions."""
        return self.graph.op("Unsqueeze", self, np.array(axes, np.int64)) if axes else self

    def squeeze(self, axes: Sequence[int]) -> Value:
        """Drop axes of size 1."""
        return self.graph.op("Squeeze", self, np.array(axes, np.int64)) if axes else self

    def as_matrix(self) -> Value:
        """Join all axes but the last one."""
        rank, last = len(self.shape), self.shape[-1]
        if rank == 2:
            return self
        if isinstance(last, int):
            return self.graph.op("Reshape", self, np.array([-1, last], np.int64))
        return self.graph.op("Flatten", self, axis=rank - 1)

    def expand_like(self, other: Value) -> Value:
        """Repeat along axes of size 1 until the shape is that of *other*."""
        return self.graph.op("Expand", self, self.graph.op("Shape", other), shape=other.shape)

    def zeros_like(self) -> Value:
        """Return zeros of this value's dtype and shape."""
        return self.graph.constant(np.zeros((), self.dtype)).expand_like(self)

    def reshape_like(self, other: Value) -> Value:
        """Lay the elements out in the shape of *other*."""
        return self.graph.op("Reshape", self, self.graph.op("Shape", other), shape=other.shape)


Operand = Value | Array | float
"""What an operator takes; a number becomes a scalar of the other operands' floating dtype."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator applied to values."""

    operator: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    attributes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the first output, which is unique."""
        return self.outputs[0].name

    def proto(self) -> onnx.NodeProto:
        """Return the node as ONNX stores it."""
        inputs, outputs = [v.name for v in self.inputs], [v.name for v in self.outputs]
        return helper.make_node(
            self.operator, inputs, outputs, name=self.name, **dict(sorted(self.attributes.items()))
        )


class Graph:
    """An ONNX graph that grows.

    Parameters
    ----------
    dtype
        The floating dtype of numbers in expressions: float32, or float64 for a test's twin.

    Attributes
    ----------
    inputs, constants, defaults, outputs
        By name: declared inputs, arrays frozen in the graph, the values that inputs have when
        they are not fed (parameters), and what the graph computes.
    declared
        Values whose shape is written into the file, for it does not follow from the operators.
    nodes
        In the order of their application, which is a valid order of execution.
    """

    def __init__(self, dtype: np.dtype[Any] | type = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        self.inputs: dict[str, Value] = {}
        self.constants: dict[str, Array] = {}
        self.defaults: dict[str, Array] = {}
        self.outputs: dict[str, Value] = {}
        self.declared: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self._values: dict[str, Value] = {}
        self._known: dict[object, tuple[Value, ...]] = {}
        self._measured: dict[str, Value] = {}

    def input(self, name: str, shape: Shape, dtype: np.dtype[Any] | type | None = None) -> Value:
        """Declare an input; its dtype is the graph's unless another is given."""
        self.inputs[name] = self._value(name, np.dtype(dtype or self.dtype), shape)
        return self.inputs[name]

    def parameter(self, name: str, default: Array) -> Value:
        """Declare an input that has a default, as all that is learned does."""
        self.defaults[name] = np.asarray(default, self.dtype)
        return self.input(name, self.defaults[name].shape)

    def constant(self, value: Array | float, name: str = "") -> Value:
        """Freeze an array in the graph; a number becomes a scalar of the graph's dtype."""
        array = value if isinstance(value, np.ndarray) else np.asarray(value, self.dtype)
        key = ("", name, array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            made = self._value(name or self._fresh("constant")[0], array.dtype, array.shape)
            self.constants[made.name] = array
            self._known[key] = (made,)
        return self._known[key][0]

    def output(self, value: Value) -> None:
        """Publish a value under its own name."""
        self.outputs[value.name] = value

    def declare(self, value: Value) -> Value:
        """Write a value's shape into the file."""
        self.declared[value.name] = value
        return value

    def op(
        self,
        operator: str,
        *inputs: Operand,
        name: str = "",
        shape: Shape | None = None,
        **attributes: Any,
    ) -> Value:
        """Apply an operator with one output.

        Parameters
        ----------
        name
            Of the output; made from a counter if empty.
        shape
            Of the output, where ONNX's shape inference cannot see it.
        """
        names = (name,) if name else None
        return self.apply(operator, inputs, attributes, names=names, shapes=[shape])[0]

    def apply(
        self,
        operator: str,
        inputs: Sequence[Operand],
        attributes: Mapping[str, Any],
        *,
        count: int = 1,
        names: Sequence[str] | None = None,
        shapes: Sequence[Shape | None] = (),
    ) -> tuple[Value, ...]:
        """Apply an operator with ``count`` outputs, or as many as there are *names*.

        Parameters
        ----------
        shapes
            Of the outputs, None where ONNX's shape inference sees it, as for those left out.

        Raises
        ------
        UnsupportedError
            When the operator does not take these inputs or the rank of an output is not known.
        """
        values = self._operands(inputs)
        key = (operator, *(v.name for v in values), repr(sorted(attributes.items())), count)
        if names is None and key in self._known:
            return self._known[key]
        named = tuple(names) if names else self._fresh(operator, count)
        proto = helper.make_node(operator, [v.name for v in values], named, **attributes)
        types = self._infer(proto, values)
        sizes = self._followed(operator, values)
        if all(shape is None for shape in shapes):
            shapes = [self._copied(operator, values)]
        outputs = tuple(
            self._typed(n, types.get(n), proto, shape, sizes)
            for n, shape in zip_longest(named, shapes[: len(named)])
        )
        self.nodes.append(Node(operator, values, outputs, dict(attributes)))
        if operator == "Shape" and not attributes:
            self._measured[outputs[0].name] = values[0]
        return self._known.setdefault(key, outputs) if names is None else outputs

    def value(self, name: str) -> Value:
        """Return the value of a name."""
        return self._values[name]

    def knows(self, name: str) -> bool:
        """Say whether there is a value of a name."""
        return name in self._values

    def needed(self) -> list[Node]:
        """Return the nodes that the outputs depend on."""
        wanted = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if wanted.intersection(value.name for value in node.outputs):
                wanted.update(value.name for value in node.inputs)
                kept.append(node)
        return kept[::-1]

    def _operands(self, inputs: Sequence[Operand]) -> tuple[Value, ...]:
        floats = (x.dtype for x in inputs if isinstance(x, Value) and x.is_float)
        dtype = next(floats, self.dtype)
        return tuple(
            x
            if isinstance(x, Value)
            else self.constant(x if isinstance(x, np.ndarray) else np.asarray(x, dtype))
            for x in inputs
        )

    def _infer(
        self, proto: onnx.NodeProto, inputs: Iterable[Value]
    ) -> Mapping[str, onnx.TypeProto]:
        present = {value.name: value for value in inputs if value.name}
        try:
            return shape_inference.infer_node_outputs(
                onnx.defs.get_schema(proto.op_type, OPSET, ""),
                proto,
                {name: type_of(value.dtype, value.shape) for name, value in present.items()},
                {
                    name: numpy_helper.from_array(self.constants[name], name)
                    for name in present
                    if name in self.constants
                },
                opset_imports=[helper.make_opsetid("", OPSET)],
                ir_version=IR_VERSION,
            )
        except _REFUSALS as error:
            kinds = ", ".join(f"{v.name} {v.dtype} {list(v.shape)}" for v in present.values())
            raise UnsupportedError(f"{proto.op_type} does not take {kinds}: {error}") from error

    def _followed(self, operator: str, inputs: Sequence[Value]) -> Mapping[int, int | str]:
        """Return sizes by axis that follow from those of the first input."""
        others = [self.constants.get(value.name) for value in inputs[1:]]
        computed = any(v.name and a is None for v, a in zip(inputs[1:], others, strict=True))
        return {} if computed or not inputs else follow(operator, inputs[0].shape, others)

    def _copied(self, operator: str, inputs: Sequence[Value]) -> Shape | None:
        """Return the shape of the value that the output takes its shape from, if it does."""
        like = self._measured.get(inputs[1].name) if len(inputs) > 1 else None
        if like is None or operator not in ("Expand", "Reshape"):
            return None
        pairs = zip(reversed(inputs[0].shape), reversed(like.shape), strict=False)
        fits = len(inputs[0].shape) <= len(like.shape) and all(a in (1, b) for a, b in pairs)
        return like.shape if operator == "Reshape" or fits else None

    def _typed(
        self,
        name: str,
        kind: onnx.TypeProto | None,
        node: onnx.NodeProto,
        shape: Shape | None,
        sizes: Mapping[int, int | str],
    ) -> Value:
        if kind is None or (shape is None and not kind.tensor_type.HasField("shape")):
            raise UnsupportedError(
                f"The rank of {name!r}, made by {node.op_type}, is not known before the graph "
                "runs; give the graph fixed shapes (all but the number of rows)."
            )
        shape = shape_of(name, kind, sizes) if shape is None else shape
        return self._value(name, dtype_of(kind), shape)

    def _value(self, name: str, dtype: np.dtype[Any], shape: Shape) -> Value:
        if name in self._values:
            raise UnsupportedError(f"The graph has two values named {name!r}; rename one.")
        self._values[name] = Value(self, name, dtype, shape)
        return self._values[name]

    def _fresh(self, stem: str, count: int = 1) -> tuple[str, ...]:
        number = len(self._values)
        while (name := f"{stem}.{number}") in self._values:
            number += 1
        return (name, *(f"{name}.{output}" for output in range(1, count)))
