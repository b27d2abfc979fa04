"""From a window to the numbers a network sees, inside the graph: scaling, gaps, clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.scaling import Scaling

DAY_MS = 86_400_000
YEAR_MS = 31_556_952_000
"""The mean Gregorian year."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """``values`` ``[N, F]``; the columns from ``first_gap`` on say 1 where a cell is missing."""

    values: Value
    first_gap: int


def window_features(graph: Graph, window: Value, scaling: Scaling, time: Value | None) -> Features:
    """Scale the window, fill its gaps with 0 (the mean), and say beside where they are.

    Parameters
    ----------
    window
        ``[N, T, C]``, NaN where missing.
    time
        int64 ``[N]``, UTC milliseconds of the last row, or None.

    Returns
    -------
    Features
        The last row, how each earlier row differs from it (together ``[T * C]``), the clock
        (4 columns, if *time* is given), gaps ``[T * C]``.
    """
    _, steps, channels = window.shape
    width = int(steps) * int(channels)
    missing = graph.op("IsNaN", window)
    mean = graph.constant(np.asarray(scaling.mean, graph.dtype), "window.mean")
    scale = graph.constant(np.asarray(scaling.scale, graph.dtype), "window.scale")
    scaled = graph.op("Where", missing, 0.0, (window - mean) / scale)
    clock = [] if time is None else [_clock(graph, time)]
    gaps = _flat(missing.cast(graph.dtype), width)
    values = graph.op("Concat", _flat(_changes(scaled), width), *clock, gaps, axis=1)
    return Features(values, width + 4 * len(clock))


def last_observed(graph: Graph, window: Value, column: int, otherwise: Value) -> Value:
    """Return ``[N, 1]``: the column's last value that is there, else *otherwise*."""
    series = graph.op("Gather", window, np.array(column, np.int64), axis=2)
    there = graph.op("Not", graph.op("IsNaN", series)).cast(graph.dtype)
    at = graph.op("ArgMax", there, axis=1, keepdims=1, select_last_index=1)
    last = graph.op("GatherElements", series, at, axis=1)
    return graph.op("Where", graph.op("IsNaN", last), otherwise, last)


def _changes(scaled: Value) -> Value:
    """Return ``[N, T, C]``: the last row first, then what the earlier rows were above it.

    A small network generalises better from where a series stands and how it moved than from the
    same position said T times.
    """
    graph, last_axis = scaled.graph, np.array([1], np.int64)
    cut = [np.array([at], np.int64) for at in (0, -1, np.iinfo(np.int64).max)]
    earlier = graph.op("Slice", scaled, cut[0], cut[1], last_axis)
    last = graph.op("Slice", scaled, cut[1], cut[2], last_axis)
    return graph.op("Concat", last, earlier - last, axis=1)


def _flat(value: Value, width: int) -> Value:
    return value.graph.op("Reshape", value, np.array([0, width], np.int64))


def _clock(graph: Graph, time: Value) -> Value:
    """Sine and cosine of the hour of the day and the day of the year (UTC), ``[N, 4]``."""
    column = graph.op("Unsqueeze", time, np.array([1], np.int64))
    periods = np.array([[DAY_MS, YEAR_MS]], np.int64)
    passed = graph.op("Mod", column, periods).cast(graph.dtype)
    angle = passed * (2 * np.pi / periods).astype(graph.dtype)
    return graph.op("Concat", graph.op("Sin", angle), graph.op("Cos", angle), axis=1)
