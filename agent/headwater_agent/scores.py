"""Prequential scores: the models of a device on the same labelled predictions."""

from __future__ import annotations

import msgspec

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

    def add(self, *, baseline: float, released: float, personal: float, served: float) -> None:
        """Count the losses of one labelled prediction."""
        self.labels += 1
        self.weight = FADING * self.weight + 1
        for name, loss in (
            ("baseline", baseline),
            ("released", released),
            ("personal", personal),
            ("served", served),
        ):
            mean = getattr(self, name)
            setattr(self, name, mean + (loss - mean) / self.labels)
            recent = getattr(self, f"recent_{name}")
            setattr(self, f"recent_{name}", recent + (loss - recent) / self.weight)

    def correct(self, *, baseline: float, released: float, personal: float, served: float) -> None:
        """Add differences to losses counted before; the recent means stay as they are."""
        self.baseline += baseline / self.labels
        self.released += released / self.labels
        self.personal += personal / self.labels
        self.served += served / self.labels
