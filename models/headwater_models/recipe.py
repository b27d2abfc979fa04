"""From a TOML file, flags and data to the specification of a new model.

What is given stands: flags over the file, the file over what the data show, and those over the
defaults. The result is complete, so the model follows from it, the seed and nothing else.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater.settings import Duration, convert
from headwater_models.files import storage_errors
from headwater_models.graphs.builders import ModelSpec
from headwater_models.graphs.scaling import scaling_from_rows
from headwater_models.table import Table

EMBARGOES = 4
"""A reserved block is by default this many times as long as the embargo on each of its sides."""

_LOSSES = {"forecast": "mae", "regression": "mse", "classification": "cross_entropy"}


def specify(
    flags: Mapping[str, Any],
    *,
    file: Path | None = None,
    data: Table | None = None,
    label: str | None = None,
) -> ModelSpec:
    """Put a specification together.

    Parameters
    ----------
    flags
        Fields of :class:`.ModelSpec` as a nested mapping; None stands for "not given". A channel
        may be a mapping or a text (see :func:`parse_channel`).
    file
        A TOML file with fields of :class:`.ModelSpec`.
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
    raw = overlay(_read(file) if file else {}, flags)
    source = str(file) if file else "headwater model new"
    if isinstance(raw.get("channels"), list):
        raw["channels"] = [parse_channel(c) if isinstance(c, str) else c for c in raw["channels"]]
    if data is not None:
        _take_from(data, raw, label)
    _fill_in(raw)
    spec = convert(raw, ModelSpec, source=source)
    return spec if data is None or spec.scaling else _scale(spec, data, label)


def parse_channel(text: str) -> dict[str, Any]:
    """Read ``name[:unit[:minimum:maximum]]``.

    Raises
    ------
    SettingsError
        When the parts are others.

    Examples
    --------
    >>> parse_channel("PM2.5:ug/m3:0:1000")
    {'name': 'PM2.5', 'unit': 'ug/m3', 'minimum': 0.0, 'maximum': 1000.0}
    """
    match text.split(":"):
        case [name]:
            return {"name": name}
        case [name, unit]:
            return {"name": name, "unit": unit}
        case [name, unit, low, high] if _is_number(low) and _is_number(high):
            return {"name": name, "unit": unit, "minimum": float(low), "maximum": float(high)}
    raise SettingsError(f"channel {text}: expected NAME, NAME:UNIT or NAME:UNIT:MINIMUM:MAXIMUM.")


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay nested mappings over each other; None in the upper one lets the lower show."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        if isinstance(value, Mapping):
            inner = overlay(lower if isinstance(lower, Mapping) else {}, value)
            if inner:
                merged[key] = inner
        elif value is not None:
            merged[key] = value
    return merged


def _read(file: Path) -> dict[str, Any]:
    try:
        with storage_errors(file, "read"):
            return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}.") from error


def _take_from(data: Table, raw: dict[str, Any], label: str | None) -> None:
    """Complete the channels, and the classes, by what the data show."""
    names = [name for name in data.numeric() if name != label]
    channels = raw.get("channels") or [{"name": name} for name in names]
    if not _are_mappings(channels):
        return
    for channel in channels:
        if "name" in channel and not channel.keys() >= {"minimum", "maximum"}:
            low, high = data.reach(channel["name"])
            channel.setdefault("minimum", low)
            channel.setdefault("maximum", high)
    raw["channels"] = channels
    if label and raw.get("task") == "classification" and not raw.get("classes"):
        raw["classes"] = data.classes(label)


def _fill_in(raw: dict[str, Any]) -> None:
    """Set the defaults that follow from other fields; leave it to the check what is missing."""
    raw.setdefault("name", raw.get("kind", "model"))
    if raw.get("task") in _LOSSES:
        raw.setdefault("loss", _LOSSES[raw["task"]])
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


def _scale(spec: ModelSpec, data: Table, label: str | None) -> ModelSpec:
    rows = data.matrix(channel.name for channel in spec.channels)
    labels = data.numbers(label) if label and spec.task == "regression" else None
    scaling = scaling_from_rows(_within(spec, rows), spec.channels, labels)
    return msgspec.structs.replace(spec, scaling=scaling)


def _within(spec: ModelSpec, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out what lies beyond a channel's range, as the device does."""
    low = np.array([channel.minimum for channel in spec.channels])
    high = np.array([channel.maximum for channel in spec.channels])
    return np.where((rows >= low) & (rows <= high), rows, np.nan)


def _are_mappings(channels: object) -> bool:
    return isinstance(channels, list) and all(isinstance(channel, dict) for channel in channels)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
