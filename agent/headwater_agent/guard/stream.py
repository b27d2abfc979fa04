"""The guard of one stream: which records it lets through, and which of their cells it marks."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator, Sequence
from operator import sub
from zlib import crc32

import msgspec
import numpy as np
from msgspec.structs import replace

from headwater_agent.columns import RecordRun, times_of, values_of
from headwater_agent.events import Mark, Record, Refuse
from headwater_agent.guard.channel import Sensor
from headwater_agent.guard.judge import Judge, Marks, SavedJudge
from headwater_agent.guard.settings import GuardSettings

REMEMBERED = 32
"""Newest records of a stream by which a repeated one is told."""

MAX_DOUBTED = 256
"""Most records that wait for others to tell whether their clock is right."""

OVERTAKEN_MS = 5_000
"""How long after a record that jumps ahead those may come that it has overtaken."""

FEW = 64
"""Fewer records are judged faster one by one."""

_NEVER = -(2**62)
_64_BITS = 2**64 - 1

_encode = msgspec.msgpack.Encoder().encode


class Judged(msgspec.Struct, frozen=True, gc=False):
    """A record as it may be used, its marked cells missing, and what these were."""

    record: Record
    marks: tuple[Mark, ...] = ()


class _Doubted(msgspec.Struct, array_like=True):
    """A record that waits, without its stream and receipt."""

    time: int
    received: int
    values: bytes
    present: bytes


class _Saved(msgspec.Struct, array_like=True):
    """What :meth:`StreamGuard.save` encodes."""

    judge: SavedJudge
    newest: int
    received: int
    seen: list[int]
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
        self._settings = settings
        self._period = sensors[0].period
        self._gap = sensors[0].gap // self._period * self._period
        self._judge = Judge(sensors, settings)
        self._newest = self._received = _NEVER
        self._seen: dict[int, None] = {}
        self._doubted: list[Record] = []
        self._recent = 0

    def admit(self, record: Record) -> Sequence[Record | Refuse]:
        """Return what may be gone on with, in order, and what is refused.

        A record that jumps further ahead than the grid's largest gap, while less than half of
        that went by on the wall clock, waits. It may have overtaken others, for what was sent
        while a connection broke often comes again behind what is newer: once the stream has
        reached it, it goes on with it. :data:`OVERTAKEN_MS` later the next record decides: a later
        one confirms it, one that goes on from before refutes it.
        """
        if not self._settings.enabled:
            return (record,)
        if self._repeats(record):
            return (Refuse("duplicate", self._stream),)
        ahead = record.time - self._newest
        if ahead > self._gap or (self._doubted and ahead > 0):
            return list(self._check_clock(record))
        if ahead > 0:
            self._newest, self._received = record.time, record.received
        return (record,)

    def admit_all(self, records: Sequence[Record]) -> bool:
        """Go on with records of which each is later than all before, and none jumps ahead.

        False where they are not, and each is for :meth:`admit`.
        """
        if not self._settings.enabled:
            return True
        least, most = _ahead(records, self._newest)
        if self._doubted or not 0 < least <= most <= self._gap:
            return False
        for record in records[-REMEMBERED:]:
            self._repeats(record)
        self._newest, self._received = records[-1].time, records[-1].received
        return True

    def judge(self, record: Record) -> Judged:
        """Mark what cannot be, and what does not follow from the stream's earlier records.

        A value that is not finite is always marked, the others only where the guard is enabled.
        """
        values = record.values.tolist()
        marks: Marks
        if self._settings.enabled:
            marks = self._judge.judge(record.time, values)
            if marks or self._recent:
                self._count(marked=bool(marks))
        else:
            marks = {
                channel: "infinite" for channel, value in enumerate(values) if math.isinf(value)
            }
        return self._keep_aside(record, marks) if marks else Judged(record)

    def judge_all(self, records: Sequence[Record]) -> tuple[dict[int, Judged], list[bool]]:
        """Do what :meth:`judge` does of records that come one after the other.

        Returns
        -------
        dict
            Those with marks, by their place.
        list
            Of each whether learning was paused after it.
        """
        marked: dict[int, Judged] = {}
        paused: list[bool] = []
        if len(records) < FEW or not self._settings.enabled:
            for place, record in enumerate(records):
                judged = self.judge(record)
                if judged.marks:
                    marked[place] = judged
                paused.append(self.paused)
            return marked, paused
        values = np.array(values_of(records).T, np.float64, order="C")
        found = self._judge.judge_all(times_of(records), values)
        if not found and not self._recent:
            return marked, [self.paused] * len(records)
        for place, record in enumerate(records):
            marks = found.get(place)
            if marks:
                marked[place] = self._keep_aside(record, marks)
            if marks or self._recent:
                self._count(marked=bool(marks))
            paused.append(self.paused)
        return marked, paused

    def give_up(self) -> list[Refuse]:
        """Refuse the records that wait for a later one, for none will be judged here."""
        return list(self._refuse_doubted())

    def save(self) -> bytes:
        """Encode everything that later decisions depend on."""
        return _encode(
            _Saved(
                judge=self._judge.save(),
                newest=self._newest,
                received=self._received,
                seen=list(self._seen),
                doubted=[
                    _Doubted(r.time, r.received, r.values.tobytes(), r.present.tobytes())
                    for r in self._doubted
                ],
                recent=self._recent.to_bytes(32, "little"),
                paused=self.paused,
            )
        )

    def restore(self, saved: bytes) -> None:
        """Go on where :meth:`save` was called.

        Raises
        ------
        ValueError
            When it is damaged or of another model.
        """
        found = msgspec.msgpack.decode(saved, type=_Saved)
        self._judge.restore(found.judge)
        self._newest, self._received = found.newest, found.received
        self._seen = dict.fromkeys(found.seen)
        self._doubted = [
            Record(
                self._stream,
                one.time,
                np.frombuffer(one.values, np.float32).copy(),
                np.frombuffer(one.present, np.bool_).copy(),
                one.received,
            )
            for one in found.doubted
        ]
        self._recent = int.from_bytes(found.recent, "little")
        self.paused = found.paused

    def _repeats(self, record: Record) -> bool:
        """Say whether the same was said of the same time, and remember that it was."""
        content = crc32(record.present.tobytes(), crc32(record.values.tobytes()))
        fingerprint = (record.time ^ content << 32) & _64_BITS
        if fingerprint in self._seen:
            return True
        self._seen[fingerprint] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return False

    def _check_clock(self, record: Record) -> Iterator[Record | Refuse]:
        ahead = record.time - self._newest
        waited = 2 * (record.received - self._received)
        if self._newest != _NEVER and self._jumps(record) and waited < ahead:
            yield from self._doubt(record)
            return
        yield from self._let_through(record.time)
        if ahead > 0:
            self._newest, self._received = record.time, record.received
        yield record
        while self._doubted and self._left_out(self._doubted[0]) <= 1:
            yield from self._let_through(self._doubted[0].time)
        if self._have_waited(record):
            yield from self._refuse_doubted()

    def _left_out(self, record: Record) -> int:
        """Return how many slots of the grid a record is after the newest one."""
        return record.time // self._period - self._newest // self._period

    def _jumps(self, record: Record) -> bool:
        """Say whether more slots were left out than the grid's largest gap has."""
        return self._left_out(record) * self._period > self._gap

    def _doubt(self, record: Record) -> Iterator[Record | Refuse]:
        """Let a record wait that jumps ahead, unless those that it is later than did for long."""
        if self._have_waited(record):
            yield from self._refuse_doubted(after=record.time)
            if self._doubted and self._doubted[-1].time < record.time:
                yield from self._let_through(record.time)
                yield from self._check_clock(record)
                return
            if len(self._doubted) == MAX_DOUBTED:
                yield from self._refuse_doubted()
        insort(self._doubted, record, key=lambda one: one.time)

    def _have_waited(self, record: Record) -> bool:
        """Say whether what was to come before the doubted ones would be here with this record."""
        if not self._doubted:
            return False
        since = min(one.received for one in self._doubted)
        return record.received - since >= OVERTAKEN_MS or len(self._doubted) == MAX_DOUBTED

    def _let_through(self, until: int) -> Iterator[Record]:
        """Go on with the doubted ones up to a time."""
        while self._doubted and self._doubted[0].time <= until:
            record = self._doubted.pop(0)
            self._newest, self._received = record.time, record.received
            yield record

    def _refuse_doubted(self, after: int = _NEVER) -> Iterator[Refuse]:
        while self._doubted and self._doubted[-1].time > after:
            self._doubted.pop()
            yield Refuse("clock", self._stream)

    def _count(self, *, marked: bool) -> None:
        """Pause after a burst of marked records, until as many without a mark followed."""
        records = self._settings.records
        self._recent = (self._recent << 1 | marked) & ((1 << records) - 1)
        count = self._recent.bit_count()
        limit = 0.0 if self.paused else self._settings.burst * records
        self.paused = count > 0 and count >= limit

    def _keep_aside(self, record: Record, marks: Marks) -> Judged:
        """Return a record in which the marked channels were said to be missing."""
        values, mask = record.values.copy(), np.zeros(len(record.values), np.bool_)
        marked = list(marks)
        values[marked], mask[marked] = np.nan, True
        return Judged(
            replace(record, values=values, marked=mask),
            tuple(
                Mark(self._stream, record.time, channel, float(record.values[channel]), reason)
                for channel, reason in sorted(marks.items())
            ),
        )


def _ahead(records: Sequence[Record], newest: int) -> tuple[int, int]:
    """Return the least and the most that a record is later than the one before it."""
    if type(records) is RecordRun:
        steps = np.diff(records.times, prepend=newest)
        return int(steps.min()), int(steps.max())
    times = times_of(records)
    ahead = list(map(sub, times, [newest, *times]))
    return min(ahead), max(ahead)
