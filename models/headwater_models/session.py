"""Running graphs: prediction and training steps. The one module that knows ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater_models.arrays import Arrays, State
from headwater_models.graphscan import refuse_external_data
from headwater_models.manifest import Manifest
from headwater_models.statistics.solving import check_layout

# From 1.29 on ONNX Runtime reports models, by name and hash, and the machine to its makers unless
# it is told not to before it is loaded. No byte leaves a device that is not in its ledger.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

MAX_GRAPH_BYTES = 64 * 2**20
"""Largest graph that is opened at all."""

Floats = NDArray[np.float32]
Times = NDArray[np.int64]
Bound = Callable[[Floats, Times], Floats]
"""``bound(window, time) -> prediction`` with parameters fixed."""

_OPTIONAL = ("time", "learning_rate")
"""A graph without clock has no time, one that gathers statistics no learning rate."""

_ORT_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)


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


class _Graph:
    """An open session with what it takes and gives, by name."""

    def __init__(self, name: str, graph: bytes, threads: int) -> None:
        if len(graph) > MAX_GRAPH_BYTES:
            raise BundleError(f"{name} has {len(graph)} bytes; at most {MAX_GRAPH_BYTES} are read.")
        refuse_external_data(name, graph)
        self.name = name
        with self.errors("cannot be opened"):
            self.session = ort.InferenceSession(
                graph, _options(threads), providers=["CPUExecutionProvider"]
            )
        defaulted = self.session.get_overridable_initializers()
        taken = (*self.session.get_inputs(), *defaulted)
        self.defaulted = {node.name for node in defaulted}
        self.inputs = {node.name: (_dtype(node.type), node.shape) for node in taken}
        self.outputs = {
            node.name: (_dtype(node.type), node.shape) for node in self.session.get_outputs()
        }
        self.left_aside = {name for name in _OPTIONAL if name not in self.inputs}
        if "window" not in self.inputs or len(self.inputs["window"][1]) != 3:
            raise BundleError(f"{name} has no input `window` of shape [N, T, C]; build it again.")

    def run(self, feeds: Mapping[str, Any], outputs: list[str]) -> list[NDArray[Any]]:
        """Run on arrays of any dtype; what not every graph takes is left aside by the others."""
        names = feeds.keys() - self.left_aside if self.left_aside else feeds.keys()
        self.refuse_other_names(names, self.inputs.keys())
        try:
            typed = {k: np.asarray(feeds[k], v[0], order="C") for k, v in self.inputs.items()}
            found: list[NDArray[Any]] = self.session.run(outputs, typed)
        except _ORT_ERRORS as error:  # a context manager would cost as much as a small operator
            raise self.refusal("cannot run on these arrays", error) from error
        return found

    def refuse_other_names(self, have: AbstractSet[str], want: AbstractSet[str]) -> None:
        """Make sure that no parameter silently keeps its default, and none is for another model."""
        if have != want:
            raise BundleError(
                f"{self.name} cannot run on these arrays: missing {sorted(want - have)}, "
                f"unknown {sorted(have - want)}. Use the arrays of the same model."
            )

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except _ORT_ERRORS as error:
            raise self.refusal(what, error) from error

    def refusal(self, what: str, error: Exception) -> BundleError:
        return BundleError(f"{self.name} {what}: {error}")


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
        When the graph is too large, not self-contained, or refused by ONNX Runtime.
    """

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        self._graph = _Graph("infer.onnx", graph, threads)
        if "prediction" not in self._graph.outputs:
            raise BundleError("infer.onnx has no output `prediction`; build it again.")

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
        return self._run("prediction", window, time, parameters)

    def features(self, window: Floats, time: Times, parameters: Mapping[str, Floats]) -> Floats:
        """Return what the last layer sees, ``[N, F]``, for a learner on top of this backbone.

        Parameters and errors as of :meth:`run`.
        """
        return self._run("features", window, time, parameters)

    def released(self, window: Floats, time: Times, parameters: Mapping[str, Floats]) -> Floats:
        """Return the prediction ``[N, K]`` without the personal part of a blend.

        Parameters and errors as of :meth:`run`.
        """
        return self._run("released", window, time, parameters)

    @property
    def blends(self) -> bool:
        """Whether the prediction is the released one and a personal part."""
        return "released" in self._graph.outputs

    def bind(self, parameters: Mapping[str, Floats]) -> Bound:
        """Fix the parameters (they are copied) for many calls by one thread at a time."""
        return _Binding(self._graph, parameters)

    def _run(
        self, output: str, window: Floats, time: Times, parameters: Mapping[str, Floats]
    ) -> Floats:
        if output not in self._graph.outputs:
            raise BundleError(
                f"infer.onnx has no output `{output}`; build the bundle again with it."
            )
        return self._graph.run({**parameters, "window": window, "time": time}, [output])[0]


