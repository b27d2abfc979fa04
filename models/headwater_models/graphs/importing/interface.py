"""How someone's model meets a bundle: the window it is given, and the prediction it makes."""

from __future__ import annotations

import numpy as np

from headwater.errors import SettingsError, UnsupportedError
from headwater_models.graphs.expression import Value
from headwater_models.graphs.features import last_observed
from headwater_models.graphs.importing.replay import maker
from headwater_models.graphs.importing.specification import ImportSpec, Layout
from headwater_models.graphs.losses import PREDICTION, SCALE, START
from headwater_models.graphs.scaling import Scaling
from headwater_models.graphs.tensor_types import Shape

SMALLEST = 1e-7
"""The least probability that a graph takes the logarithm of."""

_LINEAR = ("Gemm", "MatMul", "Add", "Conv", "Einsum")


def fills(spec: ImportSpec, scaling: Scaling) -> list[float] | None:
    """Return what a missing cell of each channel becomes, or None: the model copes itself.

    Raises
    ------
    SettingsError
        When a fill is none of those that :class:`ImportSpec` lists, or a channel is to be read by
        its logarithm, as only Headwater's own networks do.
    """
    if scaling.log:
        raise SettingsError(
            f"log: an imported model takes {', '.join(scaling.log)} as it is; leave log out."
        )
    values = list(scaling.mean)
    names = [channel.name for channel in spec.channels]
    for said in spec.fill:
        channel, equals, number = said.rpartition("=")
        if said == "model":
            return None
        if said == "mean":
            continue
        try:
            value = 0.0 if said == "zero" else float(number)
        except ValueError:
            value = np.nan
        if not np.isfinite(value) or (equals and channel not in names):
            raise SettingsError(
                f"fill: {said!r}: expected mean, zero, model, a number, or CHANNEL=NUMBER with one "
                f"of the channels {', '.join(names)}."
            )
        for at in [names.index(channel)] if equals else range(len(names)):
            values[at] = value
    return values


def enter(window: Value, filled: Value, shape: Shape, spec: ImportSpec, scaling: Scaling) -> Value:
    """Return the window as the model takes it.

    Parameters
    ----------
    window, filled
        ``[N, T, C]``, the second without gaps, in natural units.
    shape
        The sizes that the model declares for its input.

    Raises
    ------
    UnsupportedError
        When window and input do not fit.
    """
    x = _standardised(filled, scaling) if "input" in spec.scaled else filled
    cells = int(window.shape[1]) * int(window.shape[2])
    match _layout(shape, window.shape, spec.layout):
        case "ntc":
            return x
        case "nct":
            return x.transpose([0, 2, 1])
        case _:
            return x.graph.op("Reshape", x, np.array([0, cells], np.int64))


def _standardised(values: Value, scaling: Scaling) -> Value:
    graph = values.graph
    mean, scale = (np.array(each, graph.dtype) for each in (scaling.mean, scaling.scale))
    moved = values - graph.constant(mean, "window.mean")
    return moved / graph.constant(scale, "window.scale")


def _layout(shape: Shape, window: Shape, said: Layout | None) -> Layout:
    """Return the layout that is said or that the sizes leave no doubt of."""
    steps, channels = int(window[1]), int(window[2])
    sizes: dict[Layout, tuple[int, ...]] = {
        "ntc": (steps, channels),
        "nct": (channels, steps),
        "flat": (steps * channels,),
    }
    fitting = [
        layout
        for layout, wanted in sizes.items()
        if len(wanted) == len(shape) - 1
        and all(
            not isinstance(have, int) or have in (0, want)
            for have, want in zip(shape[1:], wanted, strict=True)
        )
    ]
    if said in fitting or (len(fitting) == 1 and said is None):
        return said or fitting[0]
    told = ", ".join(str(size or "?") for size in shape)
    if said is None and len(fitting) > 1:
        raise UnsupportedError(
            f"The model takes [{told}], which may be {' or '.join(fitting)}; say which by --layout."
        )
    raise UnsupportedError(
        f"The model takes [{told}], but the window has {steps} rows of {channels} channels: "
        f"[N, {steps}, {channels}] (ntc), [N, {channels}, {steps}] (nct) or "
        f"[N, {steps * channels}] (flat). Change --window, --channel or --layout."
    )


def leave(raw: Value, window: Value, filled: Value, spec: ImportSpec, scaling: Scaling) -> None:
    """Publish the prediction that a model's output stands for.

    Raises
    ------
    UnsupportedError
        When the output does not fit the task.
    """
    graph = raw.graph
    if spec.quantiles:
        raise UnsupportedError("quantiles: an imported model predicts one value; leave them out.")
    match spec.task:
        case "classification":
            logits = _logits(raw, spec)
            made = graph.op("Softmax", logits, axis=-1, name=PREDICTION)
        case "anomaly":
            made = _error(raw, window, filled, spec, scaling)
        case _:
            made = _natural(_column(raw, spec), window, spec, scaling)
    graph.output(made)


