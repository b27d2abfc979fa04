"""From a specification to a model: reading, network, head, and what they add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders.anomaly import decode, reconstruction_error
from headwater_models.graphs.builders.heads import local_arrays, natural_units, predict
from headwater_models.graphs.builders.layers import Layers
from headwater_models.graphs.builders.networks import networks
from headwater_models.graphs.builders.solved import on_backbone
from headwater_models.graphs.builders.specification import ModelSpec
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.features import read_window, table_rows
from headwater_models.graphs.losses import FEATURES
from headwater_models.graphs.scaling import Scaling, scaling_from_ranges
from headwater_models.graphs.serialisation import encode
from headwater_models.graphs.stack import stack_inference
from headwater_models.graphs.training import derive_training, freeze
from headwater_models.manifest import Array, Channel, Manifest


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A new model: manifest, the two graphs as ONNX bytes, and its first weights."""

    manifest: Manifest
    infer: bytes
    train: bytes
    weights: Arrays

    def bundle(self, facts: Mapping[str, Any] = MappingProxyType({})) -> Bundle:
        """Return it as a bundle, with the graph of many members where its operators allow that.

        Parameters
        ----------
        facts
            How it came to be.
        """
        return Bundle(
            manifest=self.manifest,
            infer=self.infer,
            train=self.train,
            stacked=stack_inference(self.infer, self.manifest),
            weights=self.weights,
            facts=dict(facts),
        )


def build(
    spec: ModelSpec, rng: np.random.Generator, dtype: Literal["float32", "float64"] = "float32"
) -> Built:
    """Build a model.

    A fresh one predicts persistence, the label's mean, or even odds; as an anomaly it scores the
    distance from the mean.

    Parameters
    ----------
    rng
        For the first weights; the last layer, and what the first gives to missing cells, start
        at zero.
    dtype
        float64 makes the twin by which tests judge the float32 graphs.

    Raises
    ------
    BundleError
        Naming the fact of the manifest that is wrong.
    UnsupportedError
        When scaling, task, kind or patterns do not fit.
    """
    scaling = spec.scaling or scaling_from_ranges(spec.channels)
    scaling.check(spec.channels)
    draft = spec.manifest(())
    draft.check()
    _check(spec)
    graph = _inference(Graph(np.dtype(dtype)), spec, draft, scaling, rng)
    arrays = _arrays(spec, graph)
    manifest, infer = spec.manifest(arrays), encode(graph)
    if spec.learner != "gradient":
        solved = on_backbone(
            manifest,
            infer,
            graph.defaults,
            spec.learner,
            ridge=spec.ridge,
            min_count=spec.min_count,
        )
        return Built(*solved)
    return Built(
        manifest=manifest,
        infer=infer,
        train=derive_training(
            infer, spec.loss, spec.optimiser, arrays, quantiles=spec.quantiles, task=spec.task
        ),
        weights={name: np.asarray(a, np.float32) for name, a in graph.defaults.items()},
    )


def _check(spec: ModelSpec) -> None:
    if (spec.kind == "autoencoder") != (spec.task == "anomaly"):
        raise UnsupportedError(
            f"kind {spec.kind} and task {spec.task} do not fit: "
            "an autoencoder is for anomalies, and anomalies are for an autoencoder."
        )
    if spec.learner != "gradient" and spec.personal != "none":
        raise UnsupportedError(
            f"personal {spec.personal} is for the learner gradient; with {spec.learner} a device "
            "solves a personal head from its own statistics."
        )
    if spec.kind not in ("linear", "mlp") and not spec.hidden:
        raise UnsupportedError(f"hidden: {spec.kind} needs at least one hidden layer.")


def _arrays(spec: ModelSpec, graph: Graph) -> tuple[Array, ...]:
    local = local_arrays(spec)
    arrays = (
        Array(name=name, shape=default.shape, merge="local" if name in local else "mean")
        for name, default in graph.defaults.items()
    )
    return freeze(arrays, spec.freeze)


def _inference(
    graph: Graph, spec: ModelSpec, manifest: Manifest, scaling: Scaling, rng: np.random.Generator
) -> Graph:
    window = graph.input("window", ("N", spec.window, len(spec.channels)))
    time = graph.input("time", ("N",), np.int64) if "time" in spec.inputs else None
    layers = Layers(graph, rng, spec.activation, spec.normalise == "layer")
    table = _embedding(layers, spec.channels, spec.embedding)
    reading = read_window(window, time, spec.channels, scaling, table)
    features = graph.op("Identity", networks()[spec.kind](layers, reading, spec), name=FEATURES)
    if spec.task == "anomaly":
        seen, (width, finish) = decode(layers, features, spec), reconstruction_error(reading)
    else:
        seen, width = features, manifest.outputs
        finish = natural_units(graph, manifest, scaling, window)
    for output in (*predict(layers, seen, finish, spec, width), features):
        graph.output(output)
    return graph


def _embedding(layers: Layers, channels: tuple[Channel, ...], width: int) -> Value | None:
    """Declare the table of the categories; what is missing starts as zeros."""
    missing = table_rows(channels)
    if not len(missing):
        return None
    table = layers.rng.normal(size=(len(missing), width))
    table[missing] = 0.0
    return layers.parameter("embedding", table)
