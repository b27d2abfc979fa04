"""One graph for many members: what each of them has of its own gets a leading axis ``M``.

A call of the stacked graph computes what a call of the original for each member would, be they
models on one stream or devices of a fleet. What no member has of its own is computed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.arrays import MEMBERS
from headwater_models.graphs.expression import Graph, Node, Value
from headwater_models.graphs.serialisation import decode, encode
from headwater_models.graphs.stacking.rule import Call, Rule, Stacked
from headwater_models.graphs.stacking.table import rules
from headwater_models.manifest import Manifest

_PASSING = ("Expand", "Mul", "Shape")
"""Operators of which a row that only some members keep comes out so again."""


def stack(graph: bytes, own: Iterable[str]) -> bytes:
    """Return the graph of many members in one.

    All outputs have the axis ``M``, and no input has a default. Members have equally many rows: the
    ones with fewer fill up with windows and labels of NaN and weights of 0, which change nothing;
    one whose weights are all 0 comes out of a training step as it went in, bit for bit.

    Parameters
    ----------
    graph
        An inference graph or a training graph.
    own
        The inputs, at least one, that each member has of its own. They become ``[M, ...]``; all
        members share the others.

    Raises
    ------
    BundleError
        When the bytes are no ONNX graph.
    UnsupportedError
        Naming the operator that has no rule, or the input that is not there.
    """
    original, names = decode(graph), set(own)
    if not names or names - original.inputs.keys():
        wanted = ", ".join(sorted(names - original.inputs.keys())) or "none"
        raise UnsupportedError(
            f"Members cannot have {wanted} of their own; "
            f"the graph's inputs are {', '.join(original.inputs)}."
        )
    made = Graph(original.dtype)
    values = {n: made.input(n, _shape(v, n in names), v.dtype) for n, v in original.inputs.items()}
    stacked = {name: Stacked(value, own=name in names) for name, value in values.items()}
    for name, array in original.constants.items():
        stacked[name] = Stacked(made.constant(array), own=False)
    first = values[next(name for name in values if name in names)]
    count = made.op("Shape", first, end=1, shape=(1,))
    table = rules()
    for node in original.needed():
        inputs = tuple(stacked.get(v.name, _omitted(made)) for v in node.inputs)
        outputs = _applied(Call(node, made, inputs, count), table)
        stacked |= {v.name: s for v, s in zip(node.outputs, outputs, strict=True)}
    for name, value in original.outputs.items():
        made.output(_published(made, name, value, stacked[name], count))
    return encode(made, defaults=False)


def stack_inference(infer: bytes, manifest: Manifest) -> bytes | None:
    """Return the graph with which a bundle's models run in one call on one window.

    Returns
    -------
    bytes or None
        None where an operator of the graph cannot be stacked.
    """
    try:
        return stack(infer, [array.name for array in manifest.arrays])
    except UnsupportedError:
        return None


def _shape(value: Value, own: bool) -> tuple[int | str, ...]:
    return (MEMBERS, *value.shape) if own else value.shape


def _omitted(graph: Graph) -> Stacked:
    return Stacked(Value(graph, "", graph.dtype, ()), own=False)


def _applied(call: Call, table: Mapping[str, Rule]) -> Iterable[Stacked]:
    """Return a node's outputs: by its rule if a member has an input of its own."""
    node, masks = call.node, {s.kept.name: s.kept for s in call.inputs if s.kept is not None}
    if masks and (node.operator not in (*_PASSING, "ScatterND") or len(masks) > 1):
        raise call.refusal("members have different numbers of rows")
    if any(stacked.own for stacked in call.inputs) or (node.operator == "ScatterND" and masks):
        if node.operator not in table:
            raise _unknown(node, table)
        outputs = table[node.operator](call)
    else:
        outputs = _shared(call)
    if masks and node.operator in _PASSING:
        (kept,) = masks.values()
        return [Stacked(s.value, s.own, kept) for s in outputs]
    return outputs


def _shared(call: Call) -> list[Stacked]:
    """Apply a node once for all members."""
    values = call.graph.apply(
        call.node.operator,
        [stacked.value for stacked in call.inputs],
        call.node.attributes,
        count=len(call.node.outputs),
        shapes=[value.shape for value in call.node.outputs],
    )
    return [Stacked(value, own=False) for value in values]


def _published(graph: Graph, name: str, value: Value, stacked: Stacked, count: Value) -> Value:
    """Return an output under its name, repeated where all members share it."""
    if stacked.kept is not None:
        raise UnsupportedError(f"The output {name!r} has different numbers of rows for members.")
    shape = (MEMBERS, *value.shape)
    if stacked.own:
        return graph.op("Identity", stacked.value, name=name, shape=shape)
    times = graph.op("Concat", count, np.ones(len(value.shape), np.int64), axis=0)
    return graph.op("Expand", stacked.value.unsqueeze([0]), times, name=name, shape=shape)


def _unknown(node: Node, table: Mapping[str, Rule]) -> UnsupportedError:
    return UnsupportedError(
        f"Operator {node.operator} (node {node.name!r}) cannot be computed for several members at "
        f"once. Run the members one by one, or use operators that can ({', '.join(sorted(table))})."
    )
