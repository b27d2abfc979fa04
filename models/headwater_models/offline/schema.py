"""What the columns of a table are, as far as nobody said: roles, channels, task and time grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater.settings import Duration
from headwater_models.cells import is_missing
from headwater_models.fields import overlay
from headwater_models.offline.calendar import time_columns
from headwater_models.offline.numbering import counts_rows
from headwater_models.offline.recordings import Roles, Wishes, row_times, stream_rows
from headwater_models.offline.times import find_time_column, named, typical_period
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
    _check(table, wishes)
    roles = Roles(
        time=wishes.time or find_time_column(table),
        form=wishes.form,
        stream=wishes.stream,
        group=wishes.group,
        label=wishes.label,
    )
    _check_label(table, roles)
    task = given.get("task") or _task(table, wishes.label, given)
    if wishes.label and task in ("classification", "regression"):
        _refuse_one_value(table, wishes.label)
    fields: dict[str, Any] = {
        "task": task,
        "kind": "autoencoder" if task == "anomaly" else "mlp",
        "window": WINDOW.get(task, 1),
        "channels": given.get("channels") or _channels(table, roles, names, wishes, given),
        "grid": _grid(table, roles, names, given),
    }
    period = Duration.parse(fields["grid"]["period"])
    if task == "forecast":
        fields["horizon"] = str(period)
    complete = overlay(fields, given)
    columns = _describe(table, roles, wishes, complete, chosen="channels" in given)
    return Schema(roles, complete, tuple(columns))


def _check(table: Table, wishes: Wishes) -> None:
    for name in filter(None, (wishes.stream, wishes.group, wishes.label, *wishes.ignore)):
        table.cells(name)
    if wishes.time:
        time_columns(table, wishes.time)


def _check_label(table: Table, roles: Roles) -> None:
    label = roles.label
    if label is None:
        return
    if roles.time and label in time_columns(table, roles.time):
        raise SettingsError(
            f"--label {label}: this column says when; name the column with what is right."
        )
    if all(map(is_missing, table.cells(label))):
        raise SettingsError(
            f"{table.source}: column {label} is empty; give data with labels, or leave --label out."
        )


def _refuse_one_value(table: Table, label: str) -> None:
    first = table.cells(label)[0].strip()
    if all(cell.strip() == first for cell in table.cells(label)):
        raise SettingsError(
            f"{table.source}: column {label} holds {first!r} in every row, so there is nothing to "
            "tell apart; give data in which it differs."
        )


def _task(table: Table, label: str | None, given: Mapping[str, Any]) -> str:
    if given.get("target"):
        return "forecast"
    if label is None:
        return "anomaly"
    if not table.is_numeric(label):
        if len(set(table.cells(label))) > FEW:
            table.refuse_mostly_numbers(label)
        return "classification"
    values = table.numbers(label)
    known = values[~np.isnan(values)]
    whole = bool((known == np.round(known)).all())
    return "classification" if whole and len(np.unique(known)) <= FEW else "regression"


def _channels(
    table: Table, roles: Roles, names: Sequence[str], wishes: Wishes, given: Mapping[str, Any]
) -> list[dict[str, Any]]:
    left_out = roles.columns | set(wishes.ignore) | set(given.get("categories") or {})
    order = _order(table, roles, names)
    found = [
        {"name": name}
        for name in table.numeric(left_out)
        if not counts_rows(table.numbers(name), *order)
    ]
    if not found and not given.get("categories"):
        raise SettingsError(
            f"{table.source} has no column of numbers to learn from, but "
            f"{', '.join(table.columns)}; name those that are categories with --category."
        )
    return found


def _order(
    table: Table, roles: Roles, names: Sequence[str]
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return of which stream each row is, as an index ``[R]``, and when it was measured."""
    streams = stream_rows(table, roles, names)
    index = np.empty(table.rows, np.intp)
    for at, rows in enumerate(streams.values()):
        index[rows] = at
    return index, row_times(table, roles, streams, 1)


def _grid(
    table: Table, roles: Roles, names: Sequence[str], given: Mapping[str, Any]
) -> dict[str, str]:
    said = (given.get("grid") or {}).get("period")
    if said is None:
        if roles.time is None:
            raise SettingsError(
                f"{table.source}: no column says when a row was measured{_nearly(table)}; name it "
                "with --time, or say with --period how far apart the rows are. Of several columns, "
                "say --time YEAR,MONTH,DAY,HOUR."
            )
        streams = stream_rows(table, roles, names)
        times = row_times(table, roles, streams, 1)
        said = str(typical_period([np.sort(times[rows]) for rows in streams.values()]))
    return {"period": said, "max_gap": str(Duration(GAP * Duration.parse(said)))}


def _nearly(table: Table) -> str:
    """Return what stands in a column that by its name should say when."""
    told = [f"{name} holds {table.cells(name)[0]!r}, which is no time" for name in named(table)]
    return f" ({'; '.join(told)})" if told else ""


def _describe(
    table: Table, roles: Roles, wishes: Wishes, fields: Mapping[str, Any], *, chosen: bool
) -> list[Column]:
    target = fields.get("target")
    channels = {_name(channel) for channel in fields.get("channels", ())}
    categories = set(fields.get("categories") or {})
    times = time_columns(table, roles.time) if roles.time else ()
    found = []
    for name in table.columns:
        roles_of = {
            "time": name in times,
            "stream": name == roles.stream,
            "group": name == roles.group,
            "label": name == roles.label,
            "channel": name in channels | categories,
            "target": name == target,
        }
        said = [role for role, true in roles_of.items() if true]
        detail = _span(table, name) if times == (name,) else _detail(table, name)
        if not said:
            detail += f"; {_reason(table, name, wishes, chosen=chosen)}"
        found.append(Column(name, ", ".join(said) or "left out", detail))
    return found


def _span(table: Table, name: str) -> str:
    cells = table.cells(name)
    return f"{min(cells)} to {max(cells)}"


def _detail(table: Table, name: str) -> str:
    """Return what a column holds, in words."""
    if not table.is_numeric(name):
        return f"{len(set(table.cells(name))):,} different texts"
    values = table.numbers(name)
    known = values[~np.isnan(values)]
    if not len(known):
        return "empty"
    share = 1 - len(known) / len(values)
    missing = f", {share:.1%} missing" if share else ""
    return f"{known.min():g} to {known.max():g}{missing}"


def _reason(table: Table, name: str, wishes: Wishes, *, chosen: bool) -> str:
    """Return why a column is left out."""
    if name in wishes.ignore:
        return "as asked"
    if chosen:
        return "not chosen"
    if not table.is_numeric(name):
        return "--category takes it as names"
    there = table.numbers(name)
    there = there[~np.isnan(there)]
    return "numbers the rows" if len(np.unique(there)) > 1 else "always the same"


def _name(channel: object) -> str:
    if isinstance(channel, Mapping):
        return str(channel.get("name"))
    return str(channel).partition(":")[0]
