"""The guard of one stream: which records it lets through, and which of their cells it marks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import msgspec
import numpy as np
from msgspec.structs import replace

from headwater_agent.events import Mark, MarkReason, Record, Refuse
from headwater_agent.guard.channel import SavedChannel, Sensor
from headwater_agent.guard.moves import StreamMoves
from headwater_agent.guard.settings import GuardSettings

REMEMBERED = 32
"""Newest records of a stream by which a repeated one is told."""

MAX_DOUBTED = 256
"""Most records that wait for another one to confirm their clock."""

_NEVER = -(2**62)


@dataclass(frozen=True, slots=True)
class Judged:
    """A record as it may be used, its marked cells missing, and what these were."""

    record: Record
    marks: tuple[Mark, ...] = ()


class _Doubted(msgspec.Struct, array_like=True):
    """A record that waits, without its stream and receipt."""

    time: int
    received: int
    values: bytes
    present: bytes


class SavedGuard(msgspec.Struct, array_like=True):
    """What :meth:`StreamGuard.save` gives."""

    records: int
    usual: float
    channels: list[SavedChannel]
    newest: int
    received: int
    seen: list[tuple[int, int]]
    doubted: list[_Doubted]
    recent: bytes
    paused: bool


class StreamGuard:
    """Let records through, or not, and mark what should not be learned from.

    Parameters
    ----------
    stream
        Name of the stream.
    sensors
        One for each channel.
    settings
        How strict it is.

    Attributes
    ----------
    paused
        Whether so many of the newest records had a mark that nothing of the stream is learned.
    """

    def __init__(self, stream: str, sensors: Sequence[Sensor], settings: GuardSettings) -> None:
        self.paused = False
        self._stream = stream
        self._sensors = tuple(sensors)
        self._settings = settings
        self._gap = self._sensors[0].gap
        self._moves = StreamMoves(sensors, settings)
        self._newest = self._received = _NEVER
        self._seen: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)
        self._doubted: list[Record] = []
        self._recent: deque[bool] = deque(maxlen=settings.records)
        self._marked = 0

    def admit(self, record: Record) -> Iterator[Record | Refuse]:
        """Yield what may be gone on with, in order, and what is refused.

        A record that jumps further ahead than the grid's largest gap, while less than half of
        that went by on the wall clock, waits for the next one: a later one confirms it, one that
        goes on from before refutes it.
        """
        if not self._settings.enabled:
            yield record
        elif self._repeats(record):
            yield Refuse("duplicate", self._stream)
        else:
            yield from self._check_clock(record)

    def judge(self, record: Record) -> Judged:
        """Mark what cannot be, and what does not follow from the stream's earlier records.

        A value that is not finite is always marked, the others only where the guard is enabled.
        """
        marks: dict[int, MarkReason] = {}
        cells: list[tuple[int, float]] = []
        impossible: list[tuple[int, float]] = []
        values = record.values.tolist()
        for index, (value, sensor) in enumerate(zip(values, self._sensors, strict=True)):
            if math.isnan(value):
                continue
            if math.isinf(value):
                marks[index] = "infinite"
            elif not sensor.minimum <= value <= sensor.maximum:
                impossible.append((index, value))
            elif sensor.ordered:
                cells.append((index, value))
        if self._settings.enabled:
            marks |= self._moves.judge(record.time, cells, impossible)
            self._count(marked=bool(marks))
        if not marks:
            return Judged(record)
        return Judged(
            _without(record, list(marks)),
            tuple(
                Mark(self._stream, record.time, index, values[index], reason)
                for index, reason in sorted(marks.items())
            ),
        )

    def save(self) -> SavedGuard:
        """Return everything that later decisions depend on."""
        return SavedGuard(
            records=self._moves.records,
            usual=self._moves.usual,
            channels=self._moves.save(),
            newest=self._newest,
            received=self._received,
            seen=list(self._seen),
            doubted=[
                _Doubted(r.time, r.received, r.values.tobytes(), r.present.tobytes())
                for r in self._doubted
            ],
            recent=bytes(self._recent),
            paused=self.paused,
        )

    def restore(self, saved: SavedGuard) -> None:
        """Go on where :meth:`save` was called.

        Raises
        ------
        ValueError
            When it is of another model.
        """
        self._moves.restore(saved.channels)
        self._moves.records, self._moves.usual = saved.records, saved.usual
        self._newest, self._received = saved.newest, saved.received
        self._seen.extend(saved.seen)
        self._doubted = [
            Record(
                self._stream,
                one.time,
                np.frombuffer(one.values, np.float32).copy(),
                np.frombuffer(one.present, np.bool_).copy(),
                one.received,
            )
            for one in saved.doubted
        ]
        self._recent.extend(map(bool, saved.recent))
        self._marked = sum(self._recent)
        self.paused = saved.paused

    def _repeats(self, record: Record) -> bool:
        """Say whether the same was said of the same time, and remember that it was."""
        content = record.values.tobytes() + record.present.tobytes()
        fingerprint = (record.time, crc32(content))
        if fingerprint in self._seen:
            return True
        self._seen.append(fingerprint)
        return False

    def _check_clock(self, record: Record) -> Iterator[Record | Refuse]:
        ahead = record.time - self._newest
        waited = 2 * (record.received - self._received)
        if self._newest != _NEVER and self._jumps(record) and waited < ahead:
            yield from self._doubt(record)
            return
        if ahead > 0:
            yield from self._refuse_doubted()
            self._newest, self._received = record.time, record.received
        yield record

    def _jumps(self, record: Record) -> bool:
        """Say whether more slots of the grid were left out than its largest gap has."""
        period = self._sensors[0].period
        return record.time // period - self._newest // period > self._gap // period

    def _doubt(self, record: Record) -> Iterator[Record | Refuse]:
        """Let a record wait that jumps ahead, or let through those that it is later than."""
        if self._doubted and record.time > self._doubted[-1].time:
            confirmed, self._doubted = self._doubted, []
            self._newest, self._received = confirmed[-1].time, confirmed[-1].received
            yield from confirmed
            yield from self._check_clock(record)
            return
        if self._doubted and record.time < self._doubted[-1].time:
            yield from self._refuse_doubted()
        if len(self._doubted) == MAX_DOUBTED:
            yield from self._refuse_doubted()
        self._doubted.append(record)

    def _refuse_doubted(self) -> Iterator[Refuse]:
        for _ in self._doubted:
            yield Refuse("clock", self._stream)
        self._doubted = []

    def _count(self, *, marked: bool) -> None:
        """Pause after a burst of marked records, until as many without a mark followed."""
        if len(self._recent) == self._settings.records:
            self._marked -= self._recent[0]
        self._recent.append(marked)
        self._marked += marked
        limit = 0.0 if self.paused else self._settings.burst * self._settings.records
        self.paused = self._marked > 0 and self._marked >= limit


def _without(record: Record, marked: Sequence[int]) -> Record:
    """Return a record in which these channels were said to be missing."""
    values, mask = record.values.copy(), np.zeros(len(record.values), np.bool_)
    values[marked], mask[marked] = np.nan, True
    return replace(record, values=values, marked=mask)
