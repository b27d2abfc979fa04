"""``train.onnx`` from ``infer.onnx``: one optimiser step in plain ONNX operators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import msgspec
import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.losses import (
    PREDICTION,
    RELEASED,
    RowLosses,
    losses,
    reconstruction,
)
from headwater_models.graphs.optimisers import clipped, optimisers
from headwater_models.graphs.serialisation import decode, encode
from headwater_models.graphs.tensor_types import Shape
from headwater_models.manifest import Array, Loss, Optimiser, Task


def freeze(arrays: Iterable[Array], patterns: Iterable[str]) -> tuple[Array, ...]:
    """Freeze the arrays whose name one of the patterns (``hidden.*``) matches.

    Raises
    ------
    UnsupportedError
        When a pattern matches none of the arrays.
    """
    frozen = tuple(arrays)
    for pattern in patterns:
        matched = {array.name for array in frozen if fnmatchcase(array.name, pattern)}
        if not matched:
            names = ", ".join(array.name for array in frozen)
            raise UnsupportedError(f"freeze: {pattern!r} matches none of the arrays {names}.")
        frozen = tuple(
            msgspec.structs.replace(array, frozen=True) if array.name in matched else array
            for array in frozen
        )
    return frozen


def state_arrays(optimiser: Optimiser, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Return the optimiser's state for these parameters, as the manifest lists it.

    The arrays start at zero and never leave the device; what is not trained has none.
    """
    size = sum(array.size for array in arrays if array.trained)
    state = optimisers()[optimiser.name].state(size) if size else {}
    return tuple(
        Array(name=name, shape=tuple(int(length) for length in shape), merge="local")
        for name, shape in state.items()
    )


def derive_training(
    infer: bytes,
    loss: Loss,
    optimiser: Optimiser,
    arrays: Sequence[Array],
    *,
    quantiles: Sequence[float] = (),
    task: Task = "regression",
) -> bytes:
    """Return the training graph of an inference graph.

    Inputs beside those of *infer*: ``label`` ``[N, 1]``, ``weight`` ``[N]``, the optimiser's
    state and ``learning_rate`` ``[]``. Outputs: ``new.NAME`` for each parameter and state array,
    and ``loss`` ``[N]``, each row's loss before the step. The step follows the gradient of
    ``sum(weight * loss) / sum(weight)``; a row whose label is NaN (or no class) counts with
    weight 0. Where the weights sum to 0, or the loss is not finite, nothing changes, bit for bit.

    Of a graph with an output ``released`` all arrays but the ``local`` ones learn from that
    output's loss instead. What is frozen or solved comes out as it went in.

    Parameters
    ----------
    infer
        An inference graph whose parameters are inputs.
    arrays
        The parameters, in the manifest's order.
    quantiles
        Those of the manifest, for the loss ``quantile``.
    task
        An ``anomaly`` learns to make its prediction small and needs no label.

    Raises
    ------
    BundleError
        When the bytes are no ONNX graph.
    UnsupportedError
        When an operator of the graph cannot be differentiated, or a parameter is not there.
    """
    graph = decode(infer)
    outputs = dict(graph.outputs)
    graph.outputs.clear()
    for array in arrays:
        _refuse_missing(graph, array)
    rows = graph.value("window").shape[0]
    label = graph.input("label", (rows, 1))
    weight = graph.input("weight", (rows,))
    state = state_arrays(optimiser, arrays)
    for array in state:
        graph.input(array.name, array.shape)
    rate = graph.input("learning_rate", ())
    measure = reconstruction if task == "anomaly" else losses(quantiles)[loss]
    row = measure(graph.value(PREDICTION), label)
    trained = [array for array in arrays if array.trained]
    alone = [a for a in trained if RELEASED in outputs and a.merge != "local"]
    gradients, active = _descent(row, weight, [a for a in trained if a not in alone])
    if alone:
        more, finite = _descent(measure(graph.value(RELEASED), label), weight, alone)
        gradients, active = gradients | more, graph.op("And", active, finite)
    new: dict[str, Value] = {}
    if trained:
        weights = _joined([graph.value(array.name) for array in trained])
        gradient = clipped(_joined([gradients[array.name] for array in trained]), optimiser.clip)
        change, moved = optimisers()[optimiser.name].step(weights, gradient, rate, optimiser)
        idle = graph.op("Not", active)
        new = {name: _unless(idle, value, graph.value(name)) for name, value in moved.items()}
        parts = _parted(_or_nothing(idle, change), trained)
        new |= {name: graph.value(name) + part for name, part in parts.items()}
    for array in (*arrays, *state):
        value = new.get(array.name, graph.value(array.name))
        graph.output(graph.op("Identity", value, name=f"new.{array.name}"))
    graph.output(row.by_row("loss"))
    return encode(graph, defaults=False)


