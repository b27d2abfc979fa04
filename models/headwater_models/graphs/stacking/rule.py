"""What a rule is, and what several rules ask of a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.arrays import MEMBERS
from headwater_models.graphs.expression import Array, Graph, Node, Operand, Value
from headwater_models.graphs.tensor_types import Shape


@dataclass(frozen=True, slots=True, eq=False)
class Stacked:
    """What stands in the stacked graph for a value of the original.

    ``own`` says whether each member has one of its own, ``[M, ...]``. ``kept``, bool ``[M, 1]``,
    is there where only some members keep the one row that the value has, and the others none.
    """

    value: Value
    own: bool = True
    kept: Value | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A node of the original, to be applied to ``inputs`` in the stacked graph.

    ``count``, int64 ``[1]``, is the number of members.
    """

    node: Node
    graph: Graph
    inputs: tuple[Stacked, ...]
    count: Value

    def op(self, operator: str, *inputs: Operand, **attributes: Any) -> Value:
        """Apply an operator whose output ONNX's shape inference sees through."""
        return self.graph.op(operator, *inputs, **attributes)

    def last(self, operator: str, *inputs: Operand, **attributes: Any) -> Value:
        """Apply the operator that gives the node's one output."""
        return self.graph.op(operator, *inputs, shape=self.shapes[0], **attributes)

    def again(self, *inputs: Operand, **attributes: Any) -> Sequence[Stacked]:
        """Apply the node's own operator, with all its outputs and other attributes."""
        values = self.graph.apply(
            self.node.operator,
            inputs,
            {**self.node.attributes, **attributes},
            count=len(self.node.outputs),
            shapes=self.shapes,
        )
        return [Stacked(value) for value in values]

    @property
    def shapes(self) -> list[Shape]:
        """The shapes of the node's outputs, with the axis of the members."""
        return [(MEMBERS, *value.shape) for value in self.node.outputs]

    def rank(self, position: int = 0) -> int:
        """Return how many axes an input has in the original."""
        return len(self.node.inputs[position].shape)

    def axis(self, default: int) -> int:
        """Return where the axis that the node names lies in the stack of its first input."""
        return int(self.node.attributes.get("axis", default)) % self.rank() + 1

    def given(self, position: int) -> bool:
        """Say whether an optional input is there."""
        return len(self.inputs) > position and bool(self.inputs[position].value.name)

    def each(self, position: int) -> Value:
        """Return an input with the axis of the members, repeated if it is shared."""
        stacked = self.inputs[position]
        if stacked.own:
            return stacked.value
        value, shape = stacked.value.unsqueeze([0]), (MEMBERS, *stacked.value.shape)
        ones = np.ones(self.rank(position), np.int64)
        times = self.op("Concat", self.count, ones, axis=0)
        return self.graph.op("Expand", value, times, shape=shape)

    def aligned(self, position: int, rank: int) -> Value:
        """Return an input so that it broadcasts against one of *rank* axes and the members'."""
        stacked = self.inputs[position]
        if not stacked.own:
            return stacked.value
        return stacked.value.unsqueeze(range(1, rank - self.rank(position) + 1))

    def shared(self, position: int) -> Value:
        """Return an input that must be the same for all members.

        Raises
        ------
        UnsupportedError
            When each member has its own.
        """
        stacked = self.inputs[position]
        if stacked.own:
            name = self.node.inputs[position].name
            raise self.refusal(f"its input {name!r} differs between members")
        return stacked.value

    def frozen(self, position: int) -> Array:
        """Return an input whose numbers are in the graph.

        Raises
        ------
        UnsupportedError
            When it is computed.
        """
        array = self.graph.constants.get(self.shared(position).name)
        if array is None:
            raise self.refusal(f"its input {self.node.inputs[position].name!r} is computed")
        return array

    def prefixed(self, position: int, *numbers: int) -> Operand:
        """Return sizes, an input that all members share, with *numbers* before them."""
        value, before = self.shared(position), np.array(numbers, np.int64)
        array = self.graph.constants.get(value.name)
        if array is not None:
            return np.concatenate([before, array])
        return self.op("Concat", before, value, axis=0)

    def sizes(self, value: Value, start: int, end: int | None = None) -> Array | Value:
        """Return the sizes of a value's axes from *start* on, frozen where they are fixed."""
        shape = value.shape[start:end]
        if all(isinstance(size, int) for size in shape):
            return np.array(shape, np.int64)
        stop = len(value.shape) if end is None else end
        return self.graph.op("Shape", value, shape=(len(shape),), start=start, end=stop)

    def elements(self, value: Value, start: int) -> Value:
        """Return how many elements a value has along its axes from *start* on, int64 ``[]``."""
        sizes = self.sizes(value, start)
        if isinstance(sizes, np.ndarray):
            return self.graph.constant(np.array(sizes.prod(dtype=np.int64)))
        return self.op("ReduceProd", sizes, np.array([0]), keepdims=0)

    def refusal(self, why: str) -> UnsupportedError:
        """Return the error that says why this use of an operator cannot be stacked."""
        return UnsupportedError(
            f"{self.node.operator} {self.node.name!r} cannot be computed for several members at "
            f"once: {why}; run the members one by one."
        )


Rule = Callable[[Call], Sequence[Stacked]]


def fold(call: Call, value: Value) -> Value:
    """Join members and rows in one axis: ``[M, N, ...]`` becomes ``[M * N, ...]``."""
    rest = call.sizes(value, 2)
    target: Operand = np.array([-1])
    if isinstance(rest, np.ndarray):
        target = np.concatenate([target, rest])
    else:
        target = call.op("Concat", target, rest, axis=0)
    return call.graph.op("Reshape", value, target, shape=(f"{MEMBERS}*N", *value.shape[2:]))


def unfold(call: Call, value: Value, like: Value) -> Value:
    """Undo :func:`fold`: members and rows are those of *like*."""
    before = call.graph.op("Shape", like, shape=(2,), end=2)
    target = call.op("Concat", before, call.sizes(value, 1), axis=0)
    shape = (*like.shape[:2], *value.shape[1:])
    return call.graph.op("Reshape", value, target, shape=shape)
