"""Forecast labels: a stored prediction meets the row that its horizon pointed at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headwater_agent.events import Floats, Prediction, Row
from headwater_models.manifest import Manifest


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A prediction with the window it was made on and the label that came."""

    prediction: Prediction
    window: Floats
    label: float


class ForecastLabels:
    """Hold the predictions of one stream until their labels come.

    The label is the target as it was observed at the window's last row plus the horizon; a value
    that was only held over is no label. At most one prediction for each slot of the horizon waits.

    Parameters
    ----------
    manifest
        Horizon, period and target.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._period = int(manifest.grid.period)
        self._horizon = manifest.horizon // manifest.grid.period
        self._target = manifest.target_index
        self._waiting: dict[int, tuple[Prediction, Floats]] = {}

    def expect(self, prediction: Prediction, window: Floats) -> None:
        """Remember a prediction made before its label is known."""
        self._waiting[prediction.time // self._period] = (prediction, window)

    def meet(self, row: Row) -> Iterator[Labelled]:
        """Yield what this row labels, and forget what can no longer be labelled."""
        due = row.slot - self._horizon
        label = float(row.values[self._target])
        found = self._waiting.pop(due, None)
        if found is not None and row.observed[self._target] and np.isfinite(label):
            yield Labelled(*found, label)
        for slot in [slot for slot in self._waiting if slot < due]:
            del self._waiting[slot]
