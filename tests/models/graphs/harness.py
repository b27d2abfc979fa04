"""Runs graphs on arrays and differentiates them numerically, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.serialisation import encode
from tests.models.graphs.reference import reference

Arrays = Mapping[str, NDArray[Any]]


def runner(graph: bytes) -> Callable[[Arrays], dict[str, NDArray[Any]]]:
    """Return a function from inputs to outputs, by name."""
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


def exact_runner(graph: bytes) -> Callable[[Arrays], dict[str, NDArray[Any]]]:
    """Return the function of a float64 graph, whether or not the runtime has all its operators."""
    try:
        return runner(graph)
    except ort_errors.NotImplemented:
        return reference(graph)


def evaluate(value: Value, feeds: Arrays | None = None) -> NDArray[Any]:
    """Run a graph for one of its values."""
    value.graph.output(value)
    return runner(encode(value.graph))(feeds or {})[value.name]


def numeric_gradient(
    function: Callable[[Arrays], float], arrays: Arrays, name: str, step: float = 1e-5
) -> NDArray[np.float64]:
    """Differentiate by central differences with respect to each element of one array."""
    gradient = np.zeros(arrays[name].shape)
    for index in np.ndindex(gradient.shape):
        ends = []
        for sign in (1, -1):
            moved = arrays[name].copy()
            moved[index] += sign * step
            ends.append(function({**arrays, name: moved}))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def parameters(graph: Graph, arrays: Arrays) -> dict[str, Value]:
    """Declare arrays as parameters."""
    return {name: graph.parameter(name, array) for name, array in arrays.items()}