class _Binding:
    """Parameters and buffers that stay where they are between calls with equally many rows."""

    def __init__(self, graph: _Graph, parameters: Mapping[str, Floats]) -> None:
        graph.refuse_other_names(parameters.keys(), graph.defaulted)
        self._graph = graph
        self._binding = graph.session.io_binding()
        self._parameters = {
            name: np.array(array, graph.inputs[name][0], order="C")
            for name, array in parameters.items()
        }
        for name, array in self._parameters.items():
            self._refuse_other_shape(name, array)
            self._bind(self._binding.bind_input, name, array)
        self._lay_out(1)

    def __call__(self, window: Floats, time: Times) -> Floats:
        if len(window) != len(self._window):
            self._lay_out(len(window))
        if window.shape != self._window.shape or time.shape != self._time.shape:
            raise BundleError(
                f"infer.onnx takes a window {list(self._window.shape)} and time "
                f"{list(self._time.shape)}, not {list(window.shape)} and {list(time.shape)}."
            )
        self._window[...] = window
        self._time[...] = time
        with self._graph.errors("cannot run on these arrays"):
            self._graph.session.run_with_iobinding(self._binding)
        return self._prediction.copy()

    def _refuse_other_shape(self, name: str, array: NDArray[Any]) -> None:
        want, have = _describe(*self._graph.inputs[name]), _describe(array.dtype, [*array.shape])
        if have != want:
            raise BundleError(f"{self._graph.name}: input `{name}` is {want}, not {have}.")

    def _lay_out(self, rows: int) -> None:
        inputs, outputs = self._graph.inputs, self._graph.outputs
        dtype, shape = inputs["window"]
        self._window = np.empty((rows, *shape[1:]), dtype)
        self._time = np.empty(rows, np.int64)
        self._prediction = np.empty((rows, *outputs["prediction"][1][1:]), dtype)
        self._bind(self._binding.bind_input, "window", self._window)
        if "time" in inputs:
            self._bind(self._binding.bind_input, "time", self._time)
        self._bind(self._binding.bind_output, "prediction", self._prediction)

    def _bind(self, bind: Callable[..., None], name: str, array: NDArray[Any]) -> None:
        with self._graph.errors("cannot be bound"):
            bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)


class Trainer:
    """A training graph, ready to run; parameters and errors as of :class:`Predictor`."""

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        self._graph = _Graph("train.onnx", graph, threads)
        self._outputs = list(self._graph.outputs)

    def step(
        self,
        batch: Batch,
        parameters: Mapping[str, Floats],
        state: Mapping[str, NDArray[Any]],
        learning_rate: float,
    ) -> tuple[Arrays, State, Floats]:
        """Take one optimiser step, or gather the statistics of one batch.

        Parameters
        ----------
        state
            The optimiser's, float32; or the statistics so far, float64.
        learning_rate
            Left aside where statistics are gathered.

        Returns
        -------
        tuple
            New parameters, new state, and ``[N]``, the loss of each row before the step. To
            gather leaves the parameters as they are.

        Raises
        ------
        BundleError
            When shapes or names are not those of the graph.
        """
        rows = {name: getattr(batch, name) for name in ("window", "time", "label", "weight")}
        feeds = {**rows, "learning_rate": learning_rate, **parameters, **state}
        new = dict(zip(self._outputs, self._graph.run(feeds, self._outputs), strict=True))
        return (
            {name: new.get(f"new.{name}", value) for name, value in parameters.items()},
            {name: new[f"new.{name}"] for name in state},
            new["loss"],
        )


