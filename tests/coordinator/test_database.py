"""The books: one writer, nothing twice, and everything back after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from headwater import wire
from headwater.errors import StorageError
from headwater_coordinator import events as e
from headwater_coordinator.database import Database
from headwater_coordinator.decisions import Ruling
from headwater_coordinator.gate import Decision, Paired
from headwater_coordinator.location import Location
from headwater_coordinator.migrations import MIGRATIONS
from headwater_coordinator.reader import reading
from headwater_coordinator.state import Device, Pending, Version
from headwater_coordinator.states import Remembered

pytestmark = pytest.mark.both_engines

FIRST = Version("1" * 64, 1, "", "{}")
CANDIDATE = Version("2" * 64, 2, FIRST.name, "{}")
ONES = np.ones(3, np.float32)
TWICE = r"(?i)unique"
NOTHING = Remembered("FedAvg", {})
DECISION = Decision(True, "released: better", Paired(devices=2, rows=10))


@pytest.fixture
def books(location: Location) -> Iterator[Database]:
    with Database(location) as database:
        database.begin(FIRST, 1)
        database.note(Device("SHA256:a", "a", FIRST.name, 1))
        database.rounds.open(e.Open(1, FIRST.name, 2), 2)
        yield database


def accept(books: Database, sequence: int, node: str = "SHA256:a") -> Pending:
    pending = Pending(node, FIRST.name, sequence, 10)
    update = wire.Update(
        task="3" * 64,
        device=node.removeprefix("SHA256:"),
        model="4" * 64,
        base=FIRST.name,
        sequence=sequence,
        examples=10,
        loss_before=1.0,
        loss_after=0.5,
        data_until_ms=0,
    )
    books.accept(e.Accept(update, pending, np.arange(3, dtype=np.float32), 1), 5)
    return pending


def merge(books: Database, *updates: Pending) -> None:
    books.merged(
        e.Merge(1, FIRST, updates),
        CANDIDATE,
        [u.weight for u in updates],
        remembered=NOTHING,
        new=True,
        now=6,
    )


def test_a_new_folder_has_no_release(location: Location) -> None:
    with (
        Database(location) as database,
        pytest.raises(StorageError, match="init"),
    ):
        database.load()


def test_what_was_accepted_comes_back(books: Database) -> None:
    pending = accept(books, 3)
    state = books.load()
    assert (state.release, state.round, state.candidate) == (FIRST, 1, None)
    assert state.pending == {"SHA256:a": pending}
    assert (state.devices["SHA256:a"].taken, state.devices["SHA256:a"].merged) == (3, 0)
    with books.reading([pending], 3, staleness=lambda _: 0, packed=lambda _: ONES) as updates:
        np.testing.assert_array_equal(updates.source.vector(0), [0.0, 1.0, 2.0])
        assert updates.examples == [10]


def test_a_later_update_takes_the_place_of_the_pending_one(books: Database) -> None:
    accept(books, 1)
    later = accept(books, 2)
    assert books.load().pending == {"SHA256:a": later}


def test_the_same_update_is_never_entered_twice(books: Database) -> None:
    merge(books, accept(books, 1))
    with pytest.raises(StorageError, match=TWICE):
        accept(books, 1)


def test_a_merge_settles_its_updates_and_no_others(books: Database) -> None:
    books.note(Device("SHA256:b", "b", FIRST.name, 1))
    first, other = accept(books, 1), accept(books, 1, "SHA256:b")
    merge(books, first)
    state = books.load()
    assert (state.candidate, state.pending) == (CANDIDATE, {"SHA256:b": other})


def test_a_merge_that_fails_half_way_settles_nothing(books: Database) -> None:
    pending = accept(books, 1)
    missing = e.Merge(99, FIRST, (pending,))
    with pytest.raises(StorageError, match="has no round 99"):
        books.merged(missing, CANDIDATE, [10], remembered=NOTHING, new=True, now=6)
    state = books.load()
    assert (state.candidate, state.pending) == (None, {"SHA256:a": pending})


def test_a_release_names_whose_updates_it_contains(books: Database) -> None:
    merge(books, accept(books, 4))
    assert books.release(CANDIDATE, DECISION, 7) == {"SHA256:a": 4}
    state = books.load()
    assert (state.release, state.candidate) == (CANDIDATE, None)
    assert state.sequences == {FIRST.name: 1, CANDIDATE.name: 2}
    assert state.devices["SHA256:a"].merged == 4


def test_a_release_contains_what_those_before_it_contain(books: Database) -> None:
    books.note(Device("SHA256:b", "b", FIRST.name, 1))
    merge(books, accept(books, 4), accept(books, 7, "SHA256:b"))
    books.release(CANDIDATE, DECISION, 7)
    later = Version("5" * 64, 3, CANDIDATE.name, "{}")
    merged = e.Merge(1, CANDIDATE, (accept(books, 5),))
    books.merged(merged, later, [10], remembered=NOTHING, new=True, now=8)
    assert books.release(later, DECISION, 9) == {"SHA256:a": 5, "SHA256:b": 7}


def test_a_refused_candidate_is_kept_and_contains_no_one(books: Database) -> None:
    merge(books, accept(books, 4))
    books.reject(CANDIDATE, DECISION, 7)
    state = books.load()
    assert (state.release, state.candidate) == (FIRST, None)
    assert (state.devices["SHA256:a"].taken, state.devices["SHA256:a"].merged) == (4, 0)


def test_what_a_pending_update_started_from_is_kept_however_old(books: Database) -> None:
    accept(books, 4)
    for number in range(2, 6):
        merged = e.Merge(1, FIRST, ())
        version = Version(f"{number}" * 64, number, FIRST.name, "{}")
        books.merged(merged, version, [], remembered=NOTHING, new=True, now=6)
        books.release(version, DECISION, 7)
    assert books.versions.recent(1, releases=2) == {FIRST.name, "4" * 64, "5" * 64}


def test_the_newest_versions_are_kept_whatever_became_of_them(books: Database) -> None:
    for number, kind in enumerate(("release", "refused", "refused", "release", "refused"), 2):
        merged = e.Merge(1, FIRST, ())
        version = Version(f"{number}" * 64, number, FIRST.name, "{}")
        books.merged(merged, version, [], remembered=NOTHING, new=True, now=10 * number)
        decide = books.release if kind == "release" else books.reject
        decide(version, DECISION, 10 * number + 1)
    assert books.versions.recent(2, releases=1) == {"5" * 64, "6" * 64}
    assert books.versions.recent(1, releases=2) == {"2" * 64, "5" * 64, "6" * 64}


def test_two_releases_cannot_have_the_same_sequence(books: Database) -> None:
    merge(books, accept(books, 1))
    books.release(CANDIDATE, DECISION, 7)
    with pytest.raises(StorageError, match=TWICE):
        books.restored([replace(CANDIDATE, sequence=FIRST.sequence)], Ruling("me"), 8)


def test_books_that_hold_a_release_are_no_place_for_a_first_one(books: Database) -> None:
    with pytest.raises(StorageError, match="holds books already; name an empty database"):
        books.begin(Version("5" * 64, 1, "", "{}"), 8)


def test_two_devices_cannot_have_the_same_name(books: Database) -> None:
    with pytest.raises(StorageError, match=TWICE):
        books.note(Device("SHA256:other", "a"))


def test_a_round_that_a_restart_cut_short_is_closed_as_such(books: Database) -> None:
    books.rounds.interrupt(9)
    rows = books._engine.execute("SELECT outcome, closed_ms FROM rounds")
    assert rows == [("interrupted", 9)]


def test_books_newer_than_the_program_are_refused(location: Location) -> None:
    with Database(location) as database:
        database._engine.advance("SELECT 1", len(MIGRATIONS) + 1)
    with pytest.raises(StorageError, match="update headwater"):
        Database(location)
    with pytest.raises(StorageError, match="update headwater"), reading(location):
        pass
