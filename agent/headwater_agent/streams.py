"""All streams of a device: records in, rows and complete windows out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter, or_
from typing import TypeVar

from headwater_agent.columns import RecordRun, RowRun, received_of
from headwater_agent.cuts import Cut, CutRun
from headwater_agent.events import Floats, Happened, Mark, Record, Refuse, Row
from headwater_agent.guard.channel import sensors
from headwater_agent.guard.stream import StreamGuard
from headwater_agent.pipeline_settings import PipelineSettings
from headwater_agent.stream import Stream
from headwater_models.manifest import MAX_MISSING, Manifest

MAX_STREAMS = 10_000
"""Most streams one agent follows; records of further ones are refused and counted."""


@dataclass(slots=True)
class Joined:
    """What came of the records of a batch; ``touched`` are the streams that changed."""

    rows: Sequence[Row] = ()
    cut: Sequence[Cut] = ()
    marks: list[Mark] = field(default_factory=list)
    touched: dict[str, None] = field(default_factory=dict)

    def add(self, rows: Sequence[Row], cut: Sequence[Cut] = ()) -> None:
        """Take more; what came in columns stays in them where nothing else comes."""
        self.rows, self.cut = _behind(self.rows, rows), _behind(self.cut, cut)


Told = Refuse | Happened
"""What is to be told of records that did not simply become rows."""

_Made = tuple[Sequence[int], Sequence[Row], Sequence[Cut | None]]
"""Of each row the place in the batch of the record that completed it, itself, and its window.

