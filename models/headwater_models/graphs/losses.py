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
    """``loss`` ``[N]`` by row, and ``known``, bool ``[N]``: whether the row has a usable label.

    A row without one has loss 0 and passes no gradient.
    """

    loss: Value
    known: Value


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
    loss = _row(prediction)
    return RowLosses(loss, loss.graph.constant(np.array(True)).expand_like(loss))


def _of_error(prediction: Value, label: Value, measure: Callable[[Value], Value]) -> RowLosses:
    """Measure ``prediction - label``, ``[N, K]``; the loss of a row is its columns' mean."""
    graph = prediction.graph
    known = graph.op("Not", graph.op("IsNaN", label))
    error = prediction - label
    if SCALE in graph.constants:
        error = error / graph.value(SCALE)
    by_column = measure(graph.op("Where", known, error, 0.0))
    single = by_column.shape[1] == 1
    loss = _row(by_column if single else by_column.mean([1]))
    return RowLosses(loss, _row(known))


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
    loss = -graph.op("Where", chosen, likelihood, 0.0).sum([1])
    return RowLosses(loss, graph.op("Greater", chosen.cast(graph.dtype).sum([1]), 0.0))


def _logits(prediction: Value) -> Value:
    """Return what the softmax that makes the prediction is taken of."""
    for node in prediction.graph.nodes:
        if node.operator == "Softmax" and node.name == prediction.name:
            return node.inputs[0]
    raise UnsupportedError(
        f"Cross-entropy needs a graph whose output {prediction.name!r} is made by Softmax; "
        "let Softmax be its last operator."
    )


def _row(value: Value) -> Value:
    """Drop the axis of the one column."""
    return value.squeeze([1])
