from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent import streams
from headwater_agent.columns import RecordRun
from headwater_agent.events import Happened, Record, Refuse
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.pipeline_settings import PipelineSettings
from headwater_agent.streams import Joined, Streams
from headwater_models.manifest import Manifest
from tests.agent.model import classification, manifest, record, regression


def join(known: Streams, *items: Record) -> tuple[Joined, list[Refuse | Happened]]:
    made = Joined()
    told = list(known.join(items, made))
    return made, told


def make(**chosen: object) -> Streams:
    guard = GuardSettings(**chosen)  # type: ignore[arg-type]
    return Streams(manifest(window=2, max_gap=3), PipelineSettings(guard=guard))


def test_records_become_rows_and_windows_of_their_stream() -> None:
    made, told = join(make(), record(1), record(1, stream="b"), record(2))
    assert told == []
    assert [(row.stream, row.slot) for row in made.rows] == [("tank-1", 1), ("b", 1), ("tank-1", 2)]
    assert [(one.row.stream, one.row.slot) for one in made.cut] == [("tank-1", 2)]
    assert list(made.touched) == ["tank-1", "b"]


def test_a_marked_cell_marks_every_window_that_holds_it() -> None:
    made, _ = join(make(), *(record(minute, 11 if minute == 2 else 1) for minute in range(6)))
    assert [(one.row.slot, one.marked) for one in made.cut] == [
        (1, False),
        (2, True),
        (3, True),
        (4, False),
        (5, False),
    ]
    assert [mark.reason for mark in made.marks] == ["range"]


def test_windows_are_marked_while_learning_pauses_and_that_is_told() -> None:
    known = make(burst=0.5, records=4)
    levels = [1, 11, 11, 1, 1, 1, 1, 1]
    made, told = join(known, *(record(minute, level) for minute, level in enumerate(levels)))
    assert [one.kind for one in told if isinstance(one, Happened)] == ["paused", "resumed"]
    assert [one.row.slot for one in made.cut if one.marked] == [1, 2, 3, 4, 5]


def test_what_is_refused_says_why_and_changes_no_row() -> None:
    made, told = join(make(), record(1), record(1), record(2), record(0))
    assert [(one.reason, one.stream) for one in told if isinstance(one, Refuse)] == [
        ("duplicate", "tank-1"),
        ("late", "tank-1"),
    ]
    assert [row.slot for row in made.rows] == [1, 2]


def test_only_records_that_are_taken_up_count() -> None:
    known = make()
    join(known, record(1), record(1), record(2))
    assert known.records == 2


def test_there_are_no_more_streams_than_a_device_can_hold() -> None:
    known = make()
    for number in range(streams.MAX_STREAMS):
        known[str(number)]
    _, told = join(known, record(1, stream="one-more"), record(1, stream="7"))
    assert [(one.reason, one.stream) for one in told if isinstance(one, Refuse)] == [
        ("full", "one-more")
    ]


records = st.lists(
    st.builds(
        record,
        st.integers(0, 12),
        st.sampled_from([1.0, 2.0, 11.0, None]),
        st.just(1.0),
        stream=st.sampled_from(["a", "b"]),
    ),
    max_size=30,
)


@given(records, st.lists(st.integers(1, 5), min_size=1, max_size=30))
def test_it_makes_no_difference_how_records_are_cut_into_batches(
    items: list[Record], sizes: list[int]
) -> None:
    together, in_pieces = make(burst=0.5, records=4), make(burst=0.5, records=4)
    whole, _ = join(together, *items)
    pieces = Joined()
    while items:
        size = sizes[len(items) % len(sizes)]
        list(in_pieces.join(items[:size], pieces))
        items = items[size:]
    assert _told(whole) == _told(pieces)
    for name in ("a", "b"):
        assert together[name].progress() == in_pieces[name].progress()


runs = st.lists(
    st.tuples(st.sampled_from([1, 1, 1, 1, 1, 2, 5]), st.sampled_from([1.0, 2.0, 11.0, np.nan])),
    min_size=1,
    max_size=200,
)


@given(runs, st.integers(0, 2))
def test_records_in_columns_are_joined_as_one_by_one(
    steps: list[tuple[int, float]], hold: int
) -> None:
    minutes = list(accumulate(step for step, _ in steps))
    items = [
        record(minute, value, value) for minute, (_, value) in zip(minutes, steps, strict=True)
    ]
    values = np.array([item.values for item in items])
    times, present = np.array([item.time for item in items]), items[0].present
    run = RecordRun("tank-1", times, values, present, items[0].received, [0] * len(items))
    model = manifest(window=2, max_gap=3, hold=hold)
    settings = PipelineSettings(guard=GuardSettings(burst=0.5, records=4))
    together, one_by_one = Streams(model, settings), Streams(model, settings)
    whole, pieces = Joined(), Joined()
    told = together.join(run, whole)
    assert [one for item in items for one in one_by_one.join([item], pieces)] == told
    assert _told(whole) == _told(pieces)
    assert together["tank-1"].progress() == one_by_one["tank-1"].progress()
    assert together.join(run[:0], whole) == []


def _told(joined: Joined) -> list[object]:
    rows = [(row.stream, row.slot, row.marked, row.values.tobytes()) for row in joined.rows]
    cut = [(c.row.stream, c.row.slot, c.marked, c.missing, c.window.tobytes()) for c in joined.cut]
    return [rows, cut, set(joined.marks)]


@pytest.mark.parametrize("model", [manifest(), regression(), classification()])
def test_baselines_see_labels_as_if_one_by_one(model: Manifest) -> None:
    together, one_by_one = (Streams(model, PipelineSettings()) for _ in range(2))
    labels = [("tank-1", 1.0), ("b", 2.0), ("tank-1", 2.0), ("tank-1", 0.0)]
    together.labelled(labels)
    for name, label in labels:
        one_by_one[name].baseline.labelled(label)
    for name in ("tank-1", "b"):
        assert together[name].baseline.save() == one_by_one[name].baseline.save()
