"""All streams of a device: records in, rows and complete windows out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from headwater_agent.events import Floats, Happened, Mark, Record, Refuse, Row
from headwater_agent.guard.channel import sensors
from headwater_agent.guard.stream import StreamGuard
from headwater_agent.pipeline_settings import PipelineSettings
from headwater_agent.stream import Stream
from headwater_models.manifest import MAX_MISSING, Manifest

MAX_STREAMS = 10_000
"""Most streams one agent follows; records of further ones are refused and counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A complete window and the row that completed it.

    ``marked`` says that it is not to be learned from.
    """

    row: Row
    window: Floats
    received: int
    marked: bool


@dataclass(slots=True)
class Joined:
    """What came of the records of a batch; ``touched`` are the streams that changed."""

    rows: list[Row] = field(default_factory=list)
    cut: list[Cut] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    touched: dict[str, None] = field(default_factory=dict)


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
    """

    def __init__(self, manifest: Manifest, settings: PipelineSettings) -> None:
        self.records = 0
        self._manifest = manifest
        self._settings = settings
        self._sensors = sensors(manifest)
        self._streams: dict[str, Stream] = {}

    def __getitem__(self, name: str) -> Stream:
        """Return a stream, a new one where it was not heard of."""
        if name not in self._streams:
            guard = StreamGuard(name, self._sensors, self._settings.guard)
            self._streams[name] = Stream(name, self._manifest, self._settings.anomaly, guard)
        return self._streams[name]

    def join(self, records: Sequence[Record], into: Joined) -> Iterator[Refuse | Happened]:
        """Guard the records, join them to rows and cut the windows that become complete."""
        for record in records:
            if record.stream not in self._streams and len(self._streams) >= MAX_STREAMS:
                yield Refuse("full", record.stream)
                continue
            stream = self[record.stream]
            paused = stream.guard.paused
            into.touched[record.stream] = None
            for admitted in stream.guard.admit(record):
                if isinstance(admitted, Refuse):
                    yield admitted
                elif stream.rows.accepts(admitted):
                    self._add(stream, admitted, into)
                else:
                    yield Refuse("late", record.stream)
            if stream.guard.paused != paused:
                yield Happened("resumed" if paused else "paused", f"stream {record.stream}")

    def _add(self, stream: Stream, record: Record, into: Joined) -> None:
        judged = stream.guard.judge(record)
        into.marks.extend(judged.marks)
        self.records += 1
        for row in stream.rows.add(judged.record):
            into.rows.append(row)
            window = stream.window.push(row)
            if window is not None and row.observed.any() and missing(window) <= MAX_MISSING:
                marked = stream.window.marked or stream.guard.paused
                into.cut.append(Cut(row, window, record.received, marked))


def missing(window: Floats) -> float:
    """Return the share of missing cells."""
    return float(np.isnan(window).mean())
