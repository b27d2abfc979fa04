"""Predictions that wait for their labels, and the labels that may still be corrected."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any

import numpy as np

from headwater_agent.columns import observed_of, slots_of, streams_of, values_of
from headwater_agent.events import Floats, Label, Row
from headwater_agent.met import Entry, Found, Labelled, Meeting
from headwater_agent.predictions import Predictions
from headwater_models.manifest import Manifest

MAX_WAITING = 20_000
"""Most predictions of a device that wait for a label or a correction; the oldest give way."""

FEW = 16
"""The target of fewer rows is looked at faster one by one."""

_NEVER = 2**62


@dataclass(slots=True)
class _Stream:
    """Entries of one stream by the time that they speak of, ascending."""

    times: list[int] = field(default_factory=list)
    entries: dict[int, Entry] = field(default_factory=dict)


class Labels:
    """Hold predictions until their labels come, and for some time after.

    A forecast is labelled by the target as it was observed at the window's last row plus the
    horizon; a value that was only held over is no label. Any prediction may also be labelled from
    outside, by its id or by the time that it speaks of, and corrected in the same way. A time
    means the row that a record of that time belongs to: the prediction that speaks of this row, or
    where there is none, the one that speaks of the time nearest to it.

    Parameters
    ----------
    manifest
        Task, horizon, period and target.
    late
        How long after the time that a prediction speaks of its label may come, milliseconds of
        event time; 0 where no label comes from outside.
    tolerance
        How far off the nearest may be, milliseconds.

    Attributes
    ----------
    given_up
        How many predictions were let go without a label.
    """

    def __init__(self, manifest: Manifest, *, late: int = 0, tolerance: int = 0) -> None:
        self.given_up = 0
        self._forecast = manifest.task == "forecast"
        self._horizon = int(manifest.horizon)
        self._period = int(manifest.grid.period)
        self._target = manifest.target_index if self._forecast else 0
        self._kept_from = (self._period if self._forecast else 0) - late
        """From when on, counted from the newest row, what is spoken of may still be labelled."""
        self._tolerance = tolerance
        self._streams: dict[str, _Stream] = {}
        self._by_id: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def expect(self, entry: Entry) -> None:
        """Hold a prediction made before its label is known."""
        prediction = entry.prediction
        stream = self._streams.get(prediction.stream)
        if stream is None:
            stream = self._streams[prediction.stream] = _Stream()
        speaks_of = prediction.time + self._horizon
        if speaks_of not in stream.entries:
            stream.times.append(speaks_of)
        stream.entries[speaks_of] = self._by_id[prediction.id] = entry
        if len(self._by_id) > MAX_WAITING:
            oldest = next(iter(self._by_id.values())).prediction
            self._forget_before(oldest.stream, oldest.time + self._horizon + self._period)

    def follow(
        self,
        rows: Sequence[Row],
        made: Predictions,
        windows: Floats,
        view: Callable[[int], Floats],
        sequences: Sequence[int] = (),
    ) -> Found:
        """Let rows label what waits and what is predicted at them, and hold what outlives them.

        It comes to what :meth:`meet`, :meth:`expect` and :meth:`let_go` of one after the other
        would, but what meets its label among them needs no place.

        Parameters
        ----------
        rows
            As they came, of any streams.
        made
            Predictions of some of them, not held yet.
        windows
            Of the predictions, float32 ``[N, T, C]``.
        view
            Returns the window of one by its place, as it is to be held: of its stream's rows,
            which windows share, so that many of them take little room.
        sequences
            Of the examples that these are already; none are without.
        """
        if not rows:
            return []
        streams, times = streams_of(rows), [slot * self._period for slot in slots_of(rows)]
        speak_of = (made.times + self._horizon).tolist()
        newest = dict(zip(streams, times, strict=True))
        alone = len(newest) == 1
        keys = speak_of if alone else zip(made.streams, speak_of, strict=True)
        fresh: dict[Any, int] = dict(zip(keys, range(len(made)), strict=True))
        places = times if alone else zip(streams, times, strict=True)
        meeting = Meeting()
        places_met, labels_met = meeting.places, meeting.labels
        for stream, time, at, label in zip(
            streams, times, map(fresh.get, places), self.observed(rows), strict=True
        ):
            if not isfinite(label):
                continue
            if at is not None:
                places_met.append(at)
                labels_met.append(label)
            elif (entry := self._waiting_for(stream, time)) is not None:
                meeting.meet(entry, label)
        for stream, time in newest.items():
            self._forget_before(stream, time + self._kept_from)
        stay: Sequence[int]
        if alone:
            stay = range(bisect_left(speak_of, times[-1] + self._kept_from), len(made))
        else:
            limits = [newest[stream] + self._kept_from for stream in made.streams]
            stay = [at for at, time in enumerate(speak_of) if time >= limits[at]]
        known = meeting.known()
        for at in stay:
            sequence = sequences[at] if sequences else 0
            meeting.fresh[at] = Entry(made[at], view(at), known.get(at), sequence)
            self.expect(meeting.fresh[at])
        self.given_up += len(made) - len(known) - sum(at not in known for at in stay)
        return meeting.found(made, windows)

    def restore(self, entries: Iterable[Entry], rows: Iterable[Row]) -> None:
        """Go on with what the store knows, up to the newest rows of the streams."""
        for entry in sorted(entries, key=lambda entry: entry.prediction.time):
            self.expect(entry)
        for row in rows:
            self.let_go(row)

    def observed(self, rows: Sequence[Row]) -> list[float]:
        """Return the target as it was observed in each row; what is not finite is no label."""
        if not self._forecast or not rows:
            return [nan] * len(rows)
        if len(rows) < FEW:
            at = self._target
            return [float(row.values[at]) if row.observed[at] else nan for row in rows]
        values, seen = values_of(rows)[:, self._target], observed_of(rows)[:, self._target]
        told: list[float] = np.where(seen, values, np.nan).tolist()
        return told

    def meet(self, row: Row, label: float) -> Labelled | None:
        """Return what a row labels, by the target as it was :meth:`observed` in it."""
        if not isfinite(label):
            return None
        entry = self._waiting_for(row.stream, row.slot * self._period)
        return self.take(entry, label) if entry is not None else None

    def let_go(self, row: Row) -> None:
        """Let go of what is beyond labels and corrections now that a row is there, and was met."""
        self._forget_before(row.stream, row.slot * self._period + self._kept_from)

    def find(self, label: Label) -> Entry | None:
        """Return what a label from outside is for; None where there is nothing, or no longer."""
        return self._by_id.get(label.id) if label.id else self._at(label)

    def take(self, entry: Entry, label: float) -> Labelled | None:
        """Give a prediction its label; None where it has the same one already."""
        before, entry.label = entry.label, label
        return Labelled(entry, label, before) if label != before else None

    def forget(self, stream: str) -> None:
        """Let go of everything that a label for a stream could be for, or correct."""
        self._forget_before(stream, _NEVER)

    def waiting(self) -> Iterator[Entry]:
        """Yield the entries that have no label yet, oldest first."""
        return (entry for entry in self._by_id.values() if entry.label is None)

    def _waiting_for(self, stream: str, time: int) -> Entry | None:
        """Return the entry that speaks of a time."""
        known = self._streams.get(stream)
        return known.entries.get(time) if known is not None else None

    def _at(self, label: Label) -> Entry | None:
        """Return the entry that speaks of the row of a label's time, or of the time nearest."""
        stream = self._streams.get(label.stream)
        if stream is None:
            return None
        after = bisect_right(stream.times, label.time)
        near = stream.times[max(after - 1, 0) : after + 1]
        if after and label.time - near[0] < self._period:
            return stream.entries[near[0]]
        best = min(near, key=lambda time: abs(time - label.time), default=None)
        if best is None or abs(best - label.time) > self._tolerance:
            return None
        return stream.entries[best]

    def _forget_before(self, name: str, time: int) -> None:
        """Let go of what speaks of an earlier time of a stream."""
        stream = self._streams.get(name)
        if stream is None or not stream.times or stream.times[0] >= time:
            return
        count = bisect_left(stream.times, time)
        for passed in stream.times[:count]:
            entry = stream.entries.pop(passed)
            self._by_id.pop(entry.prediction.id, None)
            self.given_up += entry.label is None
        del stream.times[:count]
