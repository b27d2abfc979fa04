"""Running graphs: prediction and training steps. The one module that knows ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater_models.arrays import MEMBERS, Arrays, State
from headwater_models.graphscan import refuse_external_data
from headwater_models.manifest import Manifest

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


_CANNOT_RUN = "cannot run on these arrays"
"""Said where the context manager of :meth:`OpenGraph.errors` would cost as much as an operator."""


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


class OpenGraph:
    """An open session with what it takes and gives, by name.

    Parameters
    ----------
    name
        What to call the file in an error.
    graph
        Its bytes.
    threads
        Within one operator.
    windows
        The shapes that its input ``window`` may have.
    keep
        Keep the memory of a call for the next one, which spares large ones much of their time.

    Raises
    ------
    BundleError
        When the graph is too large, not self-contained, refused by ONNX Runtime, or takes no
        window of these shapes.
    """

    def __init__(
        self,
        name: str,
        graph: bytes,
        threads: int,
        windows: Sequence[str] = ("[N, T, C]",),
        *,
        keep: bool = False,
    ) -> None:
        if len(graph) > MAX_GRAPH_BYTES:
            raise BundleError(f"{name} has {len(graph)} bytes; at most {MAX_GRAPH_BYTES} are read.")
        refuse_external_data(name, graph)
        self.name = name
        with self.errors("cannot be opened"):
            self.session = ort.InferenceSession(
                graph, _options(threads, keep), providers=["CPUExecutionProvider"]
            )
        taken = (*self.session.get_inputs(), *self.session.get_overridable_initializers())
        self.inputs = {node.name: (_dtype(node.type), node.shape) for node in taken}
        self.outputs = {
            node.name: (_dtype(node.type), node.shape) for node in self.session.get_outputs()
        }
        self.left_aside = {name for name in _OPTIONAL if name not in self.inputs}
        axes = len(self.inputs["window"][1]) if "window" in self.inputs else 0
        if axes not in [shape.count(",") + 1 for shape in windows]:
            wanted = " or ".join(windows)
            raise BundleError(f"{name} has no input `window` of shape {wanted}; build it again.")

    def run(self, feeds: Mapping[str, Any], outputs: list[str]) -> list[NDArray[Any]]:
        """Run on arrays of any dtype; what not every graph takes is left aside by the others."""
        names = feeds.keys() - self.left_aside if self.left_aside else feeds.keys()
        self.refuse_other_names(names, self.inputs.keys())
        try:
            typed = {k: np.asarray(feeds[k], v[0], order="C") for k, v in self.inputs.items()}
            found: list[NDArray[Any]] = self.session.run(outputs, typed)
        except _ORT_ERRORS as error:
            raise self.refusal(_CANNOT_RUN, error) from error
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
        """Let the runtime's errors be a user's: this graph *what*, and why."""
        try:
            yield
        except _ORT_ERRORS as error:
            raise self.refusal(what, error) from error

    def refusal(self, what: str, error: Exception) -> BundleError:
        """Return the error that says that this graph *what*."""
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
        self._graph = OpenGraph("infer.onnx", graph, threads)
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
        return Binding(self._graph, parameters)

    def _run(
        self, output: str, window: Floats, time: Times, parameters: Mapping[str, Floats]
    ) -> Floats:
        if output not in self._graph.outputs:
            raise BundleError(
                f"infer.onnx has no output `{output}`; build the bundle again with it."
            )
        return self._graph.run({**parameters, "window": window, "time": time}, [output])[0]


class Binding:
    """Parameters and buffers that stay where they are between calls with equally many rows.

    Parameters
    ----------
    graph
        An inference graph, of one model or stacked.
    parameters
        All of them, with the axis of the members in a stacked graph; they are copied.
    members
        How many there are in a stacked graph; 0 in another.

    Attributes
    ----------
    parameters
        What the next call computes with; may be changed in place.

    Raises
    ------
    BundleError
        When shapes or names are not those of the graph.
    """

    def __init__(
        self, graph: OpenGraph, parameters: Mapping[str, Floats], members: int = 0
    ) -> None:
        graph.refuse_other_names(parameters.keys(), graph.inputs.keys() - {"window", "time"})
        self._graph, self._members = graph, members
        self._binding = graph.session.io_binding()
        self._run = graph.session.run_with_iobinding
        self._takes_time = "time" in graph.inputs
        self.parameters = {
            name: np.array(array, graph.inputs[name][0], order="C")
            for name, array in parameters.items()
        }
        for name, array in self.parameters.items():
            self._refuse_other_shape(name, array)
            self._bind(self._binding.bind_input, name, array)
        self._lay_out(1)

    def __call__(self, window: Floats, time: Times) -> Floats:
        """Return a copy of the prediction; see :meth:`Predictor.run`."""
        if (window.shape, time.shape) != self._laid_out:
            self._lay_out(window.shape[-3] if window.ndim > 2 else 1)
            self._refuse_other_rows(window, time)
        self._window[...] = window
        if self._takes_time:
            self._time[...] = time
        try:
            self._run(self._binding)
        except _ORT_ERRORS as error:
            raise self._graph.refusal(_CANNOT_RUN, error) from error
        return self._prediction.copy()

    def _refuse_other_rows(self, window: Floats, time: Times) -> None:
        if (window.shape, time.shape) != self._laid_out:
            raise BundleError(
                f"{self._graph.name} takes a window {list(self._window.shape)} and time "
                f"{list(self._time.shape)}, not {list(window.shape)} and {list(time.shape)}."
            )

    def _refuse_other_shape(self, name: str, array: NDArray[Any]) -> None:
        want, have = [*self._shape(self._graph.inputs[name][1], 0)], [*array.shape]
        if have != want:
            kind = f"{array.dtype} {want}"
            raise BundleError(f"{self._graph.name}: input `{name}` is {kind}, not {have}.")

    def _lay_out(self, rows: int) -> None:
        inputs, outputs = self._graph.inputs, self._graph.outputs
        dtype, shape = inputs["window"]
        self._window = np.empty(self._shape(shape, rows), dtype)
        self._time = np.empty(self._window.shape[:-2], np.int64)
        self._laid_out = self._window.shape, self._time.shape
        self._prediction = np.empty(self._shape(outputs["prediction"][1], rows), dtype)
        self._bind(self._binding.bind_input, "window", self._window)
        if self._takes_time:
            self._bind(self._binding.bind_input, "time", self._time)
        self._bind(self._binding.bind_output, "prediction", self._prediction)

    def _shape(self, declared: Sequence[int | str | None], rows: int) -> tuple[int, ...]:
        """Return sizes for so many rows: of what is open the first is members where there are."""
        sizes = [rows if not isinstance(size, int) else size for size in declared]
        if self._members and declared[:1] == [MEMBERS]:
            sizes[0] = self._members
        return tuple(sizes)

    def _bind(self, take: Callable[..., None], name: str, array: NDArray[Any]) -> None:
        with self._graph.errors("cannot be bound"):
            bind(take, name, array)


class Trainer:
    """A training graph, ready to run; parameters and errors as of :class:`Predictor`."""

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        self._graph = OpenGraph("train.onnx", graph, threads)
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


def bind(take: Callable[..., None], name: str, array: NDArray[Any]) -> None:
    """Let a binding take an array, in C order, as an input or output: it stays where it is."""
    take(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)


def initial_state(manifest: Manifest) -> State:
    """Return what a first step starts from, the optimiser's state or statistics: zeros."""
    arrays = (*manifest.state, *manifest.statistics)
    return {array.name: np.zeros(array.shape, array.dtype) for array in arrays}


def _options(threads: int, keep: bool) -> Any:
    """Quiet and modest: no pools of idle or spinning threads, no memory kept aside unasked."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = keep
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _dtype(kind: str) -> np.dtype[Any]:
    """Read ONNX Runtime's name of a dtype, such as ``tensor(float)``."""
    names = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64"}
    if kind not in names:
        raise BundleError(f"A graph takes or gives {kind}; only float32 and int64 are supported.")
    return np.dtype(names[kind])
