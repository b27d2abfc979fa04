"""All streams of a device: records in, rows and complete windows out."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from headwater_agent.events import Floats, Happened, Mark, Record, Refuse, Row
from headwater_agent.guard.channel import sensors
from headwater_agent.guard.stream import StreamGuard
from headwater_agent.pipeline_settings import PipelineSettings
from headwater_agent.stream import Stream
from headwater_models.manifest import MAX_MISSING, Manifest

MAX_STREAMS = 10_000
"""Most streams one agent follows; records of further ones are refused and counted."""


class Cut(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A window to predict, and when the record that completed it was received.

    ``marked`` says that it is not to be learned from, ``missing`` which share of its cells is
    missing.
    """

    row: Row
    window: Floats
    received: int
    marked: bool
    missing: float


@dataclass(slots=True)
class Joined:
    """What came of the records of a batch; ``touched`` are the streams that changed."""

    rows: list[Row] = field(default_factory=list)
    cut: list[Cut] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    touched: dict[str, None] = field(default_factory=dict)


class _Made(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A row, and what is known of the record that completed it: its place in the batch first."""

    place: int
    row: Row
    received: int
    paused: bool


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

    def join(self, records: Sequence[Record], into: Joined) -> Iterator[Refuse | Happened]:
        """Guard the records, join them to rows and cut the windows that become complete.

        Rows and windows come in the order of the records that completed them.
        """
        places: dict[str, list[int]] = {}
        for place, record in enumerate(records):
            places.setdefault(record.stream, []).append(place)
        made: list[_Made] = []
        cut: list[tuple[int, Cut]] = []
        for name, own in places.items():
            if name not in self._streams and len(self._streams) >= MAX_STREAMS:
                yield from (Refuse("full", name) for _ in own)
                continue
            into.touched[name] = self.heard[name] = None
            of_stream = yield from self._rows(self[name], own, records, into.marks)
            made += of_stream
            cut += _cut(self[name], of_stream)
        if len(places) > 1:
            made.sort(key=lambda one: one.place)
            cut.sort(key=lambda one: one[0])
        into.rows += [one.row for one in made]
        into.cut += [one for _, one in cut]

    def _rows(
        self, stream: Stream, places: Sequence[int], records: Sequence[Record], marks: list[Mark]
    ) -> Generator[Refuse | Happened, None, list[_Made]]:
        """Join the records of one stream, all at once where each is a row that follows the last."""
        admitted = [(place, records[place]) for place in places]
        if not stream.guard.admit_all([record for _, record in admitted]):
            admitted = yield from _admit(stream, admitted)
        made: list[_Made] = []
        if admitted and stream.rows.follow([record for _, record in admitted]):
            judged, paused = yield from self._judge(stream, admitted, marks)
            for (place, record), row, pause in zip(
                admitted, stream.rows.append(judged), paused, strict=True
            ):
                made.append(_Made(place, row, record.received, pause))
            return made
        for place, record in admitted:
            if not stream.rows.accepts(record):
                yield Refuse("late", record.stream)
                continue
            (one,), (pause,) = yield from self._judge(stream, [(place, record)], marks)
            made += (_Made(place, row, record.received, pause) for row in stream.rows.add(one))
        return made

    def _judge(
        self, stream: Stream, admitted: Sequence[tuple[int, Record]], marks: list[Mark]
    ) -> Generator[Happened, None, tuple[list[Record], list[bool]]]:
        """Return records as they may be used, and whether learning was paused after each."""
        self.records += len(admitted)
        guard, paused = stream.guard, [stream.guard.paused]
        judged: list[Record] = []
        for _, record in admitted:
            found = guard.judge(record)
            judged.append(found.record)
            marks.extend(found.marks)
            if guard.paused != paused[-1]:
                kind: Literal["resumed", "paused"] = "paused" if guard.paused else "resumed"
                yield Happened(kind, f"stream {record.stream}")
            paused.append(guard.paused)
        return judged, paused[1:]


def _admit(
    stream: Stream, came: Sequence[tuple[int, Record]]
) -> Generator[Refuse, None, list[tuple[int, Record]]]:
    """Return the records that may be gone on with, each with the place of the one that let it."""
    admitted: list[tuple[int, Record]] = []
    for place, record in came:
        for one in stream.guard.admit(record):
            if isinstance(one, Refuse):
                yield one
            else:
                admitted.append((place, one))
    return admitted


def _cut(stream: Stream, made: Sequence[_Made]) -> Iterator[tuple[int, Cut]]:
    """Yield the windows that can be predicted, each with its place in the batch."""
    windows = stream.window.push([one.row for one in made])
    for one, window in zip(made, windows, strict=True):
        if window is None or window.missing > MAX_MISSING or _saw_nothing(one.row):
            continue
        marked = window.marked or one.paused
        yield one.place, Cut(one.row, window.values, one.received, marked, window.missing)


def _saw_nothing(row: Row) -> bool:
    return b"\1" not in row.observed.tobytes()
