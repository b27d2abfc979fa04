"""A head that is solved from statistics, on the features of any backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_models.arrays import Arrays
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.gathering import derive_gathering
from headwater_models.graphs.losses import FEATURES, PREDICTION, SCALE, START
from headwater_models.graphs.serialisation import decode, encode
from headwater_models.manifest import Array, Learner, Manifest
from headwater_models.statistics.naive_bayes import LOG_PRIOR, LOG_VARIANCE, MEAN
from headwater_models.statistics.ridge import BIAS, CALIBRATION, OFFSET, WEIGHT
from headwater_models.statistics.solving import check_layout, learners

LEAST_COUNT = 50
"""Fewest examples that a contribution is of, where twice the features are fewer."""

MOST_NUMBERS = 1_000_000
"""Most numbers in a contribution: 8 MB, of a thousand features, and a second to solve."""

Head = Callable[[Graph, Manifest, Mapping[str, Value]], Value]
"""``head(graph, manifest, arrays) -> raw``, before units or softmax."""


def on_backbone(
    manifest: Manifest,
    infer: bytes,
    weights: Mapping[str, NDArray[np.floating]],
    learner: Learner,
    *,
    ridge: float = 1.0,
    min_count: int | None = None,
) -> tuple[Manifest, bytes, bytes, Arrays]:
    """Put a head that is solved from statistics in the place of a model's last layer.

    What leads to the features, the backbone, is kept as it is and frozen.

    Parameters
    ----------
    manifest, infer, weights
        A model of any builder, or an imported one, whose graph gives ``features``.
    learner
        ``ridge``, or ``naive_bayes`` (classifications only).
    ridge
        Penalty of the weights; of naive Bayes how many examples its prior weighs as.
    min_count
        From how many examples on a device contributes; by default the larger of 50 and twice
        the features.

    Returns
    -------
    tuple
        Manifest, ``infer.onnx``, ``train.onnx`` and weights of the new model. It predicts what
        an untaught one does: the start of its labels, or even odds.

    Raises
    ------
    BundleError
        When the graph or a fact of the manifest is wrong.
    UnsupportedError
        When the graph gives no features of a fixed width, or the learner does not fit the task.
    """
    _refuse_misfit(manifest, learner)
    graph = _backbone(infer, weights)
    features = graph.value(FEATURES)
    width = features.shape[-1]
    if len(features.shape) != 2 or not isinstance(width, int):
        raise UnsupportedError(
            f"The output {FEATURES!r} is {list(features.shape)}; "
            "a head needs [N, F] with a fixed F."
        )
    made = msgspec.structs.replace(
        manifest,
        learner=learner,
        ridge=ridge,
        min_count=max(LEAST_COUNT, 2 * width) if min_count is None else min_count,
        state=(),
    )
    made = _with_arrays(made, graph.defaults, width)
    head = learners()[learner].head(width, made.outputs, classifies=bool(made.classes))
    arrays = {name: graph.parameter(name, value) for name, value in head.items()}
    raw = heads()[learner](graph, made, arrays)
    graph.output(_finished(graph, made, raw))
    graph.output(features)
    inferred = encode(graph)
    first = {name: np.asarray(a, np.float32) for name, a in graph.defaults.items()}
    return made, inferred, derive_gathering(inferred, made), first


def heads() -> dict[str, Head]:
    """Return what each learner's head computes, by the name it has in the manifest."""
    return {"ridge": _ridge, "naive_bayes": _naive_bayes}


def _backbone(infer: bytes, weights: Mapping[str, NDArray[np.floating]]) -> Graph:
    """Return the graph up to the features, with what says how labels are scaled."""
    whole = decode(infer)
    if FEATURES not in whole.outputs:
        raise UnsupportedError(
            f"The graph has no output {FEATURES!r}; name what its last layer sees so."
        )
    kept = [name for name in (FEATURES, START) if whole.knows(name)]
    whole.outputs = {name: whole.value(name) for name in kept if name not in whole.constants}
    used = {value.name for node in whole.needed() for value in node.inputs}
    rows = {"window", "time"}
    whole.inputs = {name: v for name, v in whole.inputs.items() if name in used | rows}
    dtype = whole.dtype
    whole.defaults = {n: np.asarray(weights[n], dtype) for n in whole.defaults if n in used}
    graph = decode(encode(whole))
    graph.outputs.clear()
    for name in (START, SCALE):
        if name in whole.constants:
            graph.constant(whole.constants[name], name)
    return graph


def _refuse_misfit(manifest: Manifest, learner: Learner) -> None:
    other = manifest.task == "anomaly" or manifest.quantiles
    if other or (learner == "naive_bayes" and not manifest.classes):
        raise UnsupportedError(
            f"learner {learner} does not fit: naive_bayes is for classifications, ridge for these, "
            "for regressions and forecasts of one value."
        )


def _with_arrays(
    manifest: Manifest, backbone: Mapping[str, NDArray[Any]], features: int
) -> Manifest:
    """Return the manifest with the arrays that its learner has on such a backbone."""
    learner, outputs = learners()[manifest.learner], manifest.outputs
    head = learner.head(features, outputs, classifies=bool(manifest.classes))
    frozen = tuple(
        Array(name=name, shape=value.shape, frozen=True) for name, value in backbone.items()
    )
    statistics = tuple(
        Array(
            name=name,
            shape=shape,
            dtype="float64",
            merge=learner.merge,
            depends_on=tuple(backbone),
        )
        for name, shape in learner.statistics(features, outputs).items()
    )
    gathered = tuple(array.name for array in statistics)
    solved = tuple(
        Array(name=name, shape=value.shape, merge="solved", depends_on=gathered)
        for name, value in head.items()
    )
    if sum(array.size for array in statistics) > MOST_NUMBERS:
        raise UnsupportedError(
            f"The backbone has {features} features; the statistics of so many are over "
            f"{MOST_NUMBERS:,} numbers. Give it fewer."
        )
    made = msgspec.structs.replace(manifest, arrays=frozen + solved, statistics=statistics)
    made.check()
    check_layout(made)
    return made


def _ridge(graph: Graph, manifest: Manifest, arrays: Mapping[str, Value]) -> Value:
    scores = graph.value(FEATURES) @ arrays[WEIGHT] + arrays[BIAS]
    return scores @ arrays[CALIBRATION] + arrays[OFFSET] if manifest.classes else scores


def _naive_bayes(graph: Graph, manifest: Manifest, arrays: Mapping[str, Value]) -> Value:
    """Return the logarithms of the classes' likelihoods, up to what they have in common."""
    del manifest
    apart = graph.value(FEATURES).unsqueeze([1]) - arrays[MEAN]
    spread = arrays[LOG_VARIANCE]
    unlikely = apart * apart * graph.op("Exp", -spread) + spread
    return arrays[LOG_PRIOR] - 0.5 * unlikely.sum([2])


def _finished(graph: Graph, manifest: Manifest, raw: Value) -> Value:
    if manifest.classes:
        return graph.op("Softmax", raw, axis=-1, name=PREDICTION)
    scaled = graph.value(SCALE) * raw if graph.knows(SCALE) else raw
    if not graph.knows(START):
        return graph.op("Identity", scaled, name=PREDICTION)
    return graph.op("Add", graph.value(START), scaled, name=PREDICTION)
