"""What a river model sees of windows: the graph's features, or the channels by name."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Floats
from headwater_agent.rivers.kinds import Inputs
from headwater_agent.rivers.settings import RiverSettings
from headwater_models.arrays import Arrays
from headwater_models.manifest import Channel, Manifest
from headwater_models.session import Predictor

Times = NDArray[np.int64]
Read = Callable[[Floats, Times, Arrays], list[Inputs]]
"""``read(window [N, T, C], time [N], arrays) -> N rows``."""

CONSTANT = "1"
"""An input that is always 1, for a linear model that has no intercept."""

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""


def reader(settings: RiverSettings, manifest: Manifest, predictor: Predictor) -> Read:
    """Return how windows become rows.

    With ``features`` a row is ``f0``, ``f1`` and so on, without gaps. With ``channels`` a missing
    cell is left out, a category is its name, and a bundle that uses the clock adds ``@hour``
    (UTC, with fractions) and ``@weekday`` (Monday is 0).
    """
    if settings.inputs == "features":
        return lambda window, time, arrays: _features(predictor.features(window, time, arrays))
    rows = min(settings.rows, manifest.window)
    clock = "time" in manifest.inputs
    return lambda window, time, _: [
        _channels(cells[-rows:], manifest.channels) | (_clock(int(at)) if clock else {})
        for cells, at in zip(window, time, strict=True)
    ]


def feature_names(count: int) -> list[str]:
    """Return the names of *count* features in the graph's order."""
    return [f"f{number}" for number in range(count)]


def _features(features: Floats) -> list[Inputs]:
    names = feature_names(features.shape[1])
    return [dict(zip(names, row, strict=True)) for row in features.tolist()]


def _channels(cells: Floats, channels: tuple[Channel, ...]) -> dict[str, float | str]:
    """Name the cells ``[R, C]`` that are there, the last row's first."""
    row: dict[str, float | str] = {}
    for back, values in enumerate(cells[::-1].tolist()):
        for channel, value in zip(channels, values, strict=True):
            said = _said(channel, value)
            if said is not None:
                row[f"{channel.name}@{back}" if back else channel.name] = said
    return row


def _said(channel: Channel, value: float) -> float | str | None:
    """Return a cell's number or its category's name; None where it is missing or unknown."""
    if not channel.categories:
        return None if math.isnan(value) else value
    return channel.categories[int(value)] if 0 <= value < len(channel.categories) else None


def _clock(time: int) -> dict[str, float | str]:
    days, of_day = divmod(time, _DAY_MS)
    return {"@hour": of_day / _HOUR_MS, "@weekday": float((days + _EPOCH_WEEKDAY) % 7)}
