"""What is kept aside comes back when a person says so, and is learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from headwater_agent.events import Cleared, Held, Mark, MarkReason, Row, Store
from headwater_agent.quarantine import Wanted, clear, find_held, find_marks
from headwater_agent.settings import StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from tests.agent.making import PERIOD, small_manifest

MANIFEST = small_manifest(window=3)
NAN = float("nan")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "agent.db", MANIFEST, StoreSettings())
    yield made
    made.close()


def mark(
    slot: int,
    channel: int = 0,
    value: float = 99,
    *,
    stream: str = "s",
    reason: MarkReason = "spike",
) -> Mark:
    return Mark(stream, slot * PERIOD + 5, channel, value, reason)


def held(slot: int, stream: str = "s") -> Held:
    return Held(stream, slot * PERIOD, float(slot), reserved=False)


def keep_aside(
    store: SqliteStore,
    marks: Sequence[Mark],
    windows: Sequence[Held],
    slots: range = range(10),
    stream: str = "s",
) -> None:
    """Store rows that say their slot twice, but for what is marked."""
    missing = {(m.time // PERIOD, m.channel) for m in marks if m.stream == stream}
    rows = tuple(
        Row(
            stream,
            slot,
            np.array([NAN if (slot, c) in missing else slot for c in range(2)], np.float32),
            np.ones(2, np.bool_),
        )
        for slot in slots
    )
    store.write([Store(rows=rows, marks=tuple(marks), held=tuple(windows))])


def ends(cleared: Cleared) -> list[int]:
    """The slots of the examples' windows."""
    return [example.time // PERIOD for example in cleared.examples]


def take_up(store: SqliteStore, cleared: Cleared) -> None:
    """What the pipeline makes of it."""
    store.write([Store(rows=cleared.rows, examples=cleared.examples, cleared=cleared.marks)])


def test_a_value_goes_back_into_its_row_and_its_windows_become_examples(store: SqliteStore) -> None:
    keep_aside(store, [mark(4)], [held(4), held(5), held(6)])
    cleared = clear(store, MANIFEST, Wanted(stream="s"))
    (row,) = cleared.rows
    assert (row.slot, row.values.tolist()) == (4, [99, 4])
    assert ends(cleared) == [4, 5, 6]
    assert cleared.examples[1].window.tolist() == [[3, 3], [99, 4], [5, 5]]
    assert cleared.examples[1].label == 5
    take_up(store, cleared)
    assert find_marks(store, MANIFEST, Wanted()) == []
    assert find_held(store, Wanted()) == []
    assert clear(store, MANIFEST, Wanted()).examples == ()


def test_a_window_waits_until_nothing_in_it_is_kept_aside(store: SqliteStore) -> None:
    keep_aside(store, [mark(4), mark(6, 1)], [held(4), held(5), held(6), held(7)])
    cleared = clear(store, MANIFEST, Wanted(channel="a"))
    assert ends(cleared) == [4, 5]
    take_up(store, cleared)
    assert [m.channel for m in find_marks(store, MANIFEST, Wanted())] == [1]
    assert ends(clear(store, MANIFEST, Wanted())) == [6, 7]


def test_windows_of_a_pause_come_back_with_their_time(store: SqliteStore) -> None:
    keep_aside(store, [], [held(4), held(5), held(6)])
    wanted = Wanted(since=5 * PERIOD, until=6 * PERIOD)
    assert ends(clear(store, MANIFEST, wanted)) == [5]
    assert ends(clear(store, MANIFEST, Wanted(reason="spike"))) == []


def test_only_what_is_wanted_comes_back(store: SqliteStore) -> None:
    marks = [mark(2), mark(4, 1, reason="range"), mark(3, stream="t")]
    keep_aside(store, marks[:2], [])
    keep_aside(store, marks[2:], [], stream="t")

    def slots(wanted: Wanted) -> list[int]:
        return [m.time // PERIOD for m in clear(store, MANIFEST, wanted).marks]

    assert slots(Wanted()) == [3, 4, 2]
    assert slots(Wanted(stream="t")) == [3]
    assert slots(Wanted(channel="b")) == [4]
    assert slots(Wanted(reason="range")) == [4]
    assert slots(Wanted(since=3 * PERIOD, until=4 * PERIOD)) == [3]


def test_a_value_that_a_later_record_replaced_stays_replaced(store: SqliteStore) -> None:
    keep_aside(store, [], [])
    store.write([Store(marks=(mark(4),))])
    (row,) = clear(store, MANIFEST, Wanted()).rows
    assert row.values.tolist() == [4, 4]


def test_a_value_takes_the_place_of_one_that_was_held_over(store: SqliteStore) -> None:
    keep_aside(store, [], [])
    over = Row("s", 4, np.array([3, 4], np.float32), np.array([False, True]))
    store.write([Store(rows=(over,), marks=(mark(4),))])
    (row,) = clear(store, MANIFEST, Wanted()).rows
    assert row.values.tolist() == [99, 4]


def test_what_is_not_finite_cannot_be_put_back(store: SqliteStore) -> None:
    keep_aside(store, [mark(4, value=float("inf"), reason="infinite")], [held(4)])
    cleared = clear(store, MANIFEST, Wanted())
    assert (cleared.marks, cleared.rows, cleared.examples) == ((), (), ())
    assert len(find_marks(store, MANIFEST, Wanted())) == 1


def test_a_window_of_which_rows_were_dropped_is_not_made_up(store: SqliteStore) -> None:
    keep_aside(store, [mark(4)], [held(5)], slots=range(4, 10))
    cleared = clear(store, MANIFEST, Wanted())
    assert [row.slot for row in cleared.rows] == [4]
    assert cleared.examples == ()


def test_a_later_label_of_a_held_window_replaces_the_earlier(store: SqliteStore) -> None:
    keep_aside(store, [mark(4)], [held(4)])
    corrected = Held("s", 4 * PERIOD, 7.0, reserved=False)
    store.write([Store(held=(corrected,))])
    (example,) = clear(store, MANIFEST, Wanted()).examples
    assert example.label == 7