Where it is a :class:`CutRun` the first rows may have none.
"""

_T = TypeVar("_T")


class Streams:
    """The streams that were heard of so far, by name.

    Parameters
    ----------
    manifest
        The model.
    settings
        How records are guarded, and thresholds set.

    Attributes
    ----------
    records
        How many were taken up.
    heard
        The streams of which any came since somebody took them away.
    """

    def __init__(self, manifest: Manifest, settings: PipelineSettings) -> None:
        self.records = 0
        self.heard: dict[str, None] = {}
        self._manifest = manifest
        self._settings = settings
        self._sensors = sensors(manifest)
        self._streams: dict[str, Stream] = {}

    def __getitem__(self, name: str) -> Stream:
        """Return a stream, a new one where it was not heard of."""
        if name not in self._streams:
            self.renew(name)
        return self._streams[name]

    def __contains__(self, name: str) -> bool:
        return name in self._streams

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def renew(self, name: str) -> Stream:
        """Let a stream begin without a past, and return it."""
        guard = StreamGuard(name, self._sensors, self._settings.guard)
        made = Stream(name, self._manifest, self._settings.anomaly, guard)
        self._streams[name] = made
        return made

    def judge(
        self, names: Sequence[str], released: Floats, personal: Floats
    ) -> list[tuple[float, float]]:
        """Return for each output ``[N, 1]`` of a stream from where on it is an anomaly.

        See :meth:`.Stream.judge`.
        """
        if self._manifest.task != "anomaly":
            return [(math.nan, math.nan)] * len(names)
        return [
            self[name].judge(ours, theirs)
            for name, ours, theirs in zip(names, released, personal, strict=True)
        ]

    def labelled(self, labels: Iterable[tuple[str, float]]) -> None:
        """Show the baselines of streams the labels of their predictions."""
        if self._manifest.task != "classification":
            labels = dict(labels).items()  # shares are counted; else the newest is all they need
        for name, label in labels:
            self[name].baseline.labelled(label)

    def join(self, records: Sequence[Record], into: Joined) -> list[Told]:
        """Guard the records, join them to rows and cut the windows that become complete.

        Rows and windows come in the order of the records that completed them. Returns what is to
        be told.
        """
        told: list[Told] = []
        made: list[_Made] = []
        for name, (places, own) in _of_each(records).items():
            stream = self._streams.get(name)
            if stream is None:
                if len(self._streams) >= MAX_STREAMS:
                    told += [Refuse("full", name) for _ in own]
                    continue
                stream = self.renew(name)
            into.touched[name] = self.heard[name] = None
            made.append(self._rows(stream, places, own, into.marks, told))
        _, rows, cuts = made[0] if len(made) == 1 else _in_order(made)
        into.add(rows, cuts if type(cuts) is CutRun else [cut for cut in cuts if cut is not None])
        return told

    def _rows(
        self,
        stream: Stream,
        places: Sequence[int],
        came: Sequence[Record],
        marks: list[Mark],
        told: list[Told],
    ) -> _Made:
        """Join the records of one stream, all at once where each is a row that follows the last."""
        if len(came) == 1 or not stream.guard.admit_all(came):
            came, places = _admit(stream, came, places, told)
        if not came:
            return (), (), ()
        if stream.rows.follow(came):
            judged, paused = self._judge(stream, came, marks, told)
            whole = stream.rows.append(judged)
            return places, whole, _cut(stream, whole, came, paused)
        rows: list[Row] = []
        of_row: list[int] = []
        completed_by: list[Record] = []
        paused = []
        for place, record in zip(places, came, strict=True):
            if not stream.rows.accepts(record):
                told.append(Refuse("late", record.stream))
                continue
            (one,), (pause,) = self._judge(stream, [record], marks, told)
            for row in stream.rows.add(one):
                rows.append(row)
                of_row.append(place)
                completed_by.append(record)
                paused.append(pause)
        return of_row, rows, _cut(stream, rows, completed_by, paused)

    def _judge(
        self, stream: Stream, admitted: Sequence[Record], marks: list[Mark], told: list[Told]
    ) -> tuple[Sequence[Record], list[bool]]:
        """Return records as they may be used, and whether learning was paused after each."""
        self.records += len(admitted)
        guard, pauses = stream.guard, stream.guard.paused
        if len(admitted) == 1:
            alone = guard.judge(admitted[0])
            marks += alone.marks
            judged: Sequence[Record] = [alone.record]
            paused = [guard.paused]
        else:
            marked, paused = guard.judge_all(admitted)
            marks += chain.from_iterable(found.marks for found in marked.values())
            judged = _replaced(admitted, {place: one.record for place, one in marked.items()})
        for pause in paused:
            if pause != pauses:
                pauses = pause
                told.append(
                    Happened("paused" if pauses else "resumed", f"stream {admitted[0].stream}")
                )
        return judged, paused


def _admit(
    stream: Stream, came: Sequence[Record], places: Sequence[int], told: list[Told]
) -> tuple[list[Record], list[int]]:
    """Return the records that may be gone on with, each with the place of the one that let it."""
    admitted: list[Record] = []
    places_of: list[int] = []
    for record, place in zip(came, places, strict=True):
        for one in stream.guard.admit(record):
            if isinstance(one, Refuse):
                told.append(one)
            else:
                admitted.append(one)
                places_of.append(place)
    return admitted, places_of


def _replaced(records: Sequence[Record], judged: Mapping[int, Record]) -> Sequence[Record]:
    """Return records with those that have marks, by place, in the place of the same without."""
    if not judged:
        return records
    if type(records) is RecordRun:
        return records.with_marked(judged)
    return [judged.get(place, record) for place, record in enumerate(records)]


def _of_each(records: Sequence[Record]) -> dict[str, tuple[Sequence[int], Sequence[Record]]]:
    """Return the records of each stream, and their places."""
    if type(records) is RecordRun:
        return {records.stream: (range(len(records)), records)} if records else {}
    if len(records) == 1 or len({record.stream for record in records}) == 1:
        return {records[0].stream: (range(len(records)), records)}
    found: dict[str, tuple[list[int], list[Record]]] = {}
    for place, record in enumerate(records):
        places, own = found.setdefault(record.stream, ([], []))
        places.append(place)
        own.append(record)
    return {**found}


def _in_order(made: Sequence[_Made]) -> _Made:
    """Return what was made of several streams, in the order of its places."""
    of_each = sorted(
        chain.from_iterable(
            zip(places, rows, [*[None] * (len(rows) - len(cuts)), *cuts], strict=True)
            for places, rows, cuts in made
        ),
        key=itemgetter(0),
    )
    places, rows, cuts = zip(*of_each, strict=True) if of_each else ((), (), ())
    return places, rows, cuts


def _cut(
    stream: Stream, rows: Sequence[Row], records: Sequence[Record], paused: Sequence[bool]
) -> Sequence[Cut | None]:
    """Return the window of each row that can be predicted.

    Parameters
    ----------
    rows
        In their order.
    records, paused
        For each row the record that completed it, and whether learning was paused then.
    """
    received = received_of(records)
    if type(rows) is RowRun:
        return _cut_run(stream, rows, received, paused)
    return [
        None
        if window is None or window.missing > MAX_MISSING or 1 not in row.observed.tobytes()
        else Cut(row, window.values, came, window.marked or pause, window.missing)
        for row, window, came, pause in zip(
            rows, stream.window.push(rows), received, paused, strict=True
        )
    ]


def _cut_run(
    stream: Stream, rows: RowRun, received: Sequence[int], paused: Sequence[bool]
) -> Sequence[Cut | None]:
    """Do what :func:`_cut` does of rows that follow one another."""
    found = stream.window.push_run(rows)
    if len(found.values) < len(rows):
        first = len(rows) - len(found.values)
        rows, received, paused = rows.part(first, len(rows)), received[first:], paused[first:]
    marked = list(map(or_, found.marked, paused)) if any(paused) else found.marked
    cuts = CutRun(rows, found.values, received, marked, found.missing)
    whole = max(found.missing, default=0.0) <= MAX_MISSING
    if whole and (rows.observed.all() or rows.observed.any(axis=1).all()):
        return cuts
    return [cut if cut.missing <= MAX_MISSING and cut.row.observed.any() else None for cut in cuts]


def _behind(before: Sequence[_T], more: Sequence[_T]) -> Sequence[_T]:
    """Return some behind others, which are changed where they are a list."""
    if not before:
        return more
    joined = before if isinstance(before, list) else [*before]
    joined.extend(more)
    return joined
