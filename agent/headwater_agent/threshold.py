"""From which score on a window is an anomaly: set by a stream's own scores, without labels."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import StorageError
from headwater_agent.threshold_settings import ThresholdSettings

RATIO = 1.1
"""Between the bounds of neighbouring bins: how exactly a quantile is known."""

LOWEST, HIGHEST = 1e-12, 1e12
"""Scores below and above fall into the first and the last bin; a score counts squared scales."""

BINS = math.ceil(math.log(HIGHEST / LOWEST) / math.log(RATIO)) + 1
FLOOR = 1e-300
"""Smallest probability that is told from zero."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a score means.

    ``threshold`` is the score from which on this window is an anomaly, given those before it (NaN
    in the warm-up); ``flagged`` says whether it is one. ``rarity`` is how unusual it is on a
    scale that streams share: at 2, one normal window in a hundred scores as high (0 in the
    warm-up).
    """

    threshold: float
    flagged: bool
    rarity: float


class SavedThreshold(msgspec.Struct):
    """A threshold's state in plain numbers; ``bins`` holds those with a weight."""

    level: float = 0.0
    seen: int = 0
    flagged: int = 0
    bins: dict[int, float] = {}
    waiting: list[float] = []


@dataclass(frozen=True, slots=True)
class _Tail:
    """The highest scores: ``share`` of all lie above ``start``, and fall with the power 1/shape."""

    below: NDArray[np.float64]
    start: int
    share: float
    shape: float

    def limit(self, risk: float) -> float:
        """Return the score that a share *risk* exceeds."""
        if risk < self.share:
            return _bound(self.start) * math.pow(self.share / risk, self.shape)
        return _bound(int(np.searchsorted(self.below, (1 - risk) * self.below[-1])))

    def rarity(self, score: float) -> float:
        """Return minus the decimal logarithm of the share that is as high."""
        at = _bin(score)
        if at > self.start:
            beyond = math.log(score / _bound(self.start)) / self.shape
            return -math.log10(max(self.share, FLOOR)) + max(beyond, 0.0) / math.log(10)
        before = self.below[at - 1] if at else 0.0
        return -math.log10(max(1 - before / self.below[-1], FLOOR))


class Threshold:
    """The limit of one stream's scores, which moves with the scores of its normal windows.

    Scores, smoothed, are kept as a histogram with geometric bins (as in Masson et al. 2019,
    "DDSketch") whose weights decay. Beyond the tail's start the limit is extrapolated: with
    the tail's mean logarithm (Hill 1975) as Weissman (1978) estimates extreme quantiles, as
    Siffer et al. (2017) do for streams.

    A score waits for as long as the smoothing reaches before it is taken in, and is dropped when
    an anomaly begins meanwhile, for it may have led up to it. Of an anomaly only the first window
    is taken in, at the limit, so that the odd false alarm counts and what lasts a while does not
    become normal; after ``patience`` windows it does.
    """

    def __init__(self, settings: ThresholdSettings) -> None:
        self._settings = settings
        self._level = 0.0
        self._seen = 0
        self._flagged = 0
        self._weights = np.zeros(BINS)
        self._waiting: deque[float] = deque()

    @property
    def is_set(self) -> bool:
        """Whether there is a limit by now."""
        return self._seen >= self._settings.warm_up

    def update(self, score: float) -> Judgement:
        """Judge a score (not negative) by those before it, then take it in.

        A score that is not finite says nothing: it is no anomaly and changes nothing.
        """
        settings = self._settings
        share = max(2 / (settings.smoothing + 1), 1 / (self._seen + 1))
        before = (1 - share) * self._level
        tail = self._tail() if self.is_set else None
        limit = tail.limit(settings.risk) if tail else math.nan
        threshold = (limit - before) / share
        if not math.isfinite(score):
            return Judgement(threshold, flagged=False, rarity=0.0)
        flagged = score >= threshold
        self._level = before + share * score
        self._seen += 1
        self._flagged = self._flagged + 1 if flagged else 0
        self._learn(limit)
        return Judgement(threshold, flagged, tail.rarity(self._level) if tail else 0.0)

    def save(self) -> SavedThreshold:
        """Return the state."""
        bins = np.flatnonzero(self._weights)
        weights = self._weights[bins].tolist()
        held = dict(zip(bins.tolist(), weights, strict=True))
        return SavedThreshold(self._level, self._seen, self._flagged, held, list(self._waiting))

    def restore(self, saved: SavedThreshold) -> None:
        """Go on from a state; the settings of today count.

        Raises
        ------
        StorageError
            When the state is damaged.
        """
        bins, weights = list(saved.bins), list(saved.bins.values())
        numbers = (saved.level, saved.seen, saved.flagged, *weights, *saved.waiting)
        sound = all(math.isfinite(number) and number >= 0 for number in numbers)
        if not sound or not all(0 <= at < BINS for at in bins) or (saved.seen > 0 and not bins):
            raise StorageError(
                "The state of an anomaly threshold is damaged; remove it to start afresh."
            )
        self._level, self._seen, self._flagged = saved.level, saved.seen, saved.flagged
        self._weights = np.zeros(BINS)
        self._weights[bins] = weights
        self._waiting = deque(saved.waiting)

    def _learn(self, limit: float) -> None:
        """Take in what is known to be normal by now."""
        settings = self._settings
        if self._seen <= settings.warm_up or self._flagged > settings.patience:
            self._take(self._level)
        elif self._flagged == 0:
            self._waiting.append(self._level)
            while len(self._waiting) > settings.smoothing:
                self._take(self._waiting.popleft())
        elif self._flagged == 1:
            self._waiting.clear()
            self._take(limit)

    def _take(self, level: float) -> None:
        self._weights *= 1 - 1 / self._settings.memory
        self._weights[_bin(level)] += 1

    def _tail(self) -> _Tail:
        below = np.cumsum(self._weights)
        start = int(np.searchsorted(below, (1 - self._settings.tail) * below[-1]))
        above = self._weights[start + 1 :]
        weight = float(above.sum())
        steps = float(np.arange(0.5, len(above)) @ above) / weight if weight else 1.0
        shape = max(steps, 1.0) * math.log(RATIO)
        return _Tail(below, start, weight / float(below[-1]), shape)


def _bound(at: int) -> float:
    """Return the upper bound of a bin, which does not belong to it."""
    return LOWEST * math.pow(RATIO, at)


def _bin(score: float) -> int:
    if score < LOWEST:
        return 0
    return min(int(math.log(score / LOWEST) / math.log(RATIO)) + 1, BINS - 1)
