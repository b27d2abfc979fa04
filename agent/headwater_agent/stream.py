"""Everything the pipeline keeps of one stream, and how it goes through a restart."""

from __future__ import annotations

import math

import msgspec

from headwater.errors import StorageError
from headwater_agent.baseline import Baseline
from headwater_agent.events import Floats
from headwater_agent.guard.stream import StreamGuard
from headwater_agent.rows import StreamRows
from headwater_agent.threshold import SavedThreshold, Threshold
from headwater_agent.threshold_settings import ThresholdSettings
from headwater_agent.windows import StreamWindow
from headwater_models.manifest import Manifest


class _Progress(msgspec.Struct, array_like=True):
    rows: bytes
    marked: int | None
    baseline: bytes
    thresholds: list[SavedThreshold]
    guard: bytes
    begun: int = 0
    since: int = 0


class Stream:
    """The guard, rows, window and baseline of one stream.

    Parameters
    ----------
    name
        Of the stream.
    manifest
        The model.
    anomaly
        How the thresholds of an anomaly model are set.
    guard
        What its records are held against.

    Attributes
    ----------
    begun
        Time from which on its rows are of the sensor that is there now.
    since
        Time from which on its predictions may meet labels and be learned from.
    """

    def __init__(
        self, name: str, manifest: Manifest, anomaly: ThresholdSettings, guard: StreamGuard
    ) -> None:
        self.guard = guard
        self.rows = StreamRows(name, manifest.grid, len(manifest.channels))
        self.window = StreamWindow(manifest.window, len(manifest.channels))
        self.baseline = Baseline(manifest)
        self.begun = self.since = 0
        self._name = name
        detects = manifest.task == "anomaly"
        self._thresholds = tuple(Threshold(anomaly) for _ in range(2)) if detects else ()

    def judge(self, released: Floats, personal: Floats) -> tuple[float, float]:
        """Return the scores from which on these two ``[1]`` call a window an anomaly.

        Each is held against the scores before it, and taken in. NaN while they are few, and where
        the model detects none.
        """
        if not self._thresholds:
            return (math.nan, math.nan)
        ours, theirs = (
            threshold.update(float(score[0])).threshold
            for threshold, score in zip(self._thresholds, (released, personal), strict=True)
        )
        return ours, theirs

    @property
    def lacks_thresholds(self) -> bool:
        """Whether scores are still needed before any window is called an anomaly."""
        return not all(threshold.is_set for threshold in self._thresholds)

    def take_over(self, before: Stream) -> None:
        """Go on with what records do not tell: labels, thresholds, and from when on they count."""
        self.begun, self.since = before.begun, before.since
        self.baseline = before.baseline
        if not before.lacks_thresholds:
            self._thresholds = before._thresholds

    def progress(self) -> bytes:
        """Encode what a restart needs beside the newest rows."""
        thresholds = [threshold.save() for threshold in self._thresholds]
        return msgspec.msgpack.encode(
            _Progress(
                self.rows.progress(),
                self.window.marked_slot,
                self.baseline.save(),
                thresholds,
                self.guard.save(),
                self.begun,
                self.since,
            )
        )

    def restore(self, progress: bytes) -> None:
        """Go on where :meth:`progress` was taken.

        Raises
        ------
        StorageError
            When the bytes are damaged or of another program.
        """
        try:
            saved = msgspec.msgpack.decode(progress, type=_Progress)
            self.rows.restore(saved.rows)
            self.window.marked_slot = saved.marked
            self.guard.restore(saved.guard)
            self.begun, self.since = saved.begun, saved.since
            self.baseline.restore(saved.baseline)
            for threshold, held in zip(self._thresholds, saved.thresholds, strict=True):
                threshold.restore(held)
        except (msgspec.DecodeError, ValueError) as error:
            raise StorageError(
                f"The stored progress of stream {self._name} cannot be read ({error}); give the "
                "agent a new state folder."
            ) from error
