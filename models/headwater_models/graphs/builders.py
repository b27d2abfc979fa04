"""Model builders: from a specification to manifest, graphs and first weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater.settings import Duration
from headwater_models.arrays import Arrays
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.features import Features, last_observed, window_features
from headwater_models.graphs.losses import PREDICTION, SCALE
from headwater_models.graphs.scaling import Scaling, scaling_from_ranges
from headwater_models.graphs.serialisation import encode
from headwater_models.graphs.training import derive_training, state_arrays
from headwater_models.manifest import (
    Array,
    Channel,
    Grid,
    Loss,
    Manifest,
    Optimiser,
    Reserve,
    Task,
)

FEATURES = "features"
"""The second output of an inference graph: what the last layer sees, ``[N, F]``."""

Width = Annotated[int, msgspec.Meta(ge=1, le=4096)]


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to build: the facts of the manifest, and the network.

    ``linear`` has one layer and ignores ``hidden`` and ``activation``; ``mlp`` has a layer of
    each width in ``hidden`` before it. Without ``scaling`` the channels' ranges are used.
    """

    kind: Literal["linear", "mlp"]
    name: str
    task: Task
    channels: tuple[Channel, ...]
    grid: Grid
    window: int
    reserve: Reserve
    loss: Loss
    target: str = ""
    horizon: Duration = Duration(0)
    classes: tuple[str, ...] = ()
    inputs: tuple[Literal["window", "time"], ...] = ("window",)
    optimiser: Optimiser = Optimiser()
    hidden: tuple[Width, ...] = (64,)
    activation: Literal["relu", "tanh"] = "relu"
    scaling: Scaling | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A new model: manifest, the two graphs as ONNX bytes, and its first weights."""

    manifest: Manifest
    infer: bytes
    train: bytes
    weights: Arrays


def build(
    spec: ModelSpec, rng: np.random.Generator, dtype: Literal["float32", "float64"] = "float32"
) -> Built:
    """Build a model. A fresh one predicts persistence, the label's mean, or even odds.

    Parameters
    ----------
    rng
        For the first weights of hidden layers (He et al. 2015 for relu, Glorot and Bengio 2010
        for tanh); the last layer, and what the first gives to missing cells, start at zero.
    dtype
        float64 makes the twin by which tests judge the float32 graphs.

    Raises
    ------
    BundleError
        Naming the fact of the manifest that is wrong.
    UnsupportedError
        When scaling or task do not fit.
    """
    scaling = spec.scaling or scaling_from_ranges(spec.channels)
    scaling.check(len(spec.channels))
    draft = _manifest(spec, ())
    draft.check()
    graph = _inference(Graph(np.dtype(dtype)), spec, draft, scaling, rng)
    arrays = tuple(
        Array(name=name, shape=default.shape) for name, default in graph.defaults.items()
    )
    infer = encode(graph)
    return Built(
        manifest=_manifest(spec, arrays),
        infer=infer,
        train=derive_training(infer, spec.loss, spec.optimiser, arrays),
        weights={name: np.asarray(a, np.float32) for name, a in graph.defaults.items()},
    )


def _manifest(spec: ModelSpec, arrays: tuple[Array, ...]) -> Manifest:
    return Manifest(
        name=spec.name,
        task=spec.task,
        channels=spec.channels,
        grid=spec.grid,
        window=spec.window,
        target=spec.target,
        horizon=spec.horizon,
        classes=spec.classes,
        loss=spec.loss,
        baseline="majority" if spec.task == "classification" else "persistence",
        optimiser=spec.optimiser,
        reserve=spec.reserve,
        inputs=spec.inputs,
        arrays=arrays,
        state=state_arrays(spec.optimiser, arrays),
    )


def _inference(
    graph: Graph, spec: ModelSpec, manifest: Manifest, scaling: Scaling, rng: np.random.Generator
) -> Graph:
    window = graph.input("window", ("N", spec.window, len(spec.channels)))
    time = graph.input("time", ("N",), np.int64) if "time" in spec.inputs else None
    seen = window_features(graph, window, scaling, time)
    features = graph.op("Identity", _network(graph, seen, spec, rng), name=FEATURES)
    head = _dense(graph, "head", features, np.zeros((int(features.shape[1]), manifest.outputs)))
    graph.output(_prediction(graph, manifest, scaling, window, head))
    graph.output(features)
    return graph


def _prediction(
    graph: Graph, manifest: Manifest, scaling: Scaling, window: Value, head: Value
) -> Value:
    """Bring the head's output to natural units, or to probabilities."""
    match manifest.task:
        case "classification":
            return graph.op("Softmax", head, axis=-1, name=PREDICTION)
        case "forecast":
            column = manifest.target_index
            scale = scaling.scale[column]
            mean = graph.constant(scaling.mean[column], "label.mean")
            start = last_observed(graph, window, column, mean)
        case "regression":
            scale = scaling.label_scale
            start = graph.constant(scaling.label_mean, "label.mean")
        case task:
            raise UnsupportedError(
                f"task {task}: linear and mlp are for forecast, regression and classification."
            )
    return graph.op("Add", start, graph.constant(scale, SCALE) * head, name=PREDICTION)


def _network(graph: Graph, seen: Features, spec: ModelSpec, rng: np.random.Generator) -> Value:
    """Hidden layers: what the head sees, ``[N, F]``."""
    value, inputs = seen.values, seen.first_gap
    for number, width in enumerate(spec.hidden if spec.kind == "mlp" else (), start=1):
        first = _first_weight(rng, spec.activation, (inputs, width))
        weight = np.zeros((int(value.shape[1]), width))
        weight[:inputs] = first
        hidden = _dense(graph, f"hidden.{number}", value, weight)
        value = graph.op("Relu" if spec.activation == "relu" else "Tanh", hidden)
        inputs = width
    return value


def _dense(graph: Graph, name: str, value: Value, weight: NDArray[np.float64]) -> Value:
    first = weight.astype(np.float32)
    bias = graph.parameter(f"{name}.bias", np.zeros(weight.shape[1]))
    return value @ graph.parameter(f"{name}.weight", first) + bias


def _first_weight(
    rng: np.random.Generator, activation: str, shape: tuple[int, int]
) -> NDArray[np.float64]:
    if activation == "relu":
        return rng.normal(0.0, math.sqrt(2 / shape[0]), shape)
    bound = math.sqrt(6 / sum(shape))
    return rng.uniform(-bound, bound, shape)
