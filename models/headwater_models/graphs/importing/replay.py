"""A source's nodes applied again to a graph that learns, each as itself or as its rewrite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import OPSET, Array, Graph, Node, Value
from headwater_models.graphs.gradients.table import rules
from headwater_models.graphs.importing.folding import Sizes, fold, sizes_of
from headwater_models.graphs.importing.mixing import mixes_rows
from headwater_models.graphs.importing.source import Source

LARGEST_FOLD = 2**20
"""Most numbers that are computed while importing rather than each time the graph runs."""

_MOVING = ("Expand", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that leave one number repeated what it is."""

_INSTEAD = {"Resize": "nearest upsampling by a fixed whole factor, or a ConvTranspose"}
"""What to export in the place of an operator that has no gradient."""

_KEPT_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike")


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One node of a source on the values of the graph that grows.

    ``inputs`` has None where one is left out, ``outputs`` the names in the source. ``sizes`` says
    of integers what is known of them before the graph runs, ``uniform`` which values are one number
    repeated. ``rows`` is how many rows the source
    was written for, 0 where that is open.
    """

    graph: Graph
    operator: str
    name: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    sizes: Mapping[str, Sizes]
    uniform: Mapping[str, float]
    rows: int

    def given(self, position: int) -> Value | None:
        """Return an input, or None where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def needed(self, position: int) -> Value:
        """Return an input that the operator cannot do without."""
        value = self.given(position)
        if value is None:
            raise self.refusal(f"its input {position} is left out", "export the model again")
        return value

    def known(self, position: int) -> Sizes | None:
        """Return what is known of an input of integers."""
        value = self.given(position)
        if value is None:
            return None
        array = self.graph.constants.get(value.name)
        if array is not None and array.dtype.kind == "i":
            return np.asarray(array, object)
        return self.sizes.get(value.name)

    def repeats(self, value: Value, number: float) -> bool:
        """Say whether a value is this number, once or many times."""
        array = self.graph.constants.get(value.name)
        if array is None:
            return self.uniform.get(value.name) == number
        return bool(array.size and (array == number).all())

    def refusal(self, why: str, remedy: str) -> UnsupportedError:
        """Return the error that says why this node cannot be imported."""
        return UnsupportedError(
            f"{self.operator} (node {self.name!r}) cannot be imported: {why}; {remedy}."
        )


Rewrite = Callable[[Step], Sequence[Value] | None]
"""``rewrite(step) -> outputs``, or None: the node is taken as it is."""


def maker(value: Value) -> Node | None:
    """Return the node that makes a value, or None of an input or a constant."""
    return next((node for node in reversed(value.graph.nodes) if value in node.outputs), None)


