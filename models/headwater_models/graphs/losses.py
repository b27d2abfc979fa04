"""The loss of each row, and which rows have a label at all.

Losses of values are taken in scaled units: the error divided by the target's scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Value

PREDICTION = "prediction"
"""The output of an inference graph."""

FEATURES = "features"
"""The output of an inference graph with what the last layer sees, ``[N, F]``."""

RELEASED = "released"
"""The output of a blend that leaves the personal part out; the fleet's arrays learn from it."""

START = "label.start"
"""The value of an inference graph, ``[N, 1]`` or ``[]``, to which scaled units are added; 0 where
it is absent."""

SCALE = "label.scale"
"""The constant of an inference graph that holds the target's scale; 1 where it is absent."""


@dataclass(frozen=True, slots=True, eq=False)
class RowLosses:
    """``loss`` ``[N, 1]`` by row, and ``unknown``, bool ``[N, 1]``: which has no usable label.

    Such a row has loss 0 and passes no gradient.
    """

    loss: Value
    unknown: Value

    def by_row(self, name: str) -> Value:
        """Return the losses as ``[N]``, under a name."""
        return self.loss.graph.op("Squeeze", self.loss, np.array([1], np.int64), name=name)


Loss = Callable[[Value, Value], RowLosses]
"""``loss(prediction, label) -> losses``, where the label is ``[N, 1]``."""


def losses(quantiles: Sequence[float] = ()) -> dict[str, Loss]:
    """Return each loss by the name it has in the manifest.

    Parameters
    ----------
    quantiles
        Those that the columns of a prediction stand for, with the loss ``quantile``.
    """
    return {
        "mse": lambda prediction, label: _of_error(prediction, label, lambda e: e * e),
        "mae": lambda prediction, label: _of_error(prediction, label, _size),
        "huber": lambda prediction, label: _of_error(prediction, label, _huber),
        "quantile": lambda p, label: _of_error(p, label, lambda e: _pinball(e, quantiles)),
        "cross_entropy": _cross_entropy,
    }


def reconstruction(prediction: Value, _: Value) -> RowLosses:
    """Return the loss of an anomaly model: its prediction, the error of its reconstruction.

    It needs no label, so every row is known.
    """
    return RowLosses(prediction, prediction.graph.constant(np.array([[False]])))


def _of_error(prediction: Value, label: Value, measure: Callable[[Value], Value]) -> RowLosses:
    """Measure ``prediction - label``, ``[N, K]``; the loss of a row is its columns' mean."""
    graph = prediction.graph
    unknown = graph.op("IsNaN", label)
    by_column = measure(graph.op("Where", unknown, 0.0, _error(prediction, label)))
    return RowLosses(by_column if by_column.shape[1] == 1 else by_column.mean([1]), unknown)


def _error(prediction: Value, label: Value) -> Value:
    """Return how far off a prediction is, in scaled units.

    Where it is ``start + scale * values`` the label is brought to the values instead: that is the
    same for every step, and the gradient need not pass through the units.
    """
    graph = prediction.graph
    if SCALE not in graph.constants:
        return prediction - label
    scale = graph.value(SCALE)
    values = _values(prediction)
    if values is None:
        return (prediction - label) / scale
    return values - (label - graph.value(START)) / scale


def _values(prediction: Value) -> Value | None:
    """Return what the prediction is made of in scaled units, if it is made so."""
    made_by = {node.name: node for node in prediction.graph.nodes}
    total = made_by.get(prediction.name)
    product = made_by.get(total.inputs[1].name) if total and total.operator == "Add" else None
    if total is None or product is None or product.operator != "Mul":
        return None
    scaled = (total.inputs[0].name, product.inputs[0].name) == (START, SCALE)
    return product.inputs[1] if scaled else None


def _size(error: Value) -> Value:
    return error.graph.op("Abs", error)


def _huber(error: Value) -> Value:
    """Quadratic up to an error of one scale, linear beyond (Huber 1964)."""
    graph, size = error.graph, _size(error)
    near = graph.op("LessOrEqual", size, 1.0)
    return graph.op("Where", near, 0.5 * error * error, size - 0.5)


def _pinball(error: Value, quantiles: Sequence[float]) -> Value:
    """Cost q for each unit too low and 1 - q for each too high (Koenker and Bassett 1978)."""
    graph = error.graph
    below = graph.constant(np.asarray(quantiles, graph.dtype))
    return graph.op("Max", (1.0 - below) * error, -(below * error))


def _cross_entropy(prediction: Value, label: Value) -> RowLosses:
    """Negative log-likelihood of the labelled class; a label that is no class is unknown."""
    graph, logits = prediction.graph, _logits(prediction)
    classes = graph.constant(np.arange(int(logits.shape[-1])).astype(graph.dtype))
    chosen = graph.op("Equal", label, classes)
    likelihood = graph.op("LogSoftmax", logits, axis=-1)
    loss = -graph.op("Where", chosen, likelihood, 0.0).sum([1], keepdims=True)
    count = chosen.cast(graph.dtype).sum([1], keepdims=True)
    return RowLosses(loss, graph.op("Equal", count, 0.0))


def _logits(prediction: Value) -> Value:
    """Return what the softmax that makes the prediction is taken of."""
    for node in prediction.graph.nodes:
        if node.operator == "Softmax" and node.name == prediction.name:
            return node.inputs[0]
    raise UnsupportedError(
        f"Cross-entropy needs a graph whose output {prediction.name!r} is made by Softmax; "
        "let Softmax be its last operator."
    )
