"""Whole replays of many members in one call: the losses before, every step, the losses after.

The training graph of many members (:func:`headwater_models.graphs.stack.stack`) becomes the body
of a loop over steps, in which weights and state stay. The rows of all members lie one after the
other, and what follows from a row alone is computed once for it, before the loops.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from headwater_models.arrays import MEMBERS
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.rowwise import by_row
from headwater_models.graphs.serialisation import decode, encode, encode_proto, graph_proto
from headwater_models.graphs.stack import stack
from headwater_models.graphs.tensor_types import Shape, type_of

_ROWS = ("window", "time", "label")
_RATE, _WEIGHT, _LOSS, _NEW = "learning_rate", "weight", "loss", "new."
_STEPS, _JUDGED, _PULL = "steps", "judged", "pull"
_BEFORE, _AFTER, _CHANGE, _EACH = "before", "after", "change", "each"
_FLAT, _ALONG = "flat", "along"
"""The shapes of one row for each member, and of all in one."""


def replay_many(
    train: bytes,
    *,
    packed: Sequence[str] = (),
    held: Collection[str] = (),
    alike: Collection[str] = (),
) -> bytes:
    """Return the graph of whole replays of many members.

    Inputs, beside the parameters and the state ``[M, ...]`` and ``learning_rate`` ``[]``:

    - ``window`` ``[R, T, C]``, ``time`` ``[R]`` and ``label`` ``[R, 1]``: the rows of all members;
    - ``steps`` int64 ``[S, M, N]``: the rows that each member takes in each step, with ``weight``
      ``[S, M, N]``; a member whose weights are all 0 in a step keeps what it has, bit for bit;
    - ``judged`` int64 ``[B, M, N]``: the rows whose losses are told;
    - ``hold.NAME`` ``[M, ...]`` of held parameters and ``pull`` ``[S, M]``: after each step they
      are pulled to it by this share of the way.

    Outputs: ``new.NAME`` of parameters and state; ``before`` and ``after`` ``[B, M, N]``, the
    losses of the judged rows; ``change`` ``[M, P]``, by how much the packed parameters moved.

    Parameters
    ----------
    train
        A training graph, of one member.
    packed
        The parameters whose change is wanted, in their order; without any there is no ``change``.
    held
        The parameters that are held.
    alike
        All parameters, or none: those that members begin with in common, ``[...]``. Then the losses
        before are those of one member with all rows.

    Raises
    ------
    BundleError
        When the bytes are no ONNX graph.
    UnsupportedError
        Naming an operator that cannot be stacked.
    """
    rows, rest = by_row(decode(train), _ROWS)
    one = encode(rest, defaults=False)
    many = stack(one, rest.inputs.keys() - {_RATE})
    step, judge, begin = decode(many), decode(many), decode(one if alike else many)
    loss = step.outputs.pop(_LOSS)
    judge.outputs, begin.outputs = {_LOSS: loss}, {_LOSS: begin.outputs[_LOSS]}
    learned = [name.removeprefix(_NEW) for name in step.outputs]
    _pull(step, held)
    by_step = [name for name in (_WEIGHT, _PULL) if name in step.inputs]
    own = {n: value for n, value in step.inputs.items() if n not in (*rows.outputs, *by_step)}
    begun = {name: value for name, value in own.items() if name in alike}
    start = {name: f"{_EACH}/{name}" if name in begun else name for name in own}
    together = {name: name for name in own}
    end = start | {name: _NEW + name for name in learned}
    prepared = graph_proto(rows, defaults=False)
    nodes = [
        *prepared.node,
        *_repeated(begun),
        *_loop(_BEFORE, begin, _Batches(_JUDGED, rows.outputs, flat=bool(alike)), together),
        *_loop(_STEPS, step, _Batches(_STEPS, rows.outputs, by_step), start, learned),
        *_loop(_AFTER, judge, _Batches(_JUDGED, rows.outputs), end),
        *_packing(packed),
    ]
    batch = (MEMBERS, "N")
    inputs = [
        *(_declared(n, v.dtype, ("R", *v.shape[1:])) for n, v in rows.inputs.items()),
        _declared(_STEPS, np.int64, ("S", *batch)),
        _declared(_JUDGED, np.int64, ("B", *batch)),
        *(_declared(n, loss.dtype, ("S", *step.inputs[n].shape)) for n in by_step),
        *(_like(begin.inputs[n] if n in begun else v, n) for n, v in own.items()),
    ]
    outputs = [
        *(_like(own[name], end[name]) for name in learned),
        *(_declared(name, loss.dtype, ("B", *batch)) for name in (_BEFORE, _AFTER)),
        *(_declared(_CHANGE, loss.dtype, (MEMBERS, "P")) for _ in packed[:1]),
    ]
    flat, along = (
        numpy_helper.from_array(np.array(s), n) for s, n in (([0, -1], _FLAT), ([-1], _ALONG))
    )
    arrays = [*prepared.initializer, flat, along]
    return encode_proto(helper.make_graph(nodes, "headwater", inputs, outputs, arrays))


def _pull(step: Graph, held: Collection[str]) -> None:
    """Pull what a step made of held parameters to their version."""
    if not held:
        return
    pull, outputs = step.input(_PULL, (MEMBERS,)), list(step.outputs.values())
    step.outputs.clear()
    for made in outputs:
        name = made.name.removeprefix(_NEW)
        if name not in held:
            step.output(made)
            continue
        share, base = pull.unsqueeze(range(1, len(made.shape))), f"hold.{name}"
        step.output(made + share * (step.input(base, made.shape) - made))


def _repeated(begun: Mapping[str, Value]) -> Iterator[onnx.NodeProto]:
    """Let each member have what all begin with."""
    if begun:
        yield _node("Shape", [_STEPS], f"{_EACH}/{MEMBERS}", start=1, end=2)
    for name, value in begun.items():
        many, ones = f"{_EACH}/{name}/shape", np.ones(len(value.shape) - 1, np.int64)
        yield helper.make_node(
            "Constant", [], [f"{many}/ones"], value=numpy_helper.from_array(ones)
        )
        yield _node("Concat", [f"{_EACH}/{MEMBERS}", f"{many}/ones"], many, axis=0)
        yield _node("Expand", [name, many], f"{_EACH}/{name}")


def _packing(packed: Sequence[str]) -> Iterator[onnx.NodeProto]:
    """Lay out in one row for each member by how much parameters moved."""
    rows = [f"{_CHANGE}/{name}/{_FLAT}" for name in packed]
    for name, row in zip(packed, rows, strict=True):
        moved = f"{_CHANGE}/{name}"
        yield _node("Sub", [_NEW + name, name], moved)
        yield _node("Reshape", [moved, _FLAT], row)
    if rows:
        yield _node("Concat", rows, _CHANGE, axis=1)


@dataclass(frozen=True, slots=True)
class _Batches:
    """The name of the rows of each batch, ``[B, M, N]``.

    ``rows`` is what is taken of each row, and ``whole`` what there is of each batch, ``[B, ...]``.
    ``flat`` says that rows are taken as those of one member, ``[M * N]``.
    """

    places: str
    rows: Collection[str]
    whole: Collection[str] = ()
    flat: bool = False


def _loop(
    name: str,
    graph: Graph,
    batches: _Batches,
    outside: Mapping[str, str],
    carried: Sequence[str] = (),
) -> Iterator[onnx.NodeProto]:
    """Do what a graph does for each batch.

    Parameters
    ----------
    name
        Of the loop; it stands before all names inside. Without anything carried, what the graph
        gives for all batches comes out under it.
    outside
        The names of the graph's inputs outside of the loop.
    carried
        The inputs that are what the graph's output made of them in the batch before; in the end
        they come out.
    """
    free = {n: there for n, there in outside.items() if n not in carried}

    def inside(outer: str) -> str:
        return free.get(outer, f"{name}/{outer}") if outer else ""

    inner = graph_proto(graph, defaults=False)
    for node in inner.node:
        node.name = inside(node.name)
        node.input[:], node.output[:] = map(inside, node.input), map(inside, node.output)
    for tensor in inner.initializer:
        tensor.name = inside(tensor.name)
    used = {n for node in inner.node for n in node.input}
    number, go, on, at = map(inside, ("loop.number", "loop.go", "loop.on", "loop.at"))
    taking = [_node("Identity", [go], on), _node("Gather", [batches.places, number], at)]
    taken, told = at, [(inside(value.name), value) for value in graph.outputs.values()]
    giving: list[onnx.NodeProto] = []
    if batches.flat:
        taken, shape = inside("loop.taken"), inside("loop.shape")
        taking += [_node("Reshape", [at, _ALONG], taken), _node("Shape", [at], shape)]
        giving = [_node("Reshape", [name, shape], f"{name}/many") for name, _ in told]
        told = [(f"{name}/many", value) for name, value in told]
    taking += [_node("Gather", [n, taken], inside(n)) for n in batches.rows if inside(n) in used]
    taking += [_node("Gather", [n, number], inside(n)) for n in batches.whole]
    body = helper.make_graph(
        [*taking, *inner.node, *giving],
        name,
        [
            _declared(number, np.int64, ()),
            _declared(go, np.bool_, ()),
            *(_like(graph.inputs[n], inside(n)) for n in carried),
        ],
        [
            _declared(on, np.bool_, ()),
            *(_told(value, name, flat=batches.flat) for name, value in told),
        ],
        inner.initializer,
    )
    count = inside("loop.count")
    yield _node("Shape", [batches.places], count, end=1)
    outputs = [_NEW + n for n in carried] or [name]
    begun = [outside[n] for n in carried]
    yield helper.make_node("Loop", [count, "", *begun], outputs, name, body=body)


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], output, **attributes)


def _declared(name: str, dtype: np.dtype[Any] | type, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_value_info(name, type_of(np.dtype(dtype), shape))


def _told(value: Value, name: str, *, flat: bool) -> onnx.ValueInfoProto:
    return _declared(name, value.dtype, (MEMBERS, *value.shape) if flat else value.shape)


def _like(value: Value, name: str) -> onnx.ValueInfoProto:
    return _declared(name, value.dtype, value.shape)
