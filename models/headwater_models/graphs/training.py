"""``train.onnx`` from ``infer.onnx``: one optimiser step in plain ONNX operators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph, Shape, Value
from headwater_models.graphs.losses import RowLosses, losses
from headwater_models.graphs.optimisers import optimisers
from headwater_models.graphs.serialisation import decode, encode
from headwater_models.manifest import Array, Loss, Optimiser


def state_arrays(optimiser: Optimiser, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Return the optimiser's state for these parameters, as the manifest lists it.

    The arrays start at zero and never leave the device.
    """
    shapes: dict[str, Shape] = {array.name: array.shape for array in arrays}
    state = optimisers()[optimiser.name].state(shapes)
    return tuple(
        Array(name=name, shape=tuple(int(size) for size in shape), merge="local")
        for name, shape in state.items()
    )


def derive_training(
    infer: bytes, loss: Loss, optimiser: Optimiser, arrays: Sequence[Array]
) -> bytes:
    """Return the training graph of an inference graph.

    Inputs beside those of *infer*: ``label`` ``[N, 1]``, ``weight`` ``[N]``, the optimiser's
    state and ``learning_rate`` ``[]``. Outputs: ``new.NAME`` for each parameter and state array,
    and ``loss`` ``[N]``, each row's loss before the step. The step follows the gradient of
    ``sum(weight * loss) / sum(weight)``; a row whose label is NaN (or no class) counts with
    weight 0. Where the weights sum to 0, or the loss is not finite, nothing changes, bit for bit.

    Parameters
    ----------
    infer
        An inference graph whose parameters are inputs.
    arrays
        The parameters, in the manifest's order.

    Raises
    ------
    BundleError
        When the bytes are no ONNX graph.
    UnsupportedError
        When an operator of the graph cannot be differentiated, or a parameter is not there.
    """
    graph = decode(infer)
    graph.outputs.clear()
    parameters = [_parameter(graph, array) for array in arrays]
    rows = graph.value("window").shape[0]
    label = graph.input("label", (rows, 1))
    weight = graph.input("weight", (rows,))
    for array in state_arrays(optimiser, arrays):
        graph.input(array.name, array.shape)
    rate = graph.input("learning_rate", ())
    row = losses()[loss](graph, label)
    seed, active = _weighting(row, weight)
    gradients = differentiate(graph, row.loss, parameters, seed)
    for name, value in optimisers()[optimiser.name].step(graph, gradients, rate).items():
        kept = graph.op("Where", active, value, graph.value(name), name=f"new.{name}")
        graph.output(kept)
    graph.output(graph.op("Identity", row.loss, name="loss"))
    return encode(graph, defaults=False)


def _parameter(graph: Graph, array: Array) -> Value:
    value = graph.inputs.get(array.name)
    if value is None or value.shape != array.shape:
        raise UnsupportedError(
            f"The graph has no input {array.name!r} of shape {list(array.shape)}; "
            "make each array of the manifest an input with an initialiser of the same name."
        )
    return value


def _weighting(row: RowLosses, weight: Value) -> tuple[Value, Value]:
    """Return each row's share of the mean loss, and whether there is anything to learn from."""
    graph = weight.graph
    weight = graph.op("Where", row.known, weight, 0.0)
    total = weight.sum([0])
    filled = graph.op("Greater", total, 0.0)
    finite = graph.op("LessOrEqual", (weight * row.loss).sum([0]), float(np.finfo(graph.dtype).max))
    share = weight / graph.op("Where", filled, total, 1.0)
    return share, graph.op("And", filled, finite)