class Replay:
    """A source, replayed.

    Parameters
    ----------
    graph
        Holds the window and the parameters, and grows.
    parameters
        Those of the graph by the names that the source has for them.
    trained
        Their names in the graph, of those that learn.
    rewrites
        What becomes of the operators that are not replayed as they are.

    Attributes
    ----------
    values
        By the names of the source.
    """

    def __init__(
        self,
        graph: Graph,
        source: Source,
        parameters: Mapping[str, Value],
        trained: Iterable[str],
        rewrites: Mapping[str, Rewrite],
    ) -> None:
        self.values: dict[str, Value] = dict(parameters)
        self._graph, self._source, self._rewrites = graph, source, rewrites
        self._differentiable = rules()
        self._sizes: dict[str, Sizes] = {}
        self._uniform: dict[str, float] = {}
        self._before = {name: {name} for name in trained}
        for name, array in source.arrays.items():
            if name not in self.values and array.dtype.kind in "fiub":
                self.values[name] = graph.constant(self._typed(array))

    def run(self, x: Value) -> Value:
        """Feed *x* to the source and return what it predicts.

        Raises
        ------
        UnsupportedError
            Naming the node that cannot be imported, or that parameters cannot learn through.
        """
        self.values[self._source.input] = x
        for node in self._source.nodes:
            self._replay(node)
        return self.values[self._source.output]

    def _replay(self, node: onnx.NodeProto) -> None:
        step = self._step(node)
        first = len(self._graph.nodes)
        outputs = self._folded(step) or self._applied(step)
        self.values.update(zip(node.output, outputs, strict=False))
        if (number := self._repeated(step)) is not None:
            self._uniform[outputs[0].name] = number
        for made in self._graph.nodes[first:]:
            self._follow(made, step)

    def _step(self, node: onnx.NodeProto) -> Step:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        missing = [name for name in node.input if name and name not in self.values]
        first = self._source.shape[0] if self._source.shape else 0
        step = Step(
            graph=self._graph,
            operator=node.op_type,
            name=node.name or node.output[0],
            inputs=tuple(self.values.get(name) for name in node.input),
            outputs=tuple(node.output),
            attributes=plain,
            sizes=self._sizes,
            uniform=self._uniform,
            rows=first if isinstance(first, int) else 0,
        )
        if missing:
            raise step.refusal(f"its input {missing[0]!r} is no tensor of numbers", "leave it out")
        return step

    def _folded(self, step: Step) -> list[Value] | None:
        """Return the outputs where they are known before the graph runs."""
        arrays = [self._graph.constants.get(v.name) for v in step.inputs if v is not None]
        if step.operator == "Shape":
            shape = step.needed(0).shape
            cut = slice(step.attributes.get("start"), step.attributes.get("end"))
            return self._noted(step, sizes_of(shape[cut]))
        if all(array is not None for array in arrays) and step.operator not in _KEPT_RANDOM:
            return self._evaluated(
                step, {v.name: self._graph.constants[v.name] for v in step.inputs if v is not None}
            )
        if all(v is None or v.dtype.kind == "i" for v in step.inputs):
            known = [step.known(position) for position in range(len(step.inputs))]
            found = fold(step.operator, known)
            return None if found is None else self._noted(step, found)
        return None

    def _repeated(self, step: Step) -> float | None:
        """Return the number that an output repeats, if it is one such as a first state of zeros."""
        x = step.needed(0)
        if step.operator == "ConstantOfShape":
            tensor = step.attributes.get("value")
            return float(numpy_helper.to_array(tensor)[0]) if tensor else 0.0
        if step.operator == "Expand" and x.name in self._graph.constants:
            values = np.unique(self._graph.constants[x.name])
            return float(values[0]) if values.size == 1 else None
        return self._uniform.get(x.name) if step.operator in _MOVING else None

    def _noted(self, step: Step, sizes: Sizes) -> list[Value]:
        """Freeze sizes, or compute them as the graph runs and remember what is known of them."""
        if not any(isinstance(size, str) for size in np.ravel(sizes)):
            return [self._graph.constant(np.asarray(sizes, np.int64))]
        outputs = self._plain(step)
        self._sizes[outputs[0].name] = sizes
        return outputs

    def _evaluated(self, step: Step, arrays: Mapping[str, Array]) -> list[Value] | None:
        names = [f"o{at}" if name else "" for at, name in enumerate(step.outputs)]
        node = helper.make_node(
            step.operator, [v.name if v else "" for v in step.inputs], names, **step.attributes
        )
        declared = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in arrays.items()
        ]
        results = [onnx.ValueInfoProto(name=name) for name in names if name]
        graph = helper.make_graph([node], "fold", declared, results)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        try:
            found = ReferenceEvaluator(model).run(None, dict(arrays))
        except Exception as error:
            raise step.refusal(f"its constants do not fit ({error})", "export again") from error
        if sum(np.size(array) for array in found) > LARGEST_FOLD:
            return None
        return [self._graph.constant(self._typed(np.asarray(array))) for array in found]

    def _applied(self, step: Step) -> Sequence[Value]:
        rewrite = self._rewrites.get(step.operator)
        made = rewrite(step) if rewrite else None
        return self._plain(step) if made is None else made

    def _plain(self, step: Step) -> list[Value]:
        omitted = Value(self._graph, "", self._graph.dtype, ())
        inputs = [omitted if value is None else value for value in step.inputs]
        free = all(name and not self._graph.knows(name) for name in step.outputs)
        try:
            made = self._graph.apply(
                step.operator,
                inputs,
                step.attributes,
                count=len(step.outputs),
                names=step.outputs if free else None,
            )
        except UnsupportedError as error:
            raise step.refusal(
                str(error).rstrip("."), "export with an open number of rows and fixed other sizes"
            ) from error
        return list(made)

    def _follow(self, node: Node, step: Step) -> None:
        """Note which parameters a node's outputs depend on; refuse what none can learn through.

        So is what would let a window's prediction depend on those beside it.
        """
        if mixes_rows(node):
            raise step.refusal(
                "it mixes the rows of a batch, so that a window's prediction would change with the "
                "windows beside it",
                "let it work along other axes than that of the rows (in PyTorch: not dim 0, "
                "batch_first=True, batch normalisation in eval mode with its statistics)",
            )
        before = set().union(*(self._before.get(value.name, ()) for value in node.inputs))
        floats = [value for value in node.outputs if value.is_float]
        if not before or not floats:
            return
        if node.operator not in self._differentiable:
            instead = _INSTEAD.get(node.operator, "another operator")
            raise UnsupportedError(
                f"{step.operator} (node {step.name!r}) lies between the parameters "
                f"{', '.join(sorted(before))} and the prediction and cannot be differentiated. "
                f"Freeze those parameters (--freeze), or export the model with {instead} in "
                f"its place. These can be differentiated: {', '.join(sorted(self._differentiable))}"
                "."
            )
        self._before |= {value.name: before for value in floats}

    def _typed(self, array: Array) -> Array:
        return array.astype(self._graph.dtype) if array.dtype.kind == "f" else array
