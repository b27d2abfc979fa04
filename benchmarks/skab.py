"""The SKAB case: faults of a water pump from eight sensors, by a detector that is never told.

The benchmark's own protocol [1]_: each file's first 400 rows may be fitted to, the others are
scored, and the decisions on all files count together. Here they are made row by row in one pass,
and no label is used to set a threshold. What is chosen by labels, the candidate (model, smoothing
and risk), is chosen for each of the three groups of files on the other two: the best F1 of those
whose false alarms there are at most 25 %, as 30 % are allowed.

.. [1] Katser and Kozitsin, Skoltech Anomaly Benchmark (SKAB), 2020.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.detector import Fit, judge, scores
from benchmarks.report import Figure, Report, report, spread
from headwater_agent.threshold_settings import ThresholdSettings

SENSORS = (
    "Accelerometer1RMS",
    "Accelerometer2RMS",
    "Current",
    "Pressure",
    "Temperature",
    "Thermocouple",
    "Voltage",
    "RateRMS",
)
STEADY = tuple(name for name in SENSORS if not name.startswith("T"))
"""The sensors without the two of temperature, which rises as long as the pump runs."""

FITTED = 400
ALLOWED = 0.25

ROW = Fit(window=1, hidden=(3,), epochs=50)
STRETCH = Fit(window=10, hidden=(16,), epochs=50)
FITS = tuple(product((SENSORS, STEADY), (ROW, STRETCH)))
SMOOTHINGS = (10, 20, 30)
RISKS = (0.01, 0.003, 0.001)

QUICK_FILES = 2
QUICK_FITS = FITS[:1]
PACKAGES = ("headwater", "onnxruntime", "numpy")

Decisions = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """One file: its group, rows ``[R, 8]`` in the order of SENSORS, and what is wrong ``[R]``."""

    group: str
    rows: NDArray[np.float64]
    wrong: Decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The files, and what is tried on them: sensors with a model, smoothings and risks."""

    logs: tuple[Log, ...]
    fits: tuple[tuple[tuple[str, ...], Fit], ...] = FITS
    smoothings: tuple[int, ...] = SMOOTHINGS
    risks: tuple[float, ...] = RISKS


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is chosen by labels: sensors, model, smoothing and risk."""

    sensors: tuple[str, ...]
    fit: Fit
    smoothing: int
    risk: float

    @property
    def threshold(self) -> ThresholdSettings:
        """The settings of the threshold; the windows that were fitted to are its warm-up."""
        return ThresholdSettings(
            risk=self.risk, smoothing=self.smoothing, warm_up=FITTED - self.fit.window + 1
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows that are scored: flagged and wrong, flagged, wrong, all."""

    hits: int = 0
    flagged: int = 0
    wrong: int = 0
    rows: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.hits + other.hits,
            self.flagged + other.flagged,
            self.wrong + other.wrong,
            self.rows + other.rows,
        )

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.hits / max(self.flagged + self.wrong, 1)

    @property
    def false_alarms(self) -> float:
        """Share of the rows with nothing wrong that are flagged."""
        return (self.flagged - self.hits) / max(self.rows - self.wrong, 1)

    @property
    def missed(self) -> float:
        """Share of the rows with something wrong that are not flagged."""
        return 1 - self.hits / max(self.wrong, 1)


Table = Mapping[Candidate, Mapping[str, Counts]]
"""What each candidate makes of each group."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one seed: each group with the candidate chosen on the others, and all files together.

    ``best`` is the candidate chosen on what is scored, ``plain`` the one that nobody chose.
    """

    groups: dict[str, Counts]
    chosen: dict[str, Candidate]
    best: Counts
    plain: Counts


