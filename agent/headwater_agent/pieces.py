"""Predictions that wait to be looked at together, for one by one would cost ten times more."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Floats
from headwater_agent.predictions import Predictions
from headwater_agent.stacking import join

Numbers = NDArray[np.float64]


class Pieces:
    """Predictions with their windows and losses, as they came in."""

    def __init__(self) -> None:
        self._pieces: list[tuple[Predictions, Floats, Numbers]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, predictions: Predictions, windows: Floats, losses: Numbers | None = None) -> None:
        """Take a piece, without losses where none are known.

        Parameters
        ----------
        predictions
            N of them.
        windows, losses
            Float32 ``[N, T, C]`` and float64 ``[N]``.
        """
        if predictions:
            self._pieces.append((predictions, windows, _NO_LOSSES if losses is None else losses))
            self._count += len(predictions)

    def leave_out(self, stream: str) -> None:
        """Let go of the predictions of a stream; of those that are left no loss is known."""
        pieces, self._pieces, self._count = self._pieces, [], 0
        for predictions, windows, _ in pieces:
            self.add(*without({stream}, predictions, windows))

    def drain(self) -> tuple[Predictions, Floats, Numbers]:
        """Return what came since the last call, at least one, as one piece."""
        pieces, self._pieces, self._count = self._pieces, [], 0
        predictions, windows, losses = zip(*pieces, strict=True)
        return Predictions.join(predictions), join(windows), join(losses)


_NO_LOSSES: Numbers = np.zeros(0)


def without(
    streams: Collection[str], predictions: Predictions, windows: Floats
) -> tuple[Predictions, Floats]:
    """Return what is not of these streams."""
    if not streams:
        return predictions, windows
    kept = np.flatnonzero([stream not in streams for stream in predictions.streams])
    return predictions.take(kept), windows[kept]
