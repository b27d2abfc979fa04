"""From a TOML file, flags and data to the specification of a new model.

What is given stands: flags over the file, the file over what the data show, and those over the
defaults. The result is complete, so the model follows from it, the seed and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater.settings import Duration, convert
from headwater_models.fields import given_fields
from headwater_models.graphs.builders.specification import ModelFacts, ModelSpec
from headwater_models.graphs.scaling import scaling_from_ranges, scaling_from_rows
from headwater_models.options import explained
from headwater_models.table import Table

EMBARGOES = 4
"""A reserved block is by default this many times as long as the embargo on each of its sides."""

Spec = TypeVar("Spec", bound=ModelFacts)

_LOSSES = {
    "forecast": "mae",
    "regression": "mse",
    "classification": "cross_entropy",
    "anomaly": "mse",
}


class _Reading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How channels are read, said beside them."""

    log: tuple[str, ...] = ()
    categories: dict[str, tuple[str, ...]] = {}


def specify(
    flags: Mapping[str, Any],
    *,
    file: Path | None = None,
    data: Table | None = None,
    label: str | None = None,
) -> ModelSpec:
    """Put the specification of ``headwater model new`` together; see :func:`complete`."""
    source = str(file) if file else "headwater model new"
    return complete(ModelSpec, flags, source, file=file, data=data, label=label)


def check(flags: Mapping[str, Any], file: Path | None) -> None:
    """Refuse what :func:`specify` would, as far as it does not depend on the data."""
    given_fields(ModelSpec, flags, str(file) if file else "headwater model new", file)


def complete(
    form: type[Spec],
    flags: Mapping[str, Any],
    source: str,
    *,
    file: Path | None = None,
    data: Table | None = None,
    label: str | None = None,
) -> Spec:
    """Put a specification together.

    Parameters
    ----------
    form
        What is specified: the facts of a model, and what is said beside them.
    flags
        Fields of *form* as a nested mapping; None stands for "not given". A channel may be a
        mapping or a text (see :func:`.parse_channel`). Two fields more: ``log`` names the
        channels that are read by their logarithm, and ``categories`` gives by channel its
        categories, or none for those of the data (also as texts, see :func:`.parse_categories`).
    source
        What to call it in an error.
    file
        A TOML file with the same fields.
    data
        Where ranges and scales come from, and the channels where none are given.
    label
        The column of *data* that a regression or a classification predicts.

    Raises
    ------
    SettingsError
        Naming each key that is missing or wrong.
    StorageError
        When the file cannot be read.
    """
    raw = given_fields(form, flags, source, file)
    given = {key: raw.pop(key) for key in _Reading.__struct_fields__ if key in raw}
    reading = convert(given, _Reading, source=source)
    if data is not None and not raw.get("channels"):
        unread = {*reading.categories, *([label] if label else [])}
        raw["channels"] = [{"name": name} for name in data.numeric(unread)]
    if _are_mappings(raw.get("channels")):
        _name_categories(raw["channels"], reading.categories, data)
        _bound(raw["channels"], data)
    if data and label and raw.get("task") == "classification" and not raw.get("classes"):
        raw["classes"] = data.classes(label)
    _fill_in(raw)
    try:
        spec = convert(raw, form, source=source)
    except SettingsError as error:
        raise explained(error, source, form, raw) from error
    return _scaled(spec, data, label, reading.log)


def _name_categories(
    channels: list[dict[str, Any]], categories: Mapping[str, tuple[str, ...]], data: Table | None
) -> None:
    """Give channels the categories that are said beside them, and add those not there yet."""
    for name, said in categories.items():
        if not said and data is None:
            raise SettingsError(f"categories: {name}: name them, or give data that show them.")
        channel = next((c for c in channels if c.get("name") == name), None)
        if channel is None:
            channels.append(channel := {"name": name})
        channel["categories"] = list(said) or (data.classes(name) if data else [])


def _bound(channels: list[dict[str, Any]], data: Table | None) -> None:
    """Complete ranges: by the number of categories, or by what the data show."""
    for channel in channels:
        if isinstance(names := channel.get("categories"), list) and names:
            if len(set(map(str, names))) < max(2, len(names)):
                raise SettingsError(
                    f"channel {channel.get('name')}: its categories must be at least two, all "
                    f"different, not {', '.join(map(str, names))}."
                )
            channel.setdefault("minimum", 0)
            channel.setdefault("maximum", len(names) - 1)
        elif data and "name" in channel and not channel.keys() >= {"minimum", "maximum"}:
            low, high = data.reach(channel["name"])
            channel.setdefault("minimum", low)
            channel.setdefault("maximum", high)


def _fill_in(raw: dict[str, Any]) -> None:
    """Set the defaults that follow from other fields; leave it to the check what is missing."""
    raw.setdefault("name", raw.get("kind", "model"))
    if raw.get("kind") == "autoencoder":
        raw.setdefault("task", "anomaly")
    if raw.get("task") in _LOSSES:
        raw.setdefault("loss", "quantile" if raw.get("quantiles") else _LOSSES[raw["task"]])
    grid, reserve = raw.get("grid"), raw.get("reserve", {})
    if isinstance(grid, dict) and "period" in grid and isinstance(reserve, dict):
        raw["reserve"] = reserve
        period = _duration(grid["period"])
        grid.setdefault("max_gap", str(period))
        ahead = _duration(raw.get("horizon", "0s"))
        reserve.setdefault("block", _block(period, raw.get("window"), ahead))


def _block(period: Duration, window: object, horizon: Duration) -> str:
    """Return the default length of a reserved block."""
    rows = (max(window, 1) if isinstance(window, int) else 1) - (-horizon // period)
    return str(Duration(EMBARGOES * rows * period))


def _duration(value: object) -> Duration:
    """Read a duration; any stands in for a wrong one, which the check then names by itself."""
    try:
        return Duration.parse(value) or Duration(1)
    except ValueError:
        return Duration(1)


def _scaled(spec: Spec, data: Table | None, label: str | None, log: tuple[str, ...]) -> Spec:
    """Complete the scaling, where none is given, by the data or by the ranges."""
    if spec.scaling:
        if log:
            raise SettingsError("log: the scaling is given; give the logarithms in scaling.log.")
        return spec
    if data is None:
        scaling = scaling_from_ranges(spec.channels, log)
    else:
        labels = data.numbers(label) if label and spec.task == "regression" else None
        scaling = scaling_from_rows(_measured(spec, data), spec.channels, labels, log)
    return msgspec.structs.replace(spec, scaling=scaling)


def _measured(spec: ModelFacts, data: Table) -> NDArray[np.float64]:
    """Return ``[R, C]`` without categories, and without what lies beyond a channel's range."""
    rows = np.full((data.rows, len(spec.channels)), np.nan)
    for column, channel in enumerate(spec.channels):
        if not channel.categories:
            values = data.numbers(channel.name)
            within = (values >= channel.minimum) & (values <= channel.maximum)
            rows[within, column] = values[within]
    return rows


def _are_mappings(channels: object) -> bool:
    return isinstance(channels, list) and all(isinstance(channel, dict) for channel in channels)
