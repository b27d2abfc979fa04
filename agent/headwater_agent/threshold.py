"""From which score on a window is an anomaly: set by a stream's own scores, without labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from headwater.errors import StorageError
from headwater_agent.pipeline_settings import ThresholdSettings

RATIO = 1.05
"""Bounds of neighbouring bins; a quantile is at most this much above the true one."""

LOWEST, HIGHEST = 1e-8, 1e8
"""Scores below and above fall into the first and the last bin. A score counts scales squared."""

BINS = math.ceil(math.log(HIGHEST / LOWEST) / math.log(RATIO)) + 1


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a score means.

    ``threshold`` is the score from which on this window is an anomaly, given those before it (NaN
    in the warm-up), and ``flagged`` says whether it is one. ``excess`` is the smoothed score
    divided by its limit, to compare streams with each other (0 in the warm-up).
    """

    threshold: float
    flagged: bool
    excess: float


class SavedThreshold(msgspec.Struct):
    """A threshold's state in plain numbers; ``bins`` holds those with a weight."""

    level: float = 0.0
    seen: int = 0
    flagged: int = 0
    bins: dict[int, float] = {}


class Threshold:
    """The limit of one stream's scores, which moves with the scores of its normal windows.

    Smoothed scores are kept as a histogram with geometric bins, as in Masson et al. (2019,
    "DDSketch"), whose weights decay. An anomaly leaves it as it is, so that what lasts a while
    does not become normal by itself; only after ``patience`` of them it does.
    """

    def __init__(self, settings: ThresholdSettings) -> None:
        self._settings = settings
        self._level = 0.0
        self._seen = 0
        self._flagged = 0
        self._weights = np.zeros(BINS)

    def update(self, score: float) -> Judgement:
        """Judge a score by those before it, then take it in.

        A score that is not finite says nothing: it is no anomaly and changes nothing.
        """
        settings = self._settings
        share = max(2 / (settings.smoothing + 1), 1 / (self._seen + 1))
        before = (1 - share) * self._level
        limit = self._limit() if self._seen >= settings.warm_up else math.nan
        threshold = (limit - before) / share
        if not math.isfinite(score):
            return Judgement(threshold, flagged=False, excess=0.0)
        flagged = score >= threshold
        self._level = before + share * score
        self._seen += 1
        self._flagged = self._flagged + 1 if flagged else 0
        if not flagged or self._flagged > settings.patience:
            self._weights *= 1 - 1 / settings.memory
            self._weights[_bin(self._level)] += 1
        excess = self._level / limit if math.isfinite(limit) else 0.0
        return Judgement(threshold, flagged, excess)

    def save(self) -> SavedThreshold:
        """Return the state."""
        bins = np.flatnonzero(self._weights)
        weights = self._weights[bins].tolist()
        held = dict(zip(bins.tolist(), weights, strict=True))
        return SavedThreshold(self._level, self._seen, self._flagged, held)

    def restore(self, saved: SavedThreshold) -> None:
        """Go on from a state; the settings of today count.

        Raises
        ------
        StorageError
            When the state is damaged.
        """
        numbers = np.array([saved.level, *saved.bins.values()])
        bins = np.array(list(saved.bins), np.int64)
        if (
            not np.isfinite(numbers).all()
            or (numbers < 0).any()
            or ((bins < 0) | (bins >= BINS)).any()
        ):
            raise StorageError(
                "The state of an anomaly threshold is damaged; remove it to start afresh."
            )
        self._level, self._seen, self._flagged = saved.level, saved.seen, saved.flagged
        self._weights = np.zeros(BINS)
        self._weights[bins] = numbers[1:]

    def _limit(self) -> float:
        """Return the upper bound of the quantile's bin, times the factor."""
        below = np.cumsum(self._weights)
        at = int(np.searchsorted(below, self._settings.quantile * below[-1]))
        return self._settings.factor * LOWEST * RATIO**at


def _bin(score: float) -> int:
    """Return the number of the first bin whose upper bound is not below the score."""
    if score <= LOWEST:
        return 0
    return min(math.ceil(math.log(score / LOWEST) / math.log(RATIO)), BINS - 1)
