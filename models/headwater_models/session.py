"""Running graphs: prediction and training steps. The one module that knows ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from headwater.errors import BundleError
from headwater_models.arrays import Arrays

Floats = NDArray[np.float32]
Times = NDArray[np.int64]
Bound = Callable[[Floats, Times], Floats]
"""``bound(window, time) -> prediction`` with parameters fixed."""


class Batch(Protocol):
    """Rows to learn from: window ``[N, T, C]``, time ``[N]``, label ``[N, 1]``, weight ``[N]``."""

    @property
    def window(self) -> Floats: ...  # noqa: D102

    @property
    def time(self) -> Times: ...  # noqa: D102

    @property
    def label(self) -> Floats: ...  # noqa: D102

    @property
    def weight(self) -> Floats: ...  # noqa: D102


class Predictor:
    """An inference graph, ready to run.

    Parameters
    ----------
    graph
        The bytes of ``infer.onnx``.
    threads
        Within one operator; one is fastest for small models and leaves the device to others.

    Raises
    ------
    BundleError
        When ONNX Runtime does not take the graph.
    """

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        self._session = open_session(graph, threads)
        self._inputs = {node.name: _dtype(node.type) for node in self._session.get_inputs()}
        self._dtype = self._inputs["window"]

    def run(self, window: Floats, time: Times, parameters: Mapping[str, Floats]) -> Floats:
        """Predict.

        Parameters
        ----------
        window
            ``[N, T, C]``, NaN where missing.
        time
            int64 ``[N]``, UTC milliseconds of each last row; left aside by a graph without clock.
        parameters
            By the names of the manifest's arrays.

        Returns
        -------
        numpy.ndarray
            ``[N, K]`` in natural units, or probabilities.

        Raises
        ------
        BundleError
            When shapes or names are not those of the graph.
        """
        feeds = {name: np.asarray(a, self._dtype, order="C") for name, a in parameters.items()}
        feeds["window"] = np.asarray(window, self._dtype, order="C")
        if "time" in self._inputs:
            feeds["time"] = np.asarray(time, np.int64, order="C")
        with _run_errors():
            prediction: Floats = self._session.run(["prediction"], feeds)[0]
        return prediction

    def bind(self, parameters: Mapping[str, Floats]) -> Bound:
        """Fix the parameters for many calls; they are copied once, here."""
        feeds: dict[str, Any] = {
            name: _ort_value(array, self._dtype) for name, array in parameters.items()
        }
        takes_time = "time" in self._inputs

        def predict(window: Floats, time: Times) -> Floats:
            with _run_errors():
                values = {**feeds, "window": _ort_value(window, self._dtype)}
                if takes_time:
                    values["time"] = _ort_value(time, np.dtype(np.int64))
                found = self._session.run_with_ort_values(["prediction"], values)
            prediction: Floats = found[0].numpy()
            return prediction

        return predict


class Trainer:
    """A training graph, ready to run; parameters as of :class:`Predictor`."""

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        self._session = open_session(graph, threads)
        self._inputs = {node.name: _dtype(node.type) for node in self._session.get_inputs()}
        self._dtype = self._inputs["window"]
        self._outputs = [node.name for node in self._session.get_outputs()]

    def step(
        self,
        batch: Batch,
        parameters: Mapping[str, Floats],
        state: Mapping[str, Floats],
        learning_rate: float,
    ) -> tuple[Arrays, Arrays, Floats]:
        """Take one optimiser step.

        Returns
        -------
        tuple
            New parameters, new state, and ``[N]``, the loss of each row before the step.

        Raises
        ------
        BundleError
            When shapes or names are not those of the graph.
        """
        feeds: dict[str, Any] = {
            "window": batch.window,
            "label": batch.label,
            "weight": batch.weight,
            "learning_rate": learning_rate,
            **parameters,
            **state,
        }
        if "time" in self._inputs:
            feeds["time"] = batch.time
        with _run_errors():
            typed = {
                name: np.asarray(value, self._inputs.get(name, self._dtype), order="C")
                for name, value in feeds.items()
            }
            results = self._session.run(self._outputs, typed)
        new = dict(zip(self._outputs, results, strict=True))
        return (
            {name: new[f"new.{name}"] for name in parameters},
            {name: new[f"new.{name}"] for name in state},
            new["loss"],
        )


def zero_state(shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """Return an optimiser's state at its start."""
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def open_session(graph: bytes, threads: int = 1) -> Any:
    """Open an ONNX Runtime session that is quiet and modest: no spinning, no thread pools.

    Raises
    ------
    BundleError
        When ONNX Runtime does not take the graph.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except _ORT_ERRORS as error:
        raise BundleError(f"ONNX Runtime does not take the graph: {error}.") from error


_ORT_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


@contextmanager
def _run_errors() -> Iterator[None]:
    try:
        yield
    except (*_ORT_ERRORS, ValueError) as error:
        raise BundleError(f"The graph cannot run on these arrays: {error}") from error


def _ort_value(array: NDArray[Any], dtype: np.dtype[Any]) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(np.asarray(array, dtype, order="C"))


def _dtype(kind: str) -> np.dtype[Any]:
    names = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64"}
    return np.dtype(names.get(kind, "float32"))