def initial_state(manifest: Manifest) -> State:
    """Return what a first step starts from, the optimiser's state or statistics: zeros."""
    arrays = (*manifest.state, *manifest.statistics)
    return {array.name: np.zeros(array.shape, array.dtype) for array in arrays}


def check_graphs(manifest: Manifest, infer: bytes, train: bytes) -> None:
    """Refuse graphs whose inputs and outputs are not those that the manifest promises.

    An inference graph may also give ``features``, float32 ``[N, F]``, and ``released``, the
    prediction without the arrays that stay on the device. Needs no ``onnx``;
    :mod:`headwater_models.graphs.inspect` looks at the operators too.

    Raises
    ------
    BundleError
        Naming the file, the tensor, what it is and what it should be.
    """
    check_layout(manifest)
    rows = {"window": f"float32 [N, {manifest.window}, {len(manifest.channels)}]"}
    if "time" in manifest.inputs:
        rows["time"] = "int64 [N]"
    arrays = {a.name: f"float32 {list(a.shape)}" for a in manifest.arrays}
    kept = (*manifest.state, *manifest.statistics)
    state = {a.name: f"{a.dtype} {list(a.shape)}" for a in kept}
    step = {"label": "float32 [N, 1]", "weight": "float32 [N]"}
    moved = state
    if not manifest.statistics:
        step, moved = step | {"learning_rate": "float32 []"}, arrays | state
    new = {f"new.{name}": kind for name, kind in moved.items()}
    inference = _Graph("infer.onnx", infer, 1)
    predicted = f"float32 [N, {manifest.outputs}]"
    optional = {"released": predicted, "features": _features(inference)}
    given = {name: kind for name, kind in optional.items() if name in inference.outputs}
    _check_graph(inference, rows | arrays, given | {"prediction": predicted})
    inputs, outputs = rows | arrays | state | step, new | {"loss": "float32 [N]"}
    _check_graph(_Graph("train.onnx", train, 1), inputs, outputs)


def _features(graph: _Graph) -> str:
    """Return how features must be declared: of any fixed width."""
    _, shape = graph.outputs.get("features", (None, []))
    return f"float32 [N, {shape[-1] if shape and isinstance(shape[-1], int) else 'F'}]"


def _check_graph(graph: _Graph, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    for role, wanted, found in (
        ("input", inputs, graph.inputs),
        ("output", outputs, graph.outputs),
    ):
        for name in sorted(wanted.keys() | found.keys()):
            have = _describe(*found[name]) if name in found else "missing"
            want = wanted.get(name, "none of that name")
            if have != want:
                raise BundleError(
                    f"{graph.name}: {role} `{name}` is {have}, where the manifest has {want}. "
                    "Build the bundle again."
                )


def _describe(dtype: np.dtype[Any], shape: list[int | str | None]) -> str:
    sizes = ", ".join(str(size) if isinstance(size, int) else "N" for size in shape)
    return f"{dtype} [{sizes}]"


def _options(threads: int) -> Any:
    """Quiet and modest: no pools of idle or spinning threads."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _dtype(kind: str) -> np.dtype[Any]:
    """Read ONNX Runtime's name of a dtype, such as ``tensor(float)``."""
    names = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64"}
    if kind not in names:
        raise BundleError(f"A graph takes or gives {kind}; only float32 and int64 are supported.")
    return np.dtype(names[kind])
