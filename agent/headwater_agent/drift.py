"""Drift: says when a stream's error or its inputs are no longer what they were.

River's detectors watch, for each stream, the error of what was served and every channel as it was
observed. They see means over a few values, in standard deviations of the means before, so that
their parameters are free of scale. What they have seen cannot be stored, for river's detectors
know no other format than pickle: after a restart they are shown the stored rows and errors again
(:meth:`DriftMonitor.warm`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from math import copysign, isfinite, sqrt
from typing import Literal, Protocol

import numpy as np
from msgspec.structs import replace

from headwater.sparing import spared
from headwater_agent.columns import RowRun, observed_of, streams_of, values_of
from headwater_agent.drift_settings import DriftSettings
from headwater_agent.due import Due
from headwater_agent.events import Alarm, Row
from headwater_agent.runs import runs
from headwater_agent.stacking import join
from headwater_models.manifest import Manifest

WARM_UP = 10
"""Means that the first spread is taken from, before a detector sees any."""

FAR = 5.0
"""A mean counts as at most so many standard deviations: one spike is no drift."""

LATELY = 1 / 8
"""Weight of the newest mean in what an alarm says the quantity is lately."""

Name = Literal["adwin", "page-hinkley", "kswin"]


class Detector(Protocol):
    """A detector of river."""

    @property
    def drift_detected(self) -> bool:
        """Whether the last value made it certain of a change."""

    def update(self, x: float) -> None:
        """Take a value."""


Detectors = tuple[tuple[Name, Detector], ...]


@dataclass(frozen=True, slots=True)
class _Makers:
    """How a quantity gets its detectors: those of its means, and those of a sample of values."""

    means: Callable[[], Detectors]
    sample: Callable[[], Detectors]


@dataclass(frozen=True, slots=True)
class _Change:
    """Which detector is certain, of what, and what it was before."""

    detector: Name
    value: float
    before: float


class DriftMonitor:
    """Watch the streams of one model; river is imported only where a detector is on.

    Parameters
    ----------
    manifest
        The channels' names, and the period of rows.
    settings
        What is watched, and by which detectors.

    Attributes
    ----------
    unwatched
        Rows and errors of streams beyond the limit.
    silenced
        Alarms that fell into the quiet after another.
    """

    def __init__(self, manifest: Manifest, settings: DriftSettings) -> None:
        self.unwatched = 0
        self.silenced = 0
        self._channels = [channel.name for channel in manifest.channels]
        self._period = int(manifest.grid.period)
        self._settings = settings
        self._makers = _river(settings) if _detects(settings) else None
        self._rows: dict[str, _Rows] = {}
        self._errors: dict[str, _Errors] = {}

    def inputs(self, rows: Sequence[Row]) -> list[Alarm]:
        """Take rows; return an alarm for each channel that one of them shows to have changed.

        Only what was observed counts: no missing cell, and none held over from an earlier row.
        """
        if self._makers is None or not self._settings.watches("inputs"):
            return []
        alarms: list[Alarm] = []
        for stream, part in runs(streams_of(rows)):
            known, own = self._rows.get(stream), rows[part]
            if known is None:
                if self._is_full(self._rows, len(own)):
                    continue
                known = _Rows(len(self._channels), self._makers, self._settings)
                self._rows[stream] = known
            for row, channel, change in known.add(own):
                name, time = self._channels[channel], row.slot * self._period
                alarms += self._alarm(known.series[channel], change, stream, time, name)
        return alarms

    def errors(
        self, streams: Sequence[str], times: Sequence[int], losses: Sequence[float]
    ) -> list[Alarm]:
        """Take the errors of served predictions; return an alarm where errors have grown.

        An error that shrank is no alarm; the detectors then begin again from there.

        Parameters
        ----------
        streams, times
            Of the predictions.
        losses
            Their errors: in the target's unit, or 0 and 1 for classes; one that is not finite is
            passed over.
        """
        if self._makers is None or not self._settings.watches("error"):
            return []
        if not all(map(isfinite, losses)):
            known = list(map(isfinite, losses))
            streams, times = list(compress(streams, known)), list(compress(times, known))
            losses = list(compress(losses, known))
        alarms: list[Alarm] = []
        for stream, part in runs(streams):
            own = self._errors.get(stream)
            if own is None:
                if self._is_full(self._errors, len(losses[part])):
                    continue
                own = self._errors[stream] = _Errors(self._makers, self._settings)
            for at, change in own.add(losses[part]):
                if change.value > change.before:
                    alarms += self._alarm(own.series, change, stream, times[part][at], "")
        return alarms

    def warm(self, rows: Iterable[Row], errors: Iterable[tuple[str, int, float]]) -> None:
        """See what is stored again after a restart, and raise no alarm about it.

        Equal to not having stopped where all of a stream's rows and errors are given and no cell
        was held over, for a stored row does not say which were; else the detectors know less of
        the past and need longer to be certain.

        Parameters
        ----------
        rows
            As the store gives them, each stream's in order.
        errors
            Stream, time and error, each stream's in order.
        """
        self.inputs([replace(row, observed=~np.isnan(row.values)) for row in rows])
        if found := list(errors):
            self.errors(*zip(*found, strict=True))
        self.silenced = self.unwatched = 0

    def forget(self, stream: str) -> None:
        """Begin to watch a stream as if it were new."""
        self._rows.pop(stream, None)
        self._errors.pop(stream, None)

    def _is_full(self, streams: dict[str, _Rows] | dict[str, _Errors], values: int = 1) -> bool:
        full = len(streams) >= self._settings.streams
        self.unwatched += full * values
        return full

    def _alarm(
        self, series: _Series, change: _Change, stream: str, time: int, channel: str
    ) -> Iterator[Alarm]:
        if series.alarmed is not None and time - series.alarmed < self._settings.quiet:
            self.silenced += 1
            return
        series.alarmed = time
        yield Alarm(stream, time, change.detector, channel, change.value, change.before)


class _Past:
    """The moments of a quantity since it last changed, and how far a new value is from them.

    Distance is measured from the first values, in a spread that is taken anew only when as many
    values again have come, so that a change is not at once part of its own measure.
    """

    __slots__ = ("_due", "_m2", "_origin", "_spread", "count", "lately", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.lately = 0.0
        self._m2 = self._origin = self._spread = 0.0
        self._due = WARM_UP

    def far(self, value: float) -> float | None:
        """Take a value; return its distance in spreads, None among the first."""
        self.count += 1
        off = value - self.mean
        self.mean += off / self.count
        self._m2 += off * (value - self.mean)
        self.lately += max(LATELY, 1 / self.count) * (value - self.lately)
        if self.count <= WARM_UP:
            self._origin = self.mean
            return None
        if self.count > self._due:
            self._due *= 2
            self._spread = sqrt(self._m2 / self.count)
        off = value - self._origin
        if self._spread == 0:
            return copysign(FAR, off) if off else 0.0
        return max(-FAR, min(FAR, off / self._spread))


class _Series:
    """One quantity of one stream with the detectors that watch it."""

    __slots__ = ("_makers", "_means", "_past", "_sample", "alarmed")

    def __init__(self, makers: _Makers) -> None:
        self.alarmed: int | None = None
        self._makers = makers
        self._past, self._means, self._sample = _Past(), makers.means(), makers.sample()

    def mean(self, value: float) -> _Change | None:
        """Take a mean of values."""
        far = self._past.far(value)
        return None if far is None else self._ask(self._means, far)

    def value(self, value: float) -> _Change | None:
        """Take a single value of the sample."""
        return self._ask(self._sample, value)

    def _ask(self, detectors: Detectors, value: float) -> _Change | None:
        """Show a value to all; once one is certain, begin again, for all before is no measure."""
        certain: Name | None = None
        for name, detector in detectors:
            detector.update(value)
            if certain is None and detector.drift_detected:
                certain = name
        if certain is None:
            return None
        change = _Change(certain, self._past.lately, self._past.mean)
        self._past, self._means = _Past(), self._makers.means()
        self._sample = self._makers.sample()
        return change


class _Rows:
    """The channels of one stream, and the rows since the last means."""

    def __init__(self, channels: int, makers: _Makers, settings: DriftSettings) -> None:
        self.series = [_Series(makers) for _ in range(channels)]
        self._mean_of = settings.mean_of
        self._due = Due(settings)
        self._rows: list[Row] = []
        self._sums = [0.0] * channels
        self._counts = [0] * channels

    def add(self, rows: Sequence[Row]) -> Iterator[tuple[Row, int, _Change]]:
        """Take rows; yield each channel with a change, and the row that shows it."""
        totals = iter(self._totals(rows))
        for at, is_sampled, ends in self._due.after(len(rows)):
            found = self._sample(rows[at]) if is_sampled else []
            if ends:
                found += self._close(*next(totals))
            yield from ((rows[at], *change) for change in found)

    def _totals(self, rows: Sequence[Row]) -> Iterable[tuple[list[float], list[int]]]:
        """Return of each channel the sum and number of cells, for each mean that is whole."""
        mean_of, before = self._mean_of, self._rows
        whole = (len(before) + len(rows)) // mean_of
        if not whole:
            before += rows
            return ()
        used = whole * mean_of - len(before)
        self._rows = [*rows[used:]]
        if type(rows) is RowRun:
            parts = [part for part in (before, rows[:used]) if part]
        else:
            parts = [[*before, *rows[:used]]]
        there = join(list(map(observed_of, parts))).reshape(whole, mean_of, -1)
        values = join(list(map(values_of, parts))).reshape(there.shape)
        sums = np.where(there, values, 0).sum(axis=1)
        return zip(sums.tolist(), there.sum(axis=1).tolist(), strict=True)

    def _close(self, sums: list[float], counts: list[int]) -> list[tuple[int, _Change]]:
        """Take the means; a channel with less than half of its cells goes on adding."""
        found: list[tuple[int, _Change]] = []
        for i, series in enumerate(self.series):
            total, count = self._sums[i] + sums[i], self._counts[i] + counts[i]
            if 2 * count >= self._mean_of:
                if change := series.mean(total / count):
                    found.append((i, change))
                total, count = 0.0, 0
            self._sums[i], self._counts[i] = total, count
        return found

    def _sample(self, row: Row) -> list[tuple[int, _Change]]:
        """Take the cells of a row by themselves."""
        cells = zip(self.series, row.values.tolist(), row.observed.tolist(), strict=True)
        answers = [series.value(cell) if there else None for series, cell, there in cells]
        return [(i, change) for i, change in enumerate(answers) if change is not None]


class _Errors:
    """The error of one stream, its sum since the last mean."""

    def __init__(self, makers: _Makers, settings: DriftSettings) -> None:
        self.series = _Series(makers)
        self._mean_of = settings.mean_of
        self._due = Due(settings)
        self._sum = 0.0

    def add(self, losses: Sequence[float]) -> Iterator[tuple[int, _Change]]:
        """Take errors; yield each change, and the place of the one that shows it."""
        total, start = self._sum, 0
        for at, is_sampled, ends in self._due.after(len(losses)):
            for loss in losses[start : at + 1]:
                total += loss
            start = at + 1
            changes = [self.series.value(losses[at])] if is_sampled else []
            if ends:
                changes.append(self.series.mean(total / self._mean_of))
                total = 0.0
            yield from ((at, change) for change in changes if change is not None)
        for loss in losses[start:]:
            total += loss
        self._sum = total


def _detects(settings: DriftSettings) -> bool:
    detectors = (settings.adwin, settings.page_hinkley, settings.kswin)
    watched = settings.watches("error") or settings.watches("inputs")
    return watched and any(detector.enabled for detector in detectors)


def _river(settings: DriftSettings) -> _Makers:
    """Import river, and return how detectors are made.

    SciPy's statistics, which only KSWIN uses, and example data that nobody does take 1.6 s and
    88 MB of it, so that they are left out.

    Page-Hinkley runs without forgetting (``alpha`` of 1): with river's default its sums stop
    falling after some 10,000 values, and what is left is noise that crosses any threshold.
    """
    adwin, page_hinkley, kswin = settings.adwin, settings.page_hinkley, settings.kswin
    with spared("river.drift.datasets"), spared("scipy.stats"):
        drift = importlib.import_module("river.drift")
    if kswin.enabled:
        used = vars(importlib.import_module("river.drift.kswin"))
        used["stats"] = importlib.import_module("scipy.stats")

    def means() -> Detectors:
        made: list[tuple[Name, Detector]] = []
        if adwin.enabled:
            made.append(("adwin", drift.ADWIN(delta=adwin.delta, clock=1)))
        if page_hinkley.enabled:
            made.append(
                (
                    "page-hinkley",
                    drift.PageHinkley(
                        delta=page_hinkley.delta,
                        threshold=page_hinkley.threshold,
                        min_instances=WARM_UP,
                        alpha=1.0,
                    ),
                )
            )
        return tuple(made)

    def sample() -> Detectors:
        if not kswin.enabled:
            return ()
        return (("kswin", drift.KSWIN(alpha=kswin.alpha, seed=0)),)

    return _Makers(means, sample)
