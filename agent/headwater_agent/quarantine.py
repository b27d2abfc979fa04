"""What the guard keeps aside: found again by a person, put back when they say that it is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_agent.agent_reader import AgentReader
from headwater_agent.events import Cleared, Example, Floats, Held, Mark, MarkReason, Row
from headwater_agent.rebuilding import rebuild_windows
from headwater_models.manifest import Manifest

UNUSABLE: MarkReason = "infinite"
"""The reason of marks that cannot be put back."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of what is kept aside: all, or of one stream, channel, reason and time.

    Times are UTC milliseconds, from ``since`` to before ``until``.
    """

    stream: str = ""
    channel: str = ""
    reason: str = ""
    since: int = 0
    until: int = 2**62

    @property
    def narrow(self) -> bool:
        """Whether only values of some channel or reason are wanted."""
        return bool(self.channel or self.reason)

    def has(self, stream: str, time: int) -> bool:
        """Say whether a stream and a time are wanted."""
        return self.stream in ("", stream) and self.since <= time < self.until


@dataclass(slots=True)
class _Put:
    """What is put back into one stream: values by slot and channel, and what stays aside."""

    values: dict[int, dict[int, float]] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)


def find_marks(reader: AgentReader, manifest: Manifest, wanted: Wanted) -> list[Mark]:
    """Return the marks that are wanted, newest first."""
    names = [channel.name for channel in manifest.channels]
    return [
        mark
        for mark in reader.marks()
        if wanted.has(mark.stream, mark.time)
        and wanted.channel in ("", names[mark.channel])
        and wanted.reason in ("", mark.reason)
    ]


def find_held(reader: AgentReader, wanted: Wanted) -> list[Held]:
    """Return the windows of these streams and times that are held back, oldest first."""
    return [held for held in reader.held() if wanted.has(held.stream, held.time)]


def clear(reader: AgentReader, manifest: Manifest, wanted: Wanted) -> Cleared:
    """Return what follows when a person says that these values are right.

    A value goes back into its row where no later one took its place. A window that was held back
    becomes an example once nothing in it is kept aside any more: one that a value was put back
    into, and, where all of a time is wanted, one of that time that was held back in a pause.
    """
    cleared = [m for m in find_marks(reader, manifest, wanted) if m.reason != UNUSABLE]
    streams = _put(reader, manifest, cleared)
    held = [one for one in reader.held() if _may_go(one, manifest, wanted, streams)]
    rows = {
        stream: dict(_changed_rows(reader, stream, put.values)) for stream, put in streams.items()
    }
    return Cleared(
        marks=tuple(cleared),
        rows=tuple(row for of_stream in rows.values() for row in of_stream.values()),
        examples=tuple(_examples(manifest, held, _overlaid(reader, rows))),
    )


def _put(reader: AgentReader, manifest: Manifest, cleared: Sequence[Mark]) -> dict[str, _Put]:
    """Sort the marks by stream and slot, those that go and those that stay."""
    period = int(manifest.grid.period)
    gone = {(mark.stream, mark.time, mark.channel) for mark in cleared}
    streams: dict[str, _Put] = {}
    for mark in reversed(reader.marks()):
        put, slot = streams.setdefault(mark.stream, _Put()), mark.time // period
        if (mark.stream, mark.time, mark.channel) in gone:
            put.values.setdefault(slot, {})[mark.channel] = mark.value
        else:
            put.left.add(slot)
    return streams


def _may_go(held: Held, manifest: Manifest, wanted: Wanted, streams: dict[str, _Put]) -> bool:
    last = held.time // int(manifest.grid.period)
    slots = range(last - manifest.window + 1, last + 1)
    put = streams.get(held.stream, _Put())
    if any(slot in put.left for slot in slots):
        return False
    if any(slot in put.values for slot in slots):
        return True
    return not wanted.narrow and wanted.has(held.stream, held.time)


def _changed_rows(
    reader: AgentReader, stream: str, values: dict[int, dict[int, float]]
) -> Iterator[tuple[int, Row]]:
    if not values:
        return
    slots, cells = reader.rows_of(stream, min(values) - 1, max(values))
    known = dict(zip(slots.tolist(), cells, strict=True))
    for slot, found in sorted(values.items()):
        if slot not in known:
            continue
        row, before = known[slot].copy(), known.get(slot - 1)
        for channel, value in found.items():
            held_over = before is not None and row[channel] == before[channel]
            if np.isnan(row[channel]) or held_over:
                row[channel] = value
        yield slot, Row(stream, slot, row, np.zeros(len(row), np.bool_))


def _overlaid(
    reader: AgentReader, rows: dict[str, dict[int, Row]]
) -> Callable[[str, int, int], tuple[NDArray[np.int64], Floats]]:
    """Return how to read a stream's rows as they are once values were put back."""

    def rows_between(stream: str, first: int, last: int) -> tuple[NDArray[np.int64], Floats]:
        slots, cells = reader.rows_of(stream, first, last)
        cells = cells.copy()
        changed = rows.get(stream, {})
        for place, slot in enumerate(slots.tolist()):
            if slot in changed:
                cells[place] = changed[slot].values
        return slots, cells

    return rows_between


def _examples(
    manifest: Manifest,
    held: Sequence[Held],
    rows_between: Callable[[str, int, int], tuple[NDArray[np.int64], Floats]],
) -> Iterator[Example]:
    times = np.array([one.time for one in held], np.int64)
    windows, whole = rebuild_windows(manifest, [one.stream for one in held], times, rows_between)
    kept = [one for one, there in zip(held, whole, strict=True) if there]
    for one, window in zip(kept, windows, strict=True):
        yield Example(0, one.stream, one.time, window, one.label, one.reserved)
