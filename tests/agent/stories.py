"""Records and labels in the order in which they come, as hypothesis makes them up."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

from headwater_agent.events import Label, Record
from tests.agent.model import MINUTE, record

Item = Record | Label

_streams = st.sampled_from(["tank-1", "tank-1", "tank-2"])
_values = st.floats(0, 10, width=16)
_records = st.tuples(st.just("record"), st.sampled_from([1, 1, 1, 1, 1, 30, 40]), _streams, _values)
_ago = st.one_of(st.integers(-4, 1), st.integers(-62, -58))
_labels = st.tuples(st.just("label"), _ago, _streams, _values)


def _told(drawn: list[tuple[str, int, str, float]]) -> list[Item]:
    now = 100
    told: list[Item] = []
    for kind, minutes, stream, value in drawn:
        if kind == "record":
            now += minutes
            told.append(record(now + 0.5, value, stream=stream))
        else:
            time = round((now + minutes + 0.75) * MINUTE)
            told.append(Label(value, stream=stream, time=time))
    return told


stories = st.lists(st.one_of(_records, _labels), max_size=60).map(_told)
"""Two streams with jumps, and labels for what lies a few minutes, or about an hour, back."""


def cut(items: list[Item], sizes: list[int]) -> Iterator[list[Item]]:
    """Cut what comes into batches of these sizes; the rest is the last one."""
    start = 0
    for size in [*sizes, len(items)]:
        yield items[start : start + size]
        start += size
