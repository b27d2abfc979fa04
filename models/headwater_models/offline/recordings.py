"""The rows of a table as the records of streams, as a device would decode them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater_models.judging import has_meaning
from headwater_models.manifest import Channel, Manifest
from headwater_models.offline.times import TimeFormat, Times, read_times
from headwater_models.table import Table

Floats = NDArray[np.float32]

_LARGEST = float(np.finfo(np.float32).max)
_TRUTHS = {
    form(word): value
    for word, value in (("true", 1.0), ("false", 0.0), ("yes", 1.0), ("no", 0.0))
    for form in (str.lower, str.title, str.upper)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a person said of the columns; None: nothing. Those in ``ignore`` are left out."""

    time: str | None = None
    form: TimeFormat = "auto"
    stream: str | None = None
    group: str | None = None
    label: str | None = None
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Which columns say when, of what, and what is right; None: no column does.

    ``time`` may be several with commas between, see :mod:`.calendar`.
    """

    time: str | None = None
    form: TimeFormat = "auto"
    stream: str | None = None
    group: str | None = None
    label: str | None = None

    @property
    def columns(self) -> set[str]:
        """The columns that are no measurements."""
        said = {name for name in (self.time, self.stream, self.group, self.label) if name}
        return said | {name.strip() for name in (self.time or "").split(",") if name}


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The records of one stream in the order of their time.

    ``times`` is int64 ``[R]``; ``values`` float32 ``[R, C]``, NaN where a cell is missing or lies
    beyond its channel's range; ``doubted`` bool ``[R]`` says that one does; ``labels`` float32
    ``[R]``, NaN where there is none.
    """

    stream: str
    group: str
    times: Times
    values: Floats
    doubted: NDArray[np.bool_]
    labels: Floats


def stream_rows(table: Table, roles: Roles, names: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each stream, in the order of the table.

    Parameters
    ----------
    names
        What each row is called where no column says: ``[R]``.
    """
    column = roles.stream or roles.group
    said = map(str.strip, table.cells(column)) if column else names
    places: dict[str, list[int]] = {}
    for row, name in enumerate(said):
        places.setdefault(name, []).append(row)
    return {name: np.array(rows, np.intp) for name, rows in places.items()}


def row_times(
    table: Table, roles: Roles, streams: Mapping[str, NDArray[np.intp]], period: int
) -> Times:
    """Return when each row was measured, int64 ``[R]``.

    Where no column says, each stream's rows follow one another at the *period*.
    """
    if roles.time is not None:
        return read_times(table, roles.time, roles.form)
    times = np.empty(table.rows, np.int64)
    for rows in streams.values():
        times[rows] = period * np.arange(len(rows))
    return times


def read_recordings(
    table: Table, roles: Roles, manifest: Manifest, names: Sequence[str]
) -> list[Recording]:
    """Read the streams of a table.

    Parameters
    ----------
    manifest
        The channels with their categories and ranges, the classes, and the period.
    names
        As of :func:`stream_rows`.

    Raises
    ------
    SettingsError
        When a column is missing or a cell of it cannot be read, or a stream is in two groups.
    """
    streams = stream_rows(table, roles, names)
    times = row_times(table, roles, streams, int(manifest.grid.period))
    columns = [_channel(table, channel) for channel in manifest.channels]
    values = np.stack([read for read, _ in columns], axis=1)
    doubted = np.logical_or.reduce([beyond for _, beyond in columns])
    labels = read_labels(table, roles, manifest)
    groups = table.cells(roles.group) if roles.group else None
    found = []
    for name, rows in streams.items():
        ordered = rows[np.argsort(times[rows], kind="stable")]
        found.append(
            Recording(
                stream=name,
                group=name if groups is None else _group(name, set(groups[rows])),
                times=times[ordered],
                values=values[ordered],
                doubted=doubted[ordered],
                labels=labels[ordered],
            )
        )
    return found


def read_labels(table: Table, roles: Roles, manifest: Manifest) -> Floats:
    """Return the labels of the rows, float32 ``[R]``; NaN where there is none."""
    if roles.label is None:
        return np.full(table.rows, np.nan, np.float32)
    classes = {name: float(index) for index, name in enumerate(manifest.classes)}
    codes = _TRUTHS if manifest.task == "anomaly" else classes
    labels = table.coded(roles.label, codes).astype(np.float32)
    return np.where(has_meaning(manifest, labels), labels, np.float32(np.nan))


def _channel(table: Table, channel: Channel) -> tuple[Floats, NDArray[np.bool_]]:
    """Return a channel's column and where it lies beyond the range."""
    if channel.categories:
        indices = {name: float(index) for index, name in enumerate(channel.categories)}
        numbers = table.coded(channel.name, indices)
    else:
        numbers = table.numbers(channel.name)
    there = np.abs(numbers) <= _LARGEST
    values = np.where(there, numbers, np.nan).astype(np.float32)
    beyond = (values < np.float32(channel.minimum)) | (values > np.float32(channel.maximum))
    return np.where(beyond, np.float32(np.nan), values), beyond


def _group(stream: str, groups: set[str]) -> str:
    if len(groups) > 1:
        raise SettingsError(
            f"Stream {stream} is in {len(groups)} groups; a stream belongs to one group whole."
        )
    return groups.pop()
