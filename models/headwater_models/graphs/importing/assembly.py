"""From a source and a specification to a model: parameters, replay, interface, training graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from headwater_models.graphs.builders.assembly import Built
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.importing.interface import (
    enter,
    fills,
    last_layer_input,
    leave,
)
from headwater_models.graphs.importing.mixing import ROWS
from headwater_models.graphs.importing.naming import learned, local
from headwater_models.graphs.importing.replay import Replay
from headwater_models.graphs.importing.rewrites import rewrites
from headwater_models.graphs.importing.source import Source
from headwater_models.graphs.importing.specification import ImportSpec
from headwater_models.graphs.losses import FEATURES
from headwater_models.graphs.scaling import scaling_from_ranges
from headwater_models.graphs.serialisation import encode
from headwater_models.graphs.training import derive_training, freeze
from headwater_models.manifest import Array


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """A model, and how its arrays are called in the file that it came from, by their names."""

    built: Built
    names: dict[str, str]


def import_model(
    source: Source, spec: ImportSpec, dtype: Literal["float32", "float64"] = "float32"
) -> Imported:
    """Make a model of a source.

    Parameters
    ----------
    dtype
        float64 makes the twin by which tests judge the float32 graphs.

    Raises
    ------
    BundleError
        Naming the fact of the manifest that is wrong.
    SettingsError
        When a fill or a scale is wrong.
    UnsupportedError
        Naming the node that cannot be imported or learned through, or what does not fit.
    """
    scaling = spec.scaling or scaling_from_ranges(spec.channels)
    scaling.check(spec.channels)
    spec = _with_classes(spec, source)
    spec.manifest(()).check()
    names = learned(source, spec.train)
    graph = Graph(np.dtype(dtype))
    window = graph.input("window", (ROWS, spec.window, len(spec.channels)))
    parameters = {
        key: graph.parameter(name, source.arrays[key].astype(np.float32))
        for key, name in names.items()
    }
    arrays = freeze(
        (Array(name=name, shape=source.arrays[key].shape) for key, name in names.items()),
        spec.freeze,
    )
    arrays = local(arrays, spec.local)
    empty = fills(spec, scaling)
    filled = window
    if empty is not None:
        values = graph.constant(np.array(empty, graph.dtype))
        filled = graph.op("Where", graph.op("IsNaN", window), values, window)
    trained = [array.name for array in arrays if array.trained]
    replay = Replay(graph, source, parameters, trained, rewrites())
    raw = replay.run(enter(window, filled, source.shape, spec, scaling))
    leave(raw, window, filled, spec, scaling)
    if (features := last_layer_input(raw)) is not None:
        graph.output(graph.op("Identity", features, name=FEATURES))
    manifest, infer = spec.manifest(arrays), encode(graph)
    built = Built(
        manifest=manifest,
        infer=infer,
        train=derive_training(infer, spec.loss, spec.optimiser, arrays, task=spec.task),
        weights={name: np.asarray(a, np.float32) for name, a in graph.defaults.items()},
    )
    return Imported(built, {name: key for key, name in names.items()})


def _with_classes(spec: ImportSpec, source: Source) -> ImportSpec:
    """Name the classes in the order of the file's columns, unless they are given other names."""
    if spec.task != "classification" or {*spec.classes} - {*source.classes}:
        return spec
    return msgspec.structs.replace(spec, classes=source.classes)