def _natural(raw: Value, window: Value, spec: ImportSpec, scaling: Scaling) -> Value:
    """Return the value in natural units, so made that losses know its scale."""
    graph = raw.graph
    mean, scale = scaling.label_mean, scaling.label_scale
    if spec.task == "forecast":
        at = [channel.name for channel in spec.channels].index(spec.target)
        mean, scale = scaling.mean[at], scaling.scale[at]
    width = graph.constant(scale, SCALE)
    value = width * (raw if "output" in spec.scaled else raw / scale)
    if spec.residual:
        otherwise = graph.constant(mean, "label.mean")
        last = last_observed(graph, window, at, otherwise)
        value = value + graph.op("Identity", last, name=START)
    elif "output" in spec.scaled:
        value = value + graph.constant(mean, START)
    return graph.op("Identity", value, name=PREDICTION)


def _column(raw: Value, spec: ImportSpec) -> Value:
    """Return ``[N, 1]``."""
    if not raw.shape[1:]:
        _refuse_rows(raw, spec, "[N] or [N, 1]")
        return raw.unsqueeze([1])
    if any(size != 1 for size in raw.shape[1:]):
        raise _misfit(raw, spec, "[N] or [N, 1]")
    _refuse_rows(raw, spec, "[N] or [N, 1]")
    return raw.squeeze(range(2, len(raw.shape)))


def _logits(raw: Value, spec: ImportSpec) -> Value:
    """Return ``[N, K]``, of which the softmax is the prediction."""
    graph, classes, node = raw.graph, len(spec.classes), maker(raw)
    operator = node.operator if node else ""
    if not spec.logits and operator in _LINEAR:
        raise UnsupportedError(
            f"The model's output {raw.name!r} is made by {operator} and is no probability: say "
            "--logits if a softmax (or a sigmoid) is to be taken of it, or export it with one."
        )
    if classes == 2 and all(size == 1 for size in raw.shape[1:]):
        sigmoid = node.inputs[0] if node and operator == "Sigmoid" else None
        if not spec.logits and sigmoid is None:
            raise UnsupportedError(
                f"The model's one output {raw.name!r} is made by {operator}; two classes need a "
                "sigmoid, or its argument and --logits."
            )
        column = _column(raw if spec.logits or sigmoid is None else sigmoid, spec)
        return column @ graph.constant(np.array([[0, 1]], graph.dtype))
    if len(raw.shape) != 2 or raw.shape[1] != classes:
        raise _misfit(raw, spec, f"[N, {classes}]")
    _refuse_rows(raw, spec, f"[N, {classes}]")
    if spec.logits:
        return raw
    if (
        node
        and operator in ("Softmax", "LogSoftmax")
        and node.attributes.get("axis", -1) in (1, -1)
    ):
        return node.inputs[0]
    return graph.op("Log", graph.op("Max", raw, SMALLEST))


def _error(raw: Value, window: Value, filled: Value, spec: ImportSpec, scaling: Scaling) -> Value:
    """Return the mean squared error ``[N, 1]`` of the cells that are there, in their scale."""
    graph, (_, steps, channels) = raw.graph, window.shape
    cells = int(steps) * int(channels)
    wanted = f"[N, {steps}, {channels}] or [N, {cells}]"
    shape = raw.shape[1:]
    if shape == (channels, steps) and (spec.layout == "nct" or channels != steps):
        raw = raw.transpose([0, 2, 1])
    elif shape == (cells,):
        raw = graph.op("Reshape", raw, np.array([0, steps, channels], np.int64))
    elif shape != (steps, channels):
        raise _misfit(raw, spec, wanted)
    _refuse_rows(raw, spec, wanted)
    scale = np.array(scaling.scale, graph.dtype)
    truth = _standardised(filled, scaling) if "output" in spec.scaled else filled / scale
    off = (raw if "output" in spec.scaled else raw / scale) - truth
    there = 1.0 - graph.op("IsNaN", window).cast(graph.dtype)
    squares = graph.op("Reshape", there * off * off, np.array([0, cells], np.int64))
    count = graph.op("Max", graph.op("ReduceSum", there, np.array([1, 2]), keepdims=0), 1.0)
    return graph.op("Div", squares.sum([1], keepdims=True), count.unsqueeze([1]), name=PREDICTION)


def last_layer_input(raw: Value) -> Value | None:
    """Return what the last linear layer takes, ``[N, F]``, or None where there is none such."""
    node = maker(raw)
    while node and node.operator in (
        "Add",
        "Softmax",
        "LogSoftmax",
        "Sigmoid",
        "Squeeze",
        "Reshape",
    ):
        node = maker(node.inputs[0])
    if node is None or node.operator not in ("Gemm", "MatMul"):
        return None
    x = node.inputs[0]
    return x if len(x.shape) == 2 and x.shape[0] == "N" and isinstance(x.shape[1], int) else None


def _refuse_rows(raw: Value, spec: ImportSpec, wanted: str) -> None:
    if raw.shape[:1] != ("N",):
        raise _misfit(raw, spec, wanted)


def _misfit(raw: Value, spec: ImportSpec, wanted: str) -> UnsupportedError:
    told = ", ".join(map(str, raw.shape))
    return UnsupportedError(
        f"The model gives [{told}], where the task {spec.task} needs {wanted}; "
        "choose another --output or --task, or export the model with an open number of rows N."
    )
