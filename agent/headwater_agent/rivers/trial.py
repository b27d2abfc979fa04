"""A trial on made-up rows before the first real one, so that a wrong setting shows at start."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater_agent.events import Floats
from headwater_agent.rivers.inputs import Times
from headwater_agent.rivers.kinds import Inputs, Kind
from headwater_agent.rivers.settings import TABLE
from headwater_models.manifest import Channel, Manifest

ROWS = 12
"""Rows of a trial."""


def trial_windows(manifest: Manifest) -> tuple[Floats, Times]:
    """Draw windows ``[ROWS, T, C]`` of values that the channels can have, and their times."""
    rng = np.random.default_rng(0)
    columns = [_values(channel, rng, (ROWS, manifest.window)) for channel in manifest.channels]
    times = np.arange(ROWS, dtype=np.int64) * manifest.grid.period
    return np.stack(columns, axis=2).astype(np.float32), times


def trial_labels(manifest: Manifest) -> list[float]:
    """Return labels for the windows: each class in turn, or numbers around 0."""
    if manifest.classes:
        return [float(number % len(manifest.classes)) for number in range(ROWS)]
    return [float(number) for number in np.random.default_rng(1).normal(size=ROWS)]


def try_out(
    name: str, model: Any, kind: Kind, rows: Sequence[Inputs], labels: Sequence[float]
) -> None:
    """Let a model that is thrown away predict and learn, row by row.

    Raises
    ------
    SettingsError
        When it cannot.
    """
    try:
        for row, label in zip(rows, labels, strict=True):
            kind.predict(model, row)
            kind.learn(model, row, label)
    except Exception as error:
        raise SettingsError(
            f"{TABLE}: {name} cannot learn from rows such as this bundle's ({where(error)}: "
            f"{error}); change its arguments, or what stands before it."
        ) from error


def where(error: BaseException) -> str:
    """Name an error and the line that raised it; no message, for that may quote a reading."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"


def _values(
    channel: Channel, rng: np.random.Generator, shape: tuple[int, int]
) -> NDArray[np.float64]:
    if channel.categories:
        return rng.integers(len(channel.categories), size=shape).astype(np.float64)
    return rng.uniform(channel.minimum, channel.maximum, shape)
