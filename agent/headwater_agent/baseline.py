"""What one would predict without a model: the last value, or how often each class occurred."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

import msgspec
import numpy as np

from headwater_agent.events import Floats
from headwater_models.manifest import Manifest


class _Saved(msgspec.Struct, array_like=True):
    counts: list[int]
    last: float | None


class Baseline:
    """The baseline of one stream, as far as it follows from the labels so far.

    A regression repeats the last label, a classification predicts the shares of the labels
    (majority) or, with a ``persistence`` baseline, the last one. A forecast repeats the last known
    target of its window (see :func:`persistence`). An anomaly model has none.

    Parameters
    ----------
    manifest
        Task, baseline, classes and target.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._counts = np.zeros(manifest.outputs, np.int64)
        self._last: float | None = None

    def predict(self) -> Floats:
        """Return ``[K]``; NaN where nothing is known yet."""
        manifest = self._manifest
        made = np.full(manifest.outputs, np.nan, np.float32)
        if self._last is None:
            return made
        if manifest.task == "classification":
            if manifest.baseline == "majority":
                made[:] = self._counts / self._counts.sum()
            else:
                made[:] = np.arange(manifest.outputs) == self._last
        elif manifest.task == "regression":
            made[:] = self._last
        return made

    def labelled(self, label: float) -> None:
        """Take the label of a prediction of this stream."""
        self._last = label
        if self._manifest.task == "classification":
            self._counts[int(label)] += 1

    def preceded(self, labels: Iterable[float]) -> None:
        """Take labels, oldest first, of before all that were taken so far."""
        newest = self._last
        for label in labels:
            self.labelled(label)
        self._last = self._last if newest is None else newest

    def save(self) -> bytes:
        """Encode what :meth:`restore` needs."""
        return msgspec.msgpack.encode(_Saved(self._counts.tolist(), self._last))

    def restore(self, saved: bytes) -> None:
        """Go on where :meth:`save` was called."""
        found = msgspec.msgpack.decode(saved, type=_Saved)
        self._counts, self._last = np.array(found.counts, np.int64), found.last


def persistence(windows: Floats, target: int, outputs: int) -> Floats:
    """Return the last known target of each window ``[N, T, C]``, as often as there are outputs.

    ``[N, K]``, NaN where a window knows none.

    Parameters
    ----------
    windows
        At least one.
    target
        Its column.
    outputs
        How many there are, K.
    """
    found = windows[:, -1, target : target + 1]
    if not all(map(isfinite, found.ravel().tolist())):
        column = windows[:, :, target]
        known = np.isfinite(column)
        last = known.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
        newest = column[np.arange(len(column)), last]
        found = np.where(known.any(axis=1), newest, np.float32(np.nan))[:, None]
    return found if outputs == 1 else found.repeat(outputs, axis=1)
