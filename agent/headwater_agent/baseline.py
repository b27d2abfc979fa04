"""What one would predict without a model: the last value, or how often each class occurred."""

from __future__ import annotations

import msgspec
import numpy as np

from headwater_agent.events import Floats
from headwater_models.manifest import Manifest


class _Saved(msgspec.Struct, array_like=True):
    counts: list[int]
    last: float | None


class Baseline:
    """The baseline of one stream.

    A forecast repeats the last known target of its window (persistence), a regression the last
    label, a classification the shares of the labels so far (majority) or, with a ``persistence``
    baseline, the last one. An anomaly model has none.

    Parameters
    ----------
    manifest
        Task, baseline, classes and target.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._counts = np.zeros(manifest.outputs, np.int64)
        self._last: float | None = None

    def predict(self, window: Floats) -> Floats:
        """Return ``[K]`` for a window ``[T, C]``; NaN where nothing is known yet."""
        manifest = self._manifest
        made = np.full(manifest.outputs, np.nan, np.float32)
        if manifest.task == "forecast":
            column = window[:, manifest.target_index]
            known = column[np.isfinite(column)]
            if len(known):
                made[:] = known[-1]
        elif manifest.task == "classification" and self._last is not None:
            if manifest.baseline == "majority":
                made[:] = self._counts / self._counts.sum()
            else:
                made[:] = np.arange(manifest.outputs) == self._last
        elif manifest.task == "regression" and self._last is not None:
            made[:] = self._last
        return made

    def labelled(self, label: float) -> None:
        """Take the label of a prediction of this stream."""
        self._last = label
        if self._manifest.task == "classification":
            self._counts[int(label)] += 1

    def save(self) -> bytes:
        """Encode what :meth:`restore` needs."""
        return msgspec.msgpack.encode(_Saved(self._counts.tolist(), self._last))

    def restore(self, saved: bytes) -> None:
        """Go on where :meth:`save` was called."""
        found = msgspec.msgpack.decode(saved, type=_Saved)
        self._counts, self._last = np.array(found.counts, np.int64), found.last
