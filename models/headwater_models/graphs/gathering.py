"""``train.onnx`` of a model that learns from statistics: one batch is added to what was gathered.

Sums and moments are float64, whatever the backbone computes in. What a row adds depends on the
backbone and on the row's label alone, never on the head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.losses import FEATURES, PREDICTION, SCALE, START, losses
from headwater_models.graphs.serialisation import decode, encode
from headwater_models.manifest import Manifest
from headwater_models.statistics.naive_bayes import MOMENTS
from headwater_models.statistics.ridge import CROSS, GRAM, SQUARE


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A batch in float64: ``features`` ``[N, F]``, ``target`` ``[N, K]``, ``weight`` ``[N, 1]``.

    The features of a row that adds nothing are 0, and so is its weight.
    """

    features: Value
    target: Value
    weight: Value


Gather = Callable[[Graph, Rows], dict[str, Value]]
"""``gather(graph, rows) -> statistics``, where the graph has the earlier ones as inputs."""


def derive_gathering(infer: bytes, manifest: Manifest) -> bytes:
    """Return the graph that gathers statistics for an inference graph.

    Inputs beside those of *infer*: ``label`` ``[N, 1]``, ``weight`` ``[N]``, and each statistic,
    float64. Outputs: ``new.NAME`` for each statistic, and ``loss`` ``[N]``, each row's loss by
    the head as it is. A row whose label is NaN or no class, whose weight is not above 0, or
    whose features are not finite adds nothing; where no row adds anything, nothing changes, bit
    for bit.

    Parameters
    ----------
    infer
        With the outputs ``prediction`` and ``features``; its parameters are inputs.

    Raises
    ------
    BundleError
        When the bytes are no ONNX graph.
    UnsupportedError
        When the prediction is not made as the loss needs it.
    """
    graph = decode(infer)
    graph.outputs.clear()
    count = graph.value("window").shape[0]
    label, weight = graph.input("label", (count, 1)), graph.input("weight", (count,))
    for array in manifest.statistics:
        graph.input(array.name, array.shape, np.float64)
    row = losses()[manifest.loss](graph.value(PREDICTION), label)
    weighed = graph.op("Where", row.unknown.squeeze([1]), 0.0, weight)
    rows = _rows(graph, manifest, label, weighed)
    anything = graph.op("Greater", rows.weight.sum([0, 1]), 0.0)
    gathered = gatherers()[manifest.learner](graph, rows)
    for name, value in gathered.items():
        graph.output(graph.op("Where", anything, value, graph.value(name), name=f"new.{name}"))
    graph.output(row.by_row("loss"))
    return encode(graph, defaults=False)


def gatherers() -> dict[str, Gather]:
    """Return how each learner gathers, by the name it has in the manifest."""
    return {"ridge": _sums, "naive_bayes": _moments}


def _rows(graph: Graph, manifest: Manifest, label: Value, weight: Value) -> Rows:
    features = graph.value(FEATURES)
    finite = graph.op("Equal", (features - features).sum([1]), 0.0)
    counted = graph.op("And", finite, graph.op("Greater", weight, 0.0))
    counted = graph.op("And", counted, graph.op("LessOrEqual", weight, _most(graph)))
    column = counted.unsqueeze([1])
    return Rows(
        graph.op("Where", column, features, 0.0).cast(np.float64),
        graph.op("Where", column, _target(graph, manifest, label), 0.0),
        graph.op("Where", column, weight.unsqueeze([1]), 0.0).cast(np.float64),
    )


def _target(graph: Graph, manifest: Manifest, label: Value) -> Value:
    """Return ``[N, K]``: a column for each class, or the label in scaled units from its start."""
    if manifest.classes:
        classes = graph.constant(np.arange(len(manifest.classes)).astype(graph.dtype))
        return graph.op("Equal", label, classes).cast(np.float64)
    target = label.cast(np.float64)
    if graph.knows(START):
        target = target - graph.value(START).cast(np.float64)
    return target / graph.value(SCALE).cast(np.float64) if graph.knows(SCALE) else target


def _most(graph: Graph) -> float:
    return float(np.finfo(graph.dtype).max)


def _sums(graph: Graph, rows: Rows) -> dict[str, Value]:
    """Add to the sums of :mod:`headwater_models.statistics.ridge`."""
    one = np.array([0, 0, 0, 1], np.int64)
    row = graph.op("Pad", rows.features, one, graph.constant(np.array(1.0)))
    weighted = (row * rows.weight).transpose([1, 0])
    squares = rows.weight * rows.target * rows.target
    return {
        GRAM: graph.value(GRAM) + weighted @ row,
        CROSS: graph.value(CROSS) + weighted @ rows.target,
        SQUARE: graph.value(SQUARE) + squares.sum([0]),
    }


def _moments(graph: Graph, rows: Rows) -> dict[str, Value]:
    """Merge the batch's moments into the earlier ones, as :func:`.moments.merge_moments` does."""
    member = rows.target * rows.weight
    count = member.sum([0]).unsqueeze([1])
    share = member.transpose([1, 0])
    mean = share @ rows.features / graph.op("Where", graph.op("Greater", count, 0.0), count, 1.0)
    deviation = rows.features - rows.target @ mean
    m2 = share @ (deviation * deviation)
    before, ours, our_m2 = (
        graph.op("Gather", graph.value(MOMENTS), np.array(at, np.int64), axis=0) for at in range(3)
    )
    together = before + count
    part = count / graph.op("Where", graph.op("Greater", together, 0.0), together, 1.0)
    apart = mean - ours
    merged = (together, ours + apart * part, our_m2 + m2 + apart * apart * (before * part))
    stacked = graph.op("Concat", *(value.unsqueeze([0]) for value in merged), axis=0)
    unseen = graph.op("Equal", count, 0.0)
    return {MOMENTS: graph.op("Where", unseen, graph.value(MOMENTS), stacked)}
