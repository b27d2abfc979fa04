"""What the columns of a table are, as far as nobody said: roles, channels, task and time grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater.settings import Duration
from headwater_models.offline.recordings import Roles, Wishes, row_times, stream_rows
from headwater_models.offline.times import find_time_column, typical_period
from headwater_models.recipe import overlay
from headwater_models.table import Table

FEW = 20
"""Whole numbers of at most so many kinds are taken for classes."""

WINDOW = {"forecast": 24, "anomaly": 24}
GAP = 5
"""Periods of silence that end a window, where nobody said."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table, what it is, and why."""

    name: str
    role: str
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """What was found: roles, the specification's fields, and each column in words."""

    roles: Roles
    fields: dict[str, Any]
    columns: tuple[Column, ...]


def infer(table: Table, names: Sequence[str], wishes: Wishes, given: Mapping[str, Any]) -> Schema:
    """Complete what was said by what the table shows.

    Parameters
    ----------
    table
        All rows.
    names
        What each row's stream is called where no column says.
    wishes
        Roles of columns.
    given
        Fields of the specification that are set, by file and by options.

    Raises
    ------
    SettingsError
        When a column is not there, or nothing says when the rows were measured.
    """
    for name in filter(None, (wishes.time, wishes.stream, wishes.group, wishes.label)):
        table.cells(name)
    roles = Roles(
        time=wishes.time or find_time_column(table),
        form=wishes.form,
        stream=wishes.stream,
        group=wishes.group,
        label=wishes.label,
    )
    task = given.get("task") or _task(table, wishes.label, given)
    fields: dict[str, Any] = {
        "task": task,
        "kind": "autoencoder" if task == "anomaly" else "mlp",
        "window": WINDOW.get(task, 1),
        "channels": _channels(table, roles, names, wishes, given),
        "grid": _grid(table, roles, names, given),
    }
    period = Duration.parse(fields["grid"]["period"])
    if task == "forecast":
        fields["horizon"] = str(period)
    complete = overlay(fields, given)
    return Schema(roles, complete, tuple(_describe(table, roles, wishes, complete)))


def _task(table: Table, label: str | None, given: Mapping[str, Any]) -> str:
    if given.get("target"):
        return "forecast"
    if label is None:
        return "anomaly"
    try:
        values = table.numbers(label)
    except SettingsError:
        return "classification"
    known = values[~np.isnan(values)]
    whole = bool((known == np.round(known)).all())
    return "classification" if whole and len(np.unique(known)) <= FEW else "regression"


def _channels(
    table: Table, roles: Roles, names: Sequence[str], wishes: Wishes, given: Mapping[str, Any]
) -> list[dict[str, Any]]:
    left_out = roles.columns | set(wishes.ignore) | set(given.get("categories") or {})
    found = [
        {"name": name}
        for name in table.numeric()
        if name not in left_out and not _counts_rows(table.numbers(name), names)
    ]
    if not found and not given.get("channels") and not given.get("categories"):
        raise SettingsError(f"{table.source} has no column of numbers to learn from.")
    return found


def _counts_rows(values: NDArray[np.float64], names: Sequence[str]) -> bool:
    """Say whether a column only numbers the rows of each file."""
    same = np.array([a == b for a, b in pairwise(names)], np.bool_)
    return bool(same.any() and (np.diff(values)[same] == 1).all())


def _grid(
    table: Table, roles: Roles, names: Sequence[str], given: Mapping[str, Any]
) -> dict[str, str]:
    said = (given.get("grid") or {}).get("period")
    if said is None:
        if roles.time is None:
            raise SettingsError(
                f"{table.source}: no column says when a row was measured; name it with --time, or "
                "say with --period how far apart the rows are."
            )
        streams = stream_rows(table, roles, names)
        times = row_times(table, roles, streams, 1)
        said = str(typical_period([np.sort(times[rows]) for rows in streams.values()]))
    return {"period": said, "max_gap": str(Duration(GAP * Duration.parse(said)))}


def _describe(
    table: Table, roles: Roles, wishes: Wishes, fields: Mapping[str, Any]
) -> list[Column]:
    target = fields.get("target")
    channels = {_name(channel) for channel in fields.get("channels", ())}
    categories = set(fields.get("categories") or {})
    found = []
    for name in table.columns:
        roles_of = {
            "time": name == roles.time,
            "stream": name == roles.stream,
            "group": name == roles.group,
            "label": name == roles.label,
            "channel": name in channels | categories,
        }
        said = [role for role, true in roles_of.items() if true]
        if name == target:
            said.append("target")
        role = ", ".join(said) or "left out"
        if name == roles.time:
            cells = table.cells(name)
            found.append(Column(name, role, f"{min(cells)} to {max(cells)}"))
        else:
            found.append(Column(name, role, _detail(table, name, bool(said), wishes)))
    return found


def _detail(table: Table, name: str, used: bool, wishes: Wishes) -> str:
    try:
        values = table.numbers(name)
    except SettingsError:
        kinds = len(set(table.cells(name)))
        return f"{kinds:,} different texts" + ("" if used else "; --category takes it as names")
    known = values[~np.isnan(values)]
    if not len(known):
        return "empty"
    share = 1 - len(known) / len(values)
    missing = f", {share:.1%} missing" if share else ""
    text = f"{known.min():g} to {known.max():g}{missing}"
    if used:
        return text
    if name in wishes.ignore:
        return f"{text}; as asked"
    return f"{text}; " + ("always the same" if known.min() == known.max() else "numbers the rows")


def _name(channel: object) -> str:
    if isinstance(channel, Mapping):
        return str(channel.get("name"))
    return str(channel).partition(":")[0]
