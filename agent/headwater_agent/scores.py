"""Prequential scores: the models of a device on the same labelled predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

Loss = Sequence[float]
"""Of one labelled prediction: baseline, released, personal, and the one that was published."""

FADING = 0.998
"""Weight of the past at each new label in the recent mean (about the last 500 labels)."""

_UNKNOWN = -1.0


class Score(msgspec.Struct):
    """Mean loss of the three models, and of the one that was published, over the labels so far.

    ``recent_*`` are faded means after Gama, Sebastião and Rodrigues, "On evaluating stream
    learning algorithms", Machine Learning 90 (2013). Losses are in the target's unit: absolute
    error for numbers.
    """

    labels: int = 0
    baseline: float = 0.0
    released: float = 0.0
    personal: float = 0.0
    weight: float = 0.0
    recent_baseline: float = 0.0
    recent_released: float = 0.0
    recent_personal: float = 0.0
    served: float = _UNKNOWN
    recent_served: float = _UNKNOWN

    def __post_init__(self) -> None:
        """Take the release for what was served where an older program did not keep it."""
        if self.served == _UNKNOWN:
            self.served, self.recent_served = self.released, self.recent_released

    def add(self, losses: Iterable[Loss]) -> None:
        """Count labelled predictions in the order of their labels."""
        labels, weight = self.labels, self.weight
        b, r, p, s = self.baseline, self.released, self.personal, self.served
        lately_b, lately_r = self.recent_baseline, self.recent_released
        lately_p, lately_s = self.recent_personal, self.recent_served
        for baseline, released, personal, served in losses:
            labels += 1
            weight = FADING * weight + 1
            b += (baseline - b) / labels
            r += (released - r) / labels
            p += (personal - p) / labels
            s += (served - s) / labels
            lately_b += (baseline - lately_b) / weight
            lately_r += (released - lately_r) / weight
            lately_p += (personal - lately_p) / weight
            lately_s += (served - lately_s) / weight
        self.labels, self.weight = labels, weight
        self.baseline, self.released, self.personal, self.served = b, r, p, s
        self.recent_baseline, self.recent_released = lately_b, lately_r
        self.recent_personal, self.recent_served = lately_p, lately_s

    def correct(self, change: Loss) -> None:
        """Add differences to losses counted before; the recent means stay as they are."""
        baseline, released, personal, served = change
        self.baseline += baseline / self.labels
        self.released += released / self.labels
        self.personal += personal / self.labels
        self.served += served / self.labels