def read_logs(folder: Path) -> tuple[Log, ...]:
    """Read ``skab.csv.gz``, a file after the other."""
    files: dict[str, list[dict[str, str]]] = {}
    with gzip.open(folder / "skab.csv.gz", "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            files.setdefault(row["file"], []).append(row)
    return tuple(
        Log(
            name.partition("/")[0],
            np.array([[float(row[sensor]) for sensor in SENSORS] for row in rows]),
            np.array([float(row["anomaly"]) > 0 for row in rows]),
        )
        for name, rows in files.items()
    )


def shorten(case: Case) -> Case:
    """Return the first files of each group, with one model to try."""
    groups = dict.fromkeys(log.group for log in case.logs)
    members = [[log for log in case.logs if log.group == group] for group in groups]
    logs = tuple(log for group in members for log in group[:QUICK_FILES])
    return replace(case, logs=logs, fits=QUICK_FITS)


def run(case: Case, seed: int) -> Outcome:
    """Try every candidate on every file, then choose; the seed decides weights and orders."""
    table: dict[Candidate, dict[str, Counts]] = {}
    for number, log in enumerate(case.logs):
        for candidate, flagged in _decide(case, log, np.random.default_rng([seed, number])):
            counts = table.setdefault(candidate, {})
            counts[log.group] = counts.get(log.group, Counts()) + count(flagged, log.wrong)
    groups = dict.fromkeys(log.group for log in case.logs)
    chosen = {
        group: choose(table, [other for other in groups if other != group]) for group in groups
    }
    return Outcome(
        groups={group: table[candidate][group] for group, candidate in chosen.items()},
        chosen=chosen,
        best=pooled(table[choose(table, groups)].values()),
        plain=pooled(table[plain(case)].values()),
    )


def plain(case: Case) -> Candidate:
    """Return the first model under the agent's own settings of the threshold."""
    settings = ThresholdSettings()
    return Candidate(*case.fits[0], settings.smoothing, settings.risk)


def choose(table: Table, groups: Iterable[str]) -> Candidate:
    """Return the candidate with the best F1 on these groups, among those that may be chosen."""
    found = {
        candidate: pooled(counts[group] for group in groups) for candidate, counts in table.items()
    }
    return max(found, key=lambda one: (found[one].false_alarms <= ALLOWED, found[one].f1))


def count(flagged: Decisions, wrong: Decisions) -> Counts:
    """Count the rows that are scored."""
    said, true = flagged[FITTED:], wrong[FITTED:]
    return Counts(int((said & true).sum()), int(said.sum()), int(true.sum()), len(true))


def pooled(counts: Iterable[Counts]) -> Counts:
    """Count all rows together."""
    return sum(counts, Counts())


def summary(outcomes: Sequence[Outcome]) -> Report:
    """Put the figures together: means over seeds with their spread."""
    whole = [pooled(outcome.groups.values()) for outcome in outcomes]
    everything = Counts(whole[0].wrong, whole[0].rows, whole[0].wrong, whole[0].rows)
    figures: dict[str, float | Figure] = {
        **spread("f1", [counts.f1 for counts in whole]),
        **spread("false_alarm_rate", [counts.false_alarms for counts in whole]),
        **spread("missed_alarm_rate", [counts.missed for counts in whole]),
        "f1_of_calling_all_anomalous": everything.f1,
    }
    for group in outcomes[0].groups:
        found = [outcome.groups[group] for outcome in outcomes]
        figures |= spread(f"f1_{group}", [counts.f1 for counts in found])
        figures |= spread(f"false_alarm_rate_{group}", [counts.false_alarms for counts in found])
    for name, found in {
        "chosen_on_all": [outcome.best for outcome in outcomes],
        "plain": [outcome.plain for outcome in outcomes],
    }.items():
        figures |= spread(f"f1_{name}", [counts.f1 for counts in found])
        figures |= spread(f"false_alarm_rate_{name}", [counts.false_alarms for counts in found])
    counts = {"rows": float(whole[0].rows), "seeds": float(len(outcomes))}
    return report("accuracy skab", PACKAGES, figures | counts)


def _decide(
    case: Case, log: Log, rng: np.random.Generator
) -> Iterator[tuple[Candidate, Decisions]]:
    for sensors, fit in case.fits:
        columns = [SENSORS.index(sensor) for sensor in sensors]
        found = scores(log.rows[:, columns], FITTED, fit, rng)
        for smoothing, risk in product(case.smoothings, case.risks):
            candidate = Candidate(sensors, fit, smoothing, risk)
            yield candidate, judge(found, candidate.threshold).flagged
