from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from headwater_agent import events
from headwater_agent.events import Alarm, Prediction, Warn
from headwater_agent.settings import StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.store import (
    Count,
    Fingerprints,
    MemoryStore,
    Note,
    Outbox,
    Store,
    Unsent,
    Update,
)
from tests.agent.making import example, prediction, row, rows, small_manifest

Make = Callable[..., Store]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Make stores of one kind; all are closed."""
    made: list[Store] = []

    def build(late: int = 0, fingerprints: int = 100, **limits: int) -> Store:
        settings = StoreSettings(**{"rows": 10_000, "examples": 1_000, **limits})  # type: ignore[arg-type]
        kept = {"late": late, "fingerprints": fingerprints}
        path = tmp_path / "agent" / "agent.db"
        store: Store = (
            MemoryStore(small_manifest(), settings, **kept)
            if request.param == "memory"
            else SqliteStore(path, small_manifest(), settings, **kept)
        )
        made.append(store)
        return store

    yield build
    for store in made:
        store.close()
        store.close()


@pytest.fixture
def store(make: Make) -> Store:
    return make()


def test_an_empty_store_has_nothing_to_go_on_from(store: Store) -> None:
    saved = store.load()
    assert saved.checkpoint is None
    assert (saved.sequence, list(saved.rows), list(saved.waiting)) == (0, [], [])
    assert store.examples(reserved=False, newest=5).window.shape == (0, 3, 2)


def test_the_latest_checkpoint_and_progress_replace_the_earlier(store: Store) -> None:
    store.write([events.Checkpoint(b"one", 1), events.Store(progress=(("s", b"p1"), ("t", b"q")))])
    store.write([events.Checkpoint(b"two", 2), events.Store(progress=(("s", b"p2"),))])
    saved = store.load()
    assert saved.checkpoint == b"two"
    assert dict(saved.progress) == {"s": b"p2", "t": b"q"}


def test_the_latest_standing_of_each_name_replaces_the_earlier(store: Store) -> None:
    store.write([events.Store(standing=(("", b"own"), ("s", b"one")))])
    store.write(
        [
            events.Store(standing=(("", b"own-2"), ("t", b"two"))),
            events.Store(standing=(("", b"own-3"),)),
        ]
    )
    assert dict(store.load().standing) == {"": b"own-3", "s": b"one", "t": b"two"}


def test_what_a_label_may_correct_comes_back_with_the_sequence_of_its_example(store: Store) -> None:
    made = tuple(prediction(slot) for slot in (3, 4, 5))
    store.write([rows(range(6)), events.Store(predictions=made, examples=(example(1, 3),))])
    store.write([events.Store(scores=(events.Score("s-3", 2.5),), examples=(example(2, 4),))])
    saved = store.load()
    found = {entry.prediction.id: entry for entry in saved.entries()}
    assert {key: (entry.label, entry.sequence) for key, entry in found.items()} == {
        "s-3": (2.5, 1),
        "s-4": (None, 2),
        "s-5": (None, 0),
    }


def test_the_newest_rows_of_each_stream_come_back_in_order(store: Store) -> None:
    store.write([rows(range(10)), rows([100, 101], "t")])
    found = [(r.stream, r.slot, r.values.tolist()) for r in store.load().rows]
    assert found == [
        *(("s", slot, [slot, slot + 0.5]) for slot in range(7, 10)),
        ("t", 100, [100.0, 100.5]),
        ("t", 101, [101.0, 101.5]),
    ]


def test_rows_read_back_were_observed_by_no_record(store: Store) -> None:
    store.write([rows([1])])
    assert not any(r.observed.any() for r in store.load().rows)


def test_a_missing_cell_stays_missing(store: Store) -> None:
    empty = replace(row(1), values=np.array([np.nan, 2], np.float32))
    store.write([events.Store(rows=(empty,))])
    (found,) = store.load().rows
    assert np.isnan(found.values[0])
    assert found.values[1] == 2


def test_an_example_comes_back_with_the_window_it_was_made_of(store: Store) -> None:
    store.write([rows(range(6))])
    store.write([events.Store(examples=(example(1, 4), example(2, 5)))])
    batch = store.examples(reserved=False, newest=10)
    assert batch.window.tolist() == [example(1, 4).window.tolist(), example(2, 5).window.tolist()]
    assert batch.time.tolist() == [4_000, 5_000]
    assert batch.label.tolist() == [[4.25], [5.25]]
    assert batch.weight.tolist() == [1.0, 1.0]
    assert (batch.window.dtype.name, batch.time.dtype.name) == ("float32", "int64")


def test_examples_of_many_streams_keep_their_order(store: Store) -> None:
    store.write([rows(range(6)), rows(range(50, 56), "t")])
    made = (example(1, 4), example(2, 53, "t"), example(3, 5), example(4, 54, "t"))
    store.write([events.Store(examples=made)])
    batch = store.examples(reserved=False, newest=3)
    assert batch.time.tolist() == [53_000, 5_000, 54_000]
    assert batch.window[:, -1, 0].tolist() == [53.0, 5.0, 54.0]


def test_examples_after_a_given_one_can_be_left_out(store: Store) -> None:
    made = (example(1, 3), example(2, 4), example(3, 5))
    store.write([rows(range(6)), events.Store(examples=made)])
    assert store.examples(reserved=False, newest=10, through=2).time.tolist() == [3_000, 4_000]
    assert store.examples(reserved=False, newest=10, through=0).time.tolist() == []


def test_reserved_examples_are_read_apart(store: Store) -> None:
    made = (example(1, 3), example(2, 4, reserved=True), example(3, 5))
    store.write([rows(range(6)), events.Store(examples=made)])
    assert store.examples(reserved=True, newest=10).time.tolist() == [4_000]
    assert store.examples(reserved=False, newest=10).time.tolist() == [3_000, 5_000]


def test_examples_after_the_checkpoint_are_given_back_to_be_learned(store: Store) -> None:
    made = (example(1, 3), example(2, 4, reserved=True), example(3, 5))
    store.write([rows(range(6)), events.Store(examples=made), events.Checkpoint(b"", 1)])
    saved = store.load()
    assert [e.sequence for e in saved.examples] == [3]
    assert saved.examples[0].window.tolist() == example(3, 5).window.tolist()
    assert saved.sequence == 3


def test_an_example_whose_rows_were_dropped_does_not_come_back(make: Make) -> None:
    store = make(rows=10, examples=10)
    store.write([rows(range(20)), events.Store(examples=(example(1, 3),))])
    store.write([rows(range(20, 40)), events.Store(examples=(example(2, 38),))])
    assert store.examples(reserved=False, newest=10).time.tolist() == [38_000]
    assert [e.sequence for e in store.load().examples] == [2]


def test_a_prediction_waits_until_its_label_came_or_can_no_longer_come(store: Store) -> None:
    store.write(
        [
            rows(range(10)),
            events.Store(predictions=tuple(prediction(slot) for slot in range(5, 10))),
            events.Store(scores=(events.Score("s-8", 3.0),)),
        ]
    )
    waiting = store.load().waiting
    ((found, window),) = waiting
    _same(found, prediction(9))
    assert window.tolist() == example(1, 9).window.tolist()


def test_a_prediction_for_a_label_from_outside_waits_longer(make: Make) -> None:
    store = make(late=4_000)
    store.write([rows(range(10))])
    store.write([events.Store(predictions=tuple(prediction(slot) for slot in range(2, 10)))])
    assert [found.time for found, _ in store.load().waiting] == [
        slot * 1_000 for slot in (4, 5, 6, 7, 8, 9)
    ]


def test_what_was_served_comes_back_with_a_prediction(store: Store) -> None:
    made = replace(prediction(9), served="personal", thresholds=(0.5, 0.25), marked=True)
    store.write([rows(range(10)), events.Store(predictions=(made,))])
    ((found, _),) = store.load().waiting
    assert (found.served, found.thresholds, found.marked) == ("personal", (0.5, 0.25), True)


def test_a_corrected_label_is_the_examples_from_then_on(store: Store) -> None:
    made = (example(1, 3), example(2, 4))
    store.write([rows(range(6)), events.Store(examples=made)])
    store.write([events.Store(corrections=(events.Correction(1, 77.0),))])
    assert store.examples(reserved=False, newest=2).label[:, 0].tolist() == [77.0, 4.25]


def test_a_prediction_written_again_changes_nothing(store: Store) -> None:
    store.write([rows(range(10)), events.Store(predictions=(prediction(9, value=1.0),))])
    store.write([events.Store(predictions=(prediction(9, value=5.0),))])
    ((found, _),) = store.load().waiting
    _same(found, prediction(9, value=1.0))


def test_a_score_for_a_dropped_prediction_is_no_harm(store: Store) -> None:
    store.write([events.Store(scores=(events.Score("gone", 1.0),))])
    assert list(store.load().waiting) == []


def test_what_is_over_a_limit_is_dropped_oldest_first(make: Make) -> None:
    store = make(rows=20, examples=5, predictions=5)
    for slot in range(3, 40):
        store.write(
            [
                events.Store(
                    rows=(row(slot),),
                    predictions=(prediction(slot),),
                    examples=(example(slot, slot),),
                )
            ]
        )
    assert store.examples(reserved=False, newest=99).time.tolist() == [
        slot * 1_000 for slot in range(35, 40)
    ]


def test_the_newest_rows_of_a_quiet_stream_are_never_dropped(make: Make) -> None:
    store = make(rows=10, examples=10)
    store.write([rows(range(5), "quiet")])
    for start in range(0, 100, 10):
        store.write([rows(range(start, start + 10), "busy")])
    assert [r.slot for r in store.load().rows if r.stream == "quiet"] == [2, 3, 4]


def unsent(token: int, text: str = "") -> Unsent:
    return Unsent(token, f"out/{token}", f"{text or token}".encode(), retain=token % 2 == 0)


def waiting(store: Store) -> list[tuple[int, str, bytes, bool]]:
    return [(u.token, u.topic, u.payload, u.retain) for u in store.messages().unsent]


def test_what_the_broker_has_not_acknowledged_comes_back_in_order(store: Store) -> None:
    store.write([Outbox(added=(unsent(1), unsent(2), unsent(3))), Outbox(gone=(2,))])
    store.write([Outbox(added=(unsent(4),), gone=(1, 77))])
    assert waiting(store) == [(3, "out/3", b"3", False), (4, "out/4", b"4", True)]


def test_in_whatever_order_messages_are_acknowledged_the_rest_stays_in_its_own(
    store: Store,
) -> None:
    store.write([Outbox(added=[unsent(n) for n in range(1, 13)])])
    store.write([Outbox(gone=(2, 3, 4, 9, 7, 8, 12, 1))])
    assert [token for token, *_ in waiting(store)] == [5, 6, 10, 11]
    store.write([Outbox(added=(unsent(13), unsent(14)), gone=(11, 10))])
    assert [token for token, *_ in waiting(store)] == [5, 6, 13, 14]


def test_what_is_published_again_after_a_restart_takes_the_place_of_what_was_left(
    store: Store,
) -> None:
    store.write([Outbox(added=(unsent(1, "old"), unsent(2, "old")))])
    store.write(
        [Outbox(added=(unsent(1, "new"), unsent(2, "new")), afresh=True), Outbox(gone=(1,))]
    )
    assert waiting(store) == [(2, "out/2", b"new", True)]
    store.write([Outbox(afresh=True)])
    assert waiting(store) == []


def test_a_full_outbox_drops_its_oldest_and_counts_them(make: Make) -> None:
    store = make(outbox=3)
    store.write([Outbox(added=(unsent(1), unsent(2)))])
    store.write([Outbox(added=tuple(unsent(n) for n in range(3, 8)), gone=(2,))])
    assert [token for token, *_ in waiting(store)] == [5, 6, 7]
    store.write([Outbox(added=(unsent(8),), gone=(3, 6))])
    assert [token for token, *_ in waiting(store)] == [5, 7, 8]
    counters = store.counters if isinstance(store, MemoryStore) else _counters(store)
    assert counters["outbox-dropped"] == 3


def test_the_newest_fingerprints_come_back_oldest_first(make: Make) -> None:
    store = make(fingerprints=3)
    assert list(store.messages().fingerprints) == []
    store.write([Fingerprints((5, -(2**63))), Fingerprints(())])
    store.write([Fingerprints((7,)), Fingerprints((2**63 - 1,))])
    assert list(store.messages().fingerprints) == [-(2**63), 7, 2**63 - 1]


def test_the_sequence_never_falls_behind_what_was_learned(store: Store) -> None:
    store.write([events.Checkpoint(b"", 50), events.Store(examples=(example(3, 3),))])
    assert store.load().sequence == 50


def test_updates_notes_and_counts_are_taken(store: Store) -> None:
    update = Update(1, "t" * 64, "b" * 64, 10, 123)
    store.write([update, Note(5, "release", "v2"), Count({"late": 2}), Count({"late": 3})])
    store.write([update])
    if isinstance(store, MemoryStore):
        assert store.updates == {1: update}
        assert store.counters == {"late": 5}
    else:
        assert isinstance(store, SqliteStore)
        assert store.update(1) == update
        assert store.last_update() == 1
        assert store.update(2) is None
        assert store.counters() == {"late": 5}
        assert store.notes(10) == [Note(5, "release", "v2")]


def test_alarms_are_taken_in_their_order(store: Store) -> None:
    first = Alarm("s", 5_000, "adwin", "", 2.5, 1.0)
    second = Alarm("s", 6_000, "page-hinkley", "a", -1.0, 3.0)
    store.write([Warn((first,))])
    store.write([Warn((second,)), rows(range(3))])
    if isinstance(store, MemoryStore):
        assert store.alarms == [first, second]
    else:
        assert isinstance(store, SqliteStore)
        assert store.alarms(10) == [second, first]
        assert store.alarms(1) == [second]


def _counters(store: Store) -> dict[str, int]:
    assert isinstance(store, SqliteStore)
    return store.counters()


def _same(found: Prediction, wanted: Prediction) -> None:
    for field in wanted.__struct_fields__:
        assert repr(getattr(found, field)) == repr(getattr(wanted, field))


def test_examples_are_erased_by_stream_up_to_a_sequence(store: Store) -> None:
    made = (example(1, 3), example(2, 53, "t"), example(3, 4), example(4, 5, reserved=True))
    store.write([rows(range(6)), rows(range(50, 56), "t"), events.Store(examples=made)])
    store.write([events.Store(examples=(example(5, 54, "t"),), erased=(("s", 3),))])
    assert store.examples(reserved=False, newest=10).time.tolist() == [53_000, 54_000]
    assert store.examples(reserved=True, newest=10).time.tolist() == [5_000]
    store.write([events.Store(erased=(("", 4),))])
    assert store.examples(reserved=False, newest=10).time.tolist() == [54_000]
    assert store.examples(reserved=True, newest=10).time.tolist() == []
    assert [e.sequence for e in store.load().examples] == [5]


def test_of_many_examples_all_are_erased(store: Store) -> None:
    """More than one segment of the log."""
    for start in range(0, 1_200, 300):
        made = tuple(example(n + 1, n + 10) for n in range(start, start + 300))
        store.write([rows(range(start, start + 310)), events.Store(examples=made)])
    store.write([events.Store(erased=(("s", 700),))])
    assert store.examples(reserved=False, newest=2_000).time.tolist() == [
        (n + 10) * 1_000 for n in range(700, 1_200)
    ]
