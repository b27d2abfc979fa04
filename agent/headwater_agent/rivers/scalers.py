"""River's scalers as numbers: their statistics, and the line by which they map each input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater_agent.rivers.dotted import river

Statistics = dict[str, dict[str, float]]
"""``counts``, ``means`` and ``vars``, or ``min`` and ``max``, by the name of the input."""


def is_scaler(step: Any) -> bool:
    """Say whether a step is a StandardScaler or MinMaxScaler over all of its past."""
    scaling = river("preprocessing")
    known = type(step) in (scaling.StandardScaler, scaling.MinMaxScaler)
    return known and step.window_size is None


def read_scaler(scaler: Any) -> Statistics:
    """Read what a scaler has gathered."""
    if hasattr(scaler, "means"):
        return {key: _floats(getattr(scaler, key)) for key in ("counts", "means", "vars")}
    extremes = {key: getattr(scaler, key) for key in ("min", "max")}
    return {
        key: _floats({name: extreme.get() for name, extreme in kept.items()})
        for key, kept in extremes.items()
    }


def write_scaler(scaler: Any, statistics: Statistics) -> None:
    """Give a fresh scaler what another had gathered."""
    for key, values in statistics.items():
        kept = getattr(scaler, key)
        if key in ("min", "max"):
            for name, value in values.items():
                kept[name].update(value)
        else:
            kept.update(values)


def affine(scaler: Any, names: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``scale`` and ``offset`` of ``scaled = scale * (x - offset)``.

    As in river, an input that never varied is scaled to 0.
    """
    statistics = read_scaler(scaler)
    if "means" in statistics:
        offset = _column(statistics["means"], names)
        spread = np.sqrt(_column(statistics["vars"], names))
        if not scaler.with_std:
            return np.ones(len(names)), offset
    else:
        offset = _column(statistics["min"], names)
        spread = _column(statistics["max"], names) - offset
    return np.divide(1.0, spread, out=np.zeros(len(names)), where=spread > 0), offset


def _floats(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def _column(values: dict[str, float], names: list[str]) -> NDArray[np.float64]:
    return np.array([values.get(name, 0.0) for name in names], np.float64)
