"""The loss of each row, and which rows have a label at all.

Losses of values are taken in scaled units: the error divided by the target's scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph, Value

PREDICTION = "prediction"
"""The output of an inference graph."""

SCALE = "label.scale"
"""The constant of an inference graph that holds the target's scale; 1 where it is absent."""


@dataclass(frozen=True, slots=True, eq=False)
class RowLosses:
    """``loss`` ``[N]`` by row, and ``known``, bool ``[N]``: whether the row has a usable label.

    A row without one has loss 0 and passes no gradient.
    """

    loss: Value
    known: Value


Loss = Callable[[Graph, Value], RowLosses]
"""``loss(graph, label) -> losses``, where the label is ``[N, 1]``."""


def losses() -> dict[str, Loss]:
    """Return each loss by the name it has in the manifest."""
    return {
        "mse": lambda graph, label: _of_error(graph, label, lambda e: e * e),
        "mae": lambda graph, label: _of_error(graph, label, lambda e: graph.op("Abs", e)),
        "huber": lambda graph, label: _of_error(graph, label, _huber),
        "cross_entropy": _cross_entropy,
    }


def _of_error(graph: Graph, label: Value, measure: Callable[[Value], Value]) -> RowLosses:
    known = graph.op("Not", graph.op("IsNaN", label))
    error = graph.value(PREDICTION) - label
    if SCALE in graph.constants:
        error = error / graph.value(SCALE)
    error = graph.op("Where", known, error, 0.0)
    return RowLosses(_row(measure(error)), _row(known))


def _huber(error: Value) -> Value:
    """Quadratic up to an error of one scale, linear beyond (Huber 1964)."""
    graph = error.graph
    size = graph.op("Abs", error)
    near = graph.op("LessOrEqual", size, 1.0)
    return graph.op("Where", near, 0.5 * error * error, size - 0.5)


def _cross_entropy(graph: Graph, label: Value) -> RowLosses:
    """Negative log-likelihood of the labelled class; a label that is no class is unknown."""
    logits = _logits(graph)
    classes = graph.constant(np.arange(int(logits.shape[-1])).astype(graph.dtype))
    chosen = graph.op("Equal", label, classes)
    likelihood = graph.op("LogSoftmax", logits, axis=-1)
    loss = -graph.op("Where", chosen, likelihood, 0.0).sum([1])
    return RowLosses(loss, graph.op("Greater", chosen.cast(graph.dtype).sum([1]), 0.0))


def _logits(graph: Graph) -> Value:
    """Return what the softmax that makes the prediction is taken of."""
    for node in graph.nodes:
        if node.operator == "Softmax" and node.name == PREDICTION:
            return node.inputs[0]
    raise UnsupportedError(
        f"Cross-entropy needs a graph whose output {PREDICTION!r} is made by Softmax; "
        "let Softmax be its last operator."
    )


def _row(value: Value) -> Value:
    """Drop the axis of the one predicted value."""
    return value.graph.op("Squeeze", value, np.array([1], np.int64))