def _joined(values: Sequence[Value]) -> Value:
    """Lay values out one after the other, ``[P]``."""
    graph = values[0].graph
    return graph.op("Concat", *(_reshaped(value, (-1,)) for value in values), axis=0)


def _reshaped(value: Value, shape: Shape) -> Value:
    if len(value.shape) == len(shape) == 1:
        return value
    return value.graph.op("Reshape", value, np.array(shape, np.int64))


def _parted(row: Value, arrays: Sequence[Array]) -> dict[str, Value]:
    """Undo :func:`_joined`, of a row ``[1, P]``."""
    graph, sizes = row.graph, np.array([array.size for array in arrays])
    parts = graph.apply("Split", (row.squeeze([0]), sizes), {"axis": 0}, count=len(arrays))
    return {
        array.name: _reshaped(part, array.shape) for array, part in zip(arrays, parts, strict=True)
    }


def _unless(idle: Value, new: Value, old: Value) -> Value:
    """Put the old row back where *idle*: that costs nothing otherwise, and Where three passes."""
    kept = new.graph.op("Compress", old, idle, axis=0)
    return new.graph.op("ScatterND", new, _first_row(idle), kept)


def _or_nothing(idle: Value, change: Value) -> Value:
    """Let the change be -0 where *idle*, the one number that changes no bit when it is added."""
    graph, at = change.graph, _first_row(idle)
    if len(change.shape) == 1:
        change = change.unsqueeze([0])
    row = np.array([1, change.shape[1]])
    nothing = graph.op(
        "Expand", -0.0, graph.op("Shape", at) * row, shape=(at.shape[0], change.shape[1])
    )
    return graph.op("ScatterND", change, at, nothing)


def _first_row(idle: Value) -> Value:
    """Return ``[K, 1]``, the index of the one row: K is 1 where *idle*, else 0."""
    return idle.graph.op("Compress", np.array([[0]]), idle, axis=0)


def _refuse_missing(graph: Graph, array: Array) -> None:
    value = graph.inputs.get(array.name)
    if value is None or value.shape != array.shape:
        raise UnsupportedError(
            f"The graph has no input {array.name!r} of shape {list(array.shape)}; "
            "make each array of the manifest an input with an initialiser of the same name."
        )


def _descent(
    row: RowLosses, weight: Value, arrays: Sequence[Array]
) -> tuple[dict[str, Value], Value]:
    """Return the gradients of the mean loss, and whether there is anything to learn from.

    Where there is not, bool ``[1]``, the gradients may be NaN.
    """
    graph = weight.graph
    weight = graph.op("Where", row.unknown, 0.0, weight.unsqueeze([1]))
    total = weight.sum([0])
    filled = graph.op("Greater", total, 0.0)
    finite = graph.op("LessOrEqual", (weight * row.loss).sum([0]), float(np.finfo(graph.dtype).max))
    # Of a shape that the runtime does not see: it would add up gradients by Gemm, which is slower.
    share = (weight / total).reshape_like(row.loss)
    parameters = [graph.value(array.name) for array in arrays]
    gradients = differentiate(graph, row.loss, parameters, share)
    return gradients, graph.op("And", filled, finite)
