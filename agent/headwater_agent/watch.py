"""All that watches one model for drift, behind one door, and what follows from an alarm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_agent.drift import DriftMonitor
from headwater_agent.drift_settings import DriftSettings, Watched
from headwater_agent.estimate import Estimate, SavedEstimate
from headwater_agent.events import Alarm, Floats, Row
from headwater_agent.predictions import Predictions
from headwater_models.manifest import Manifest

About = Watched | Literal["silence"]
"""What an alarm can be about."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """What the learner is to do: multiply its rate for some steps, begin again, or neither."""

    factor: float = 1.0
    steps: int = 0
    reset: bool = False


class SavedWatch(msgspec.Struct):
    """What a checkpoint keeps; the detectors themselves are warmed again."""

    alarms: int
    retrain: bool
    estimate: SavedEstimate


class Watch:
    """Drift of one model over all streams of a device.

    Parameters
    ----------
    manifest
        The model's manifest.
    settings
        What is watched, and what an alarm leads to.

    Attributes
    ----------
    watches
        Whether there is anything to show it.
    alarms
        Raised since the release that is there came.
    retrain
        Whether the coordinator is asked for a round, on account of one of them.
    """

    def __init__(self, manifest: Manifest, settings: DriftSettings) -> None:
        self.alarms = 0
        self.retrain = False
        self.monitor = DriftMonitor(manifest, settings)
        self.estimate = Estimate(manifest, settings)
        self.watches = settings.enabled
        self._react = settings.react

    def joined(self, rows: Sequence[Row]) -> list[Alarm]:
        """Take new rows."""
        return self._raised(self.monitor.inputs(rows))

    def predicted(self, predictions: Predictions, windows: Floats) -> list[Alarm]:
        """Take predictions as they are made, with their windows ``[N, T, C]``."""
        return self._raised(self.estimate.expect(predictions, windows)) if predictions else []

    def scored(
        self, predictions: Predictions, windows: Floats, errors: NDArray[np.float64]
    ) -> list[Alarm]:
        """Take predictions whose labels came, and the error ``[N]`` of what was served."""
        self.estimate.learn(predictions, windows, errors)
        streams, times = predictions.streams, predictions.times.tolist()
        return self._raised(self.monitor.errors(streams, times, errors.tolist()))

    def react(self, alarms: Iterable[Alarm]) -> Reaction:
        """Return what is to be done about alarms; a wish for a retrain stays until a release."""
        if not any(about(alarm) in self._react.to for alarm in alarms):
            return Reaction()
        self.retrain |= self._react.retrain
        steps = self._react.steps if self._react.learning_rate > 1 else 0
        return Reaction(self._react.learning_rate, steps, self._react.reset)

    def forget(self, stream: str) -> None:
        """Watch a stream as if it were new."""
        self.monitor.forget(stream)
        self.estimate.forget(stream)

    def released(self) -> None:
        """Count from a new release: what was asked for may be in it."""
        self.alarms, self.retrain = 0, False

    def save(self) -> SavedWatch:
        """Return what a checkpoint keeps."""
        return SavedWatch(self.alarms, self.retrain, self.estimate.save())

    def restore(self, saved: SavedWatch) -> None:
        """Go on from a checkpoint; see :meth:`.DriftMonitor.warm` for the rest."""
        self.alarms, self.retrain = saved.alarms, saved.retrain
        self.estimate.restore(saved.estimate)

    def _raised(self, alarms: list[Alarm]) -> list[Alarm]:
        self.alarms += len(alarms)
        return alarms


def about(alarm: Alarm) -> About:
    """Return what an alarm is about."""
    if alarm.detector == "silence":
        return "silence"
    if alarm.detector == "estimate":
        return "estimate"
    return "inputs" if alarm.channel else "error"


def told(alarm: Alarm) -> str:
    """Say what an alarm says of its stream."""
    what = about(alarm)
    if what == "silence":
        return f"is silent for {alarm.value:.0f} s" if alarm.value else "speaks again"
    return f"has changed: {what} ({alarm.channel})" if alarm.channel else f"has changed: {what}"
