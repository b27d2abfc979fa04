"""From a window to the numbers a network sees, inside the graph: scaling, gaps, names, clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.scaling import Scaling
from headwater_models.manifest import Channel

DAY_MS = 86_400_000
YEAR_MS = 31_556_952_000
"""The mean Gregorian year."""

_END = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """``values`` ``[..., F]``; ``gaps``, bool ``[F]``: columns that say 1 for a missing cell."""

    values: Value
    gaps: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A window in groups of columns, None where the model has none of the kind.

    ``measured`` ``[N, T, M]`` is scaled, with 0 (the mean) where a cell is missing; ``missing``
    ``[N, T, M]`` says 1 there. ``named`` ``[N, T, E]`` holds the embedded categories. ``clock``
    ``[N, 4]`` is that of the last row.
    """

    measured: Value | None
    missing: Value | None
    named: Value | None
    clock: Value | None

    def flat(self) -> Signal:
        """Return all in one row ``[N, F]``: what a network without a sense of order takes.

        The last row comes first, then what the earlier rows were above it: a small network
        generalises better from where a series stands and how it moved than from the same position
        said T times.
        """
        changes = _changes(self.measured) if self.measured else []
        return _join([*map(_flat, (*changes, self.named)), self.clock], _flat(self.missing))

    def sequence(self) -> Signal:
        """Return one row ``[N, T, F]`` for each time step, without the clock."""
        return _join([self.measured, self.named], self.missing)

    def present(self) -> list[Value]:
        """Return the last row and the clock, each ``[N, ...]``."""
        groups = (_flat(value and last_row(value)) for value in (self.measured, self.named))
        return [value for value in (*groups, self.clock) if value is not None]


def read_window(
    window: Value,
    time: Value | None,
    channels: Sequence[Channel],
    scaling: Scaling,
    table: Value | None,
) -> Reading:
    """Scale the window, fill its gaps with 0 (the mean), and say beside where they are.

    Parameters
    ----------
    window
        ``[N, T, C]``, NaN where missing.
    time
        int64 ``[N]``, UTC milliseconds of the last row, or None.
    table
        ``[R, W]``, for all channels with categories a row of each and one for "missing", in
        order (see :func:`table_rows`); None without such channels.
    """
    graph = window.graph
    named = [at for at, channel in enumerate(channels) if channel.categories]
    measured = [at for at, channel in enumerate(channels) if not channel.categories]
    cells = _columns(window, measured) if measured else None
    return Reading(
        measured=cells
        and _scaled(cells, [channels[at].name for at in measured], scaling, measured),
        missing=cells and graph.op("IsNaN", cells).cast(graph.dtype),
        named=table and _embedded(_columns(window, named), [channels[at] for at in named], table),
        clock=time and _clock(time),
    )


def table_rows(channels: Sequence[Channel]) -> NDArray[np.bool_]:
    """Return bool ``[R]``: the rows of the embedding table, true where one means "missing"."""
    sizes = [len(channel.categories) for channel in channels if channel.categories]
    return np.concatenate([np.zeros(0, bool), *(np.arange(size + 1) == size for size in sizes)])


def last_observed(graph: Graph, window: Value, column: int, otherwise: Value) -> Value:
    """Return ``[N, 1]``: the column's last value that is there, else *otherwise*."""
    series = graph.op("Gather", window, np.array(column, np.int64), axis=2)
    there = graph.op("Equal", series, series).cast(graph.dtype)  # NaN equals nothing
    at = graph.op("ArgMax", there, axis=1, keepdims=1, select_last_index=1)
    last = graph.op("GatherElements", series, at, axis=1)
    return graph.op("Where", graph.op("IsNaN", last), otherwise, last)


def last_row(value: Value) -> Value:
    """Return ``[N, 1, F]`` of ``[N, T, F]``."""
    return _rows(value, -1, _END)


def _scaled(cells: Value, names: Sequence[str], scaling: Scaling, at: Sequence[int]) -> Value:
    graph = cells.graph
    logarithmic = np.array([name in scaling.log for name in names])
    natural = [(scaling.mean[column], scaling.scale[column]) for column in at]
    pairs = [scaling.log.get(name, pair) for name, pair in zip(names, natural, strict=True)]
    steps = int(cells.shape[1])
    # A row for each time step: the runtime takes whole windows at once instead of row by row.
    mean, scale = np.repeat(np.array(pairs, graph.dtype).T[:, np.newaxis], steps, axis=1)
    values = cells
    if logarithmic.any():
        logarithm = graph.op("Log", 1.0 + graph.op("Relu", cells))
        values = graph.op("Where", logarithmic, logarithm, cells)
    values = (values - graph.constant(mean, "window.mean")) / graph.constant(scale, "window.scale")
    return graph.op("Where", graph.op("IsNaN", cells), 0.0, values)


def _embedded(cells: Value, channels: Sequence[Channel], table: Value) -> Value:
    """Look each cell up in the table; what names no category is missing."""
    graph = cells.graph
    sizes = np.array([len(channel.categories) for channel in channels])
    known = graph.op("And", graph.op("GreaterOrEqual", cells, 0.0), _below(cells, sizes))
    starts = np.cumsum(sizes + 1) - (sizes + 1)
    within = graph.op("Where", known, cells, sizes.astype(graph.dtype)).cast(np.int64)
    rows = graph.op("Gather", table, within + starts, axis=0)
    width = len(channels) * int(table.shape[1])
    return graph.op("Reshape", rows, np.array([0, 0, width], np.int64))


def _below(cells: Value, sizes: NDArray[np.int64]) -> Value:
    return cells.graph.op("Less", cells, sizes.astype(cells.dtype))


def _columns(window: Value, at: Sequence[int]) -> Value:
    if len(at) == window.shape[2]:
        return window
    return window.graph.op("Gather", window, np.array(at, np.int64), axis=2)


def _changes(scaled: Value) -> list[Value]:
    """Return the last row ``[N, 1, M]``, and what the earlier rows were above it."""
    if scaled.shape[1] == 1:
        return [scaled]
    last, earlier = last_row(scaled), _rows(scaled, 0, -1)
    return [last, earlier - last.expand_like(earlier)]


def _rows(value: Value, start: int, end: int) -> Value:
    cut = [np.array([at], np.int64) for at in (start, end, 1)]
    return value.graph.op("Slice", value, *cut)


def _flat(value: Value | None) -> Value | None:
    if value is None:
        return None
    width = int(value.shape[1]) * int(value.shape[2])
    return value.graph.op("Reshape", value, np.array([0, width], np.int64))


def _join(groups: Sequence[Value | None], missing: Value | None) -> Signal:
    """Put groups of columns side by side, those that tell of gaps last."""
    parts = [group for group in (*groups, missing) if group is not None]
    columns = [int(part.shape[-1]) for part in parts]
    gaps = np.repeat([part is missing for part in parts], columns)
    joined = parts[0].graph.op("Concat", *parts, axis=len(parts[0].shape) - 1)
    return Signal(joined, gaps)


def _clock(time: Value) -> Value:
    """Sine and cosine of the hour of the day and the day of the year (UTC), ``[N, 4]``."""
    graph = time.graph
    column = graph.op("Unsqueeze", time, np.array([1], np.int64))
    periods = np.array([[DAY_MS, YEAR_MS]], np.int64)
    passed = graph.op("Mod", column, periods).cast(graph.dtype)
    angle = passed * (2 * np.pi / periods).astype(graph.dtype)
    return graph.op("Concat", graph.op("Sin", angle), graph.op("Cos", angle), axis=1)
