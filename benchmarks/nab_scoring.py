"""Numenta's scoring of anomaly detectors on streams, from what its authors published.

Lavin and Ahmad (2015), "Evaluating real-time anomaly detection algorithms: the Numenta Anomaly
Benchmark", and version 1.1 of the benchmark: a detector gives each row a score; rows at or above
a threshold are detections; the first detection in a labelled window earns more the earlier it is,
each detection outside costs more the further it lies behind the last window, and a window without
any costs a miss. Rows of the learning period count for nothing.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEARNING_SHARE = 0.15
LEARNING_ROWS = 750
"""The first 15 % of a series, and never more than 750 rows, count for nothing."""

FAR = 3.0
"""From this many widths behind a window on, a false alarm costs its full weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a kind of user gives for a detected window, a false alarm and a missed window."""

    hit: float
    false_alarm: float
    miss: float


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One file: times ``[R]`` (UTC seconds), values ``[R]``, windows as first and last row."""

    name: str
    times: NDArray[np.int64]
    values: Floats
    windows: tuple[tuple[int, int], ...]

    @property
    def learning(self) -> int:
        """Rows of the learning period."""
        return min(int(LEARNING_SHARE * len(self.values)), LEARNING_ROWS)


def read_series(folder: Path) -> tuple[Series, ...]:
    """Read ``*.csv.gz`` (columns file, timestamp, value) and ``combined_windows.json``."""
    labels = json.loads((folder / "combined_windows.json").read_text(encoding="utf-8"))
    rows: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("*.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                found = (_seconds(row["timestamp"]), float(row["value"]))
                rows.setdefault(row["file"], []).append(found)
    return tuple(_series(name, found, labels[name]) for name, found in rows.items())


def read_profiles(folder: Path) -> dict[str, Profile]:
    """Read ``profiles.json``: each profile by its name."""
    profiles = json.loads((folder / "profiles.json").read_text(encoding="utf-8"))
    return {name: _profile(facts["CostMatrix"]) for name, facts in profiles.items()}


def sigmoid(position: NDArray[np.float64]) -> Floats:
    """Return the benchmark's weight of rows by their position.

    Parameters
    ----------
    position
        -1 is a window's first row, 0 just behind its last, 1 one width behind it.
    """
    weight: Floats = 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, FAR))) - 1.0
    return np.where(position >= FAR, -1.0, weight)


def worths(series: Series, profile: Profile) -> tuple[Floats, NDArray[np.int64]]:
    """Return what a detection at each row is worth ``[R]``, and its window ``[R]`` (-1: none)."""
    rows = np.arange(len(series.values))
    worth = np.full(len(rows), -profile.false_alarm)
    inside = np.full(len(rows), -1)
    for number, (first, last) in enumerate(series.windows):
        width = last - first + 1
        hits = slice(first, last + 1)
        early = sigmoid(-(last - rows[hits] + 1) / width) / sigmoid(np.array(-1.0))
        worth[hits], inside[hits] = profile.hit * early, number
        worth[last + 1 :] = profile.false_alarm * sigmoid((rows[last + 1 :] - last) / (width - 1))
    return worth, inside


def sweep(
    corpus: Sequence[Series], scores: Sequence[Floats], profile: Profile
) -> tuple[Floats, Floats]:
    """Return every threshold that makes a difference, downwards, and the score at each.

    Parameters
    ----------
    scores
        ``[R]`` for each series.

    Returns
    -------
    tuple
        Thresholds, the first infinite (nothing is detected), and normalised scores.
    """
    values, changes = [], []
    for series, score in zip(corpus, scores, strict=True):
        found, change = _changes(series, score, profile)
        values.append(found)
        changes.append(change)
    value, change = np.concatenate(values), np.concatenate(changes)
    order = np.argsort(-value, kind="stable")
    value, raw = value[order], np.cumsum(change[order])
    last = np.flatnonzero(np.append(value[1:] != value[:-1], len(value) > 0))
    windows = sum(len(series.windows) for series in corpus)
    raws = np.concatenate([[0.0], raw[last]]) - profile.miss * windows
    return np.concatenate([[np.inf], value[last]]), normalised(raws, windows, profile)


def score_at(
    corpus: Sequence[Series], scores: Sequence[Floats], profile: Profile, threshold: float
) -> float:
    """Return the normalised score when the rows from *threshold* on are detections."""
    thresholds, found = sweep(corpus, scores, profile)
    return float(found[np.flatnonzero(thresholds >= threshold)[-1]])


def best(
    corpus: Sequence[Series], scores: Sequence[Floats], profile: Profile
) -> tuple[float, float]:
    """Return the one threshold for the whole corpus that scores highest, and its score."""
    thresholds, found = sweep(corpus, scores, profile)
    at = int(np.argmax(found))
    return float(thresholds[at]), float(found[at])


def normalised(raw: Floats, windows: int, profile: Profile) -> Floats:
    """Bring raw scores to 0 for a detector that never speaks and 100 for a perfect one."""
    none, perfect = -profile.miss * windows, profile.hit * windows
    scaled: Floats = 100.0 * (raw - none) / (perfect - none)
    return scaled


def _changes(series: Series, score: Floats, profile: Profile) -> tuple[Floats, Floats]:
    """Return each scored row's score, downwards, and how it changes the sum once it is detected.

    Of a window only its best detection counts, so a row adds what it is above those before it.
    """
    worth, inside = worths(series, profile)
    counted = slice(series.learning, None)
    order = np.argsort(-score[counted], kind="stable")
    value, worth, inside = score[counted][order], worth[counted][order], inside[counted][order]
    change = worth.copy()
    for number in range(len(series.windows)):
        members = np.flatnonzero(inside == number)
        kept = np.maximum.accumulate(np.concatenate([[-profile.miss], worth[members]]))
        change[members] = np.diff(kept)
    return value, change


def _series(
    name: str, rows: Sequence[tuple[int, float]], windows: Sequence[tuple[str, str]]
) -> Series:
    times = np.array([time for time, _ in rows], np.int64)
    ends = [tuple(_row(times, _seconds(end)) for end in window) for window in windows]
    return Series(
        name,
        times,
        np.array([value for _, value in rows]),
        tuple((first, last) for first, last in sorted(ends)),
    )


def _row(times: NDArray[np.int64], time: int) -> int:
    return int(np.flatnonzero(times == time)[0])


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def _profile(costs: Mapping[str, float]) -> Profile:
    return Profile(hit=costs["tpWeight"], false_alarm=costs["fpWeight"], miss=costs["fnWeight"])
