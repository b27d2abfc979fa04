from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import StorageError
from headwater_agent import events, store_thread
from headwater_agent.settings import StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.store import (
    Count,
    Entry,
    MemoryStore,
    Note,
    Outbox,
    PassingError,
    Unsent,
    Update,
)
from headwater_agent.store_thread import HASTY, StoreThread
from tests.agent.making import row, small_manifest

FAR = 3600.0


class Groups(MemoryStore):
    """A store that remembers its groups and can hold one up, fail on a note, or be full."""

    def __init__(self) -> None:
        super().__init__(small_manifest(), StoreSettings())
        self.groups: list[list[Entry]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.attempts = 0
        self.full = False

    def write(self, group: Sequence[Entry]) -> None:
        self.gate.wait()
        self.attempts += 1
        if self.full:
            raise PassingError("the disk is full; free some space")
        if any(isinstance(entry, Note) for entry in group):
            raise StorageError("the disk is full")
        self.groups.append(list(group))
        super().write(group)


class Rig:
    """A store thread on a :class:`Groups`, with its wake-ups as an event."""

    def __init__(self, every_s: float, records: int) -> None:
        self.store = Groups()
        self.woken = threading.Event()
        self.thread = StoreThread(self.store, every_s=every_s, records=records, wake=self.woken.set)

    def put(self, *receipts: int) -> None:
        self.thread.put(events.Store(receipts=receipts))

    def fill_disk(self) -> None:
        """Let a group fail for want of room."""
        self.store.full = True
        self.put(1)
        self.thread.put(Count({"first": 1}))
        self.put(2, 3)
        self.wait_until_woken()
        assert "disk is full" in self.thread.trouble

    def put_rows(self, count: int, *receipts: int) -> None:
        self.thread.put(
            events.Store(rows=tuple(row(slot) for slot in range(count)), receipts=receipts)
        )

    def wait_until_woken(self) -> None:
        assert self.woken.wait(20)
        self.woken.clear()


@pytest.fixture
def slow() -> Iterator[Rig]:
    """A group never becomes old."""
    rig = Rig(FAR, 3)
    yield rig
    rig.thread.close()


def test_a_group_is_committed_when_it_holds_enough_receipts(slow: Rig) -> None:
    slow.put(1, 2)
    assert slow.thread.committed() == []
    slow.put(3)
    slow.wait_until_woken()
    assert slow.thread.committed() == [1, 2, 3]
    assert [len(group) for group in slow.store.groups] == [2]


def test_a_group_is_committed_when_it_is_old_enough() -> None:
    rig = Rig(0.001, 1000)
    rig.put(1)
    rig.wait_until_woken()
    assert rig.thread.committed() == [1]
    rig.thread.close()


def test_receipts_are_given_back_once_and_in_order(slow: Rig) -> None:
    slow.put(5, 4, 9)
    slow.wait_until_woken()
    assert slow.thread.committed() == [5, 4, 9]
    assert slow.thread.committed() == []


def test_no_receipt_is_given_back_before_its_group_is_durable(slow: Rig) -> None:
    slow.store.gate.clear()
    slow.put(1, 2, 3)
    assert slow.thread.committed() == []
    slow.store.gate.set()
    slow.wait_until_woken()
    assert slow.thread.committed() == [1, 2, 3]


def test_windows_of_examples_do_not_wait_for_the_disk(slow: Rig) -> None:
    window = np.ones((2, 1), np.float32)
    made = events.Example(7, "tank", 10, window, 1.0, reserved=False)
    slow.thread.put(events.Store(examples=(made,), receipts=(1, 2, 3)))
    slow.wait_until_woken()
    ((stored,),) = slow.store.groups
    assert isinstance(stored, events.Store)
    assert [(one.sequence, one.window.nbytes) for one in stored.examples] == [(7, 0)]


ENOUGH = tuple(range(1, HASTY + 1))


class Sending:
    """A store thread whose group is full at :data:`ENOUGH` receipts, and messages to a broker."""

    def __init__(self, every_s: float = FAR, records: int = HASTY) -> None:
        self.rig = Rig(every_s, records)
        self.sent = 0

    def put(self, messages: int, receipts: tuple[int, ...] = ENOUGH) -> None:
        first, self.sent = self.sent + 1, self.sent + messages
        added = [Unsent(token, "t", b"") for token in range(first, self.sent + 1)]
        self.rig.thread.put(Outbox(added), events.Store(receipts=receipts))

    def hear(self, *tokens: int) -> None:
        self.rig.thread.put(Outbox(gone=tokens))

    def unsent(self) -> list[int]:
        return [message.token for message in self.rig.store.messages().unsent]


@pytest.fixture
def sending() -> Iterator[Sending]:
    made = Sending()
    yield made
    made.rig.thread.close()


def test_a_full_group_waits_for_the_broker_and_does_not_write_what_it_has(
    sending: Sending,
) -> None:
    sending.put(3)
    sending.hear(1, 2)
    assert sending.rig.thread._full() == 0
    sending.hear(3)
    sending.rig.wait_until_woken()
    assert sending.rig.thread.committed() == list(ENOUGH)
    assert (
        next(entry for entry in sending.rig.store.groups[0] if isinstance(entry, Outbox)).added
        == []
    )
    sending.rig.thread.flush()
    assert sending.unsent() == []


def test_what_came_later_waits_on_when_the_broker_has_what_came_first(sending: Sending) -> None:
    sending.put(2)
    sending.put(2, (1_001,))
    sending.put(2)
    sending.hear(1, 2, 3)
    sending.rig.wait_until_woken()
    assert sending.rig.thread.committed() == list(ENOUGH)
    assert sending.unsent() == []
    sending.rig.thread.flush()
    assert sending.rig.thread.committed() == [1_001, *ENOUGH]
    assert sending.unsent() == [4, 5, 6]
    sending.hear(4, 6)
    sending.rig.thread.flush()
    assert sending.unsent() == [5]


def test_an_old_group_does_not_wait_for_the_broker() -> None:
    sending = Sending(every_s=0.001)
    sending.put(2)
    sending.rig.wait_until_woken()
    assert sending.unsent() == [1, 2]
    sending.rig.thread.close()


def test_a_broker_that_waits_for_few_receipts_is_not_waited_for(sending: Sending) -> None:
    sending.rig.thread.records = HASTY - 1
    sending.put(2)
    sending.rig.wait_until_woken()
    assert sending.rig.thread.committed() == list(ENOUGH)
    assert sending.unsent() == [1, 2]


def test_a_broker_that_waits_for_fewer_than_at_first_is_not_waited_for() -> None:
    sending = Sending(records=HASTY + 1)
    sending.rig.thread.records = HASTY
    sending.put(2)
    sending.rig.wait_until_woken()
    assert sending.unsent() == [1, 2]
    sending.rig.thread.close()


@given(st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(1, 12)), st.booleans())))
def test_what_the_broker_has_not_is_stored_however_it_is_grouped(
    steps: list[tuple[int, set[int], bool]],
) -> None:
    sending, heard = Sending(), set[int]()
    for messages, tokens, flush in steps:
        sending.put(messages)
        new = sorted(token for token in tokens - heard if token <= sending.sent)
        heard.update(new)
        if new:
            sending.hear(*new)
        if flush:
            sending.rig.thread.flush()
            owed = [token for token in range(1, sending.sent + 1) if token not in heard]
            assert sending.unsent() == owed
    sending.rig.thread.close()
    assert set(sending.unsent()) == set(range(1, sending.sent + 1)) - heard
    assert sending.rig.thread.committed() == [*ENOUGH] * len(steps)


def test_flush_returns_when_everything_is_durable(slow: Rig) -> None:
    slow.put(1)
    slow.thread.put(events.Checkpoint(b"state", 1))
    slow.thread.flush()
    assert slow.store.load().checkpoint == b"state"
    slow.thread.flush()


def test_closing_writes_what_waits(slow: Rig) -> None:
    slow.put(1)
    slow.thread.close()
    slow.thread.close()
    assert slow.thread.committed() == [1]


def test_a_store_that_fails_is_told_to_who_uses_it() -> None:
    rig = Rig(FAR, 1)
    rig.thread.put(Note(1, "start", ""))
    rig.put(1)
    rig.wait_until_woken()
    with pytest.raises(StorageError, match=r"cannot go on: the disk is full"):
        rig.thread.committed()
    with pytest.raises(StorageError):
        rig.put(2)
    with pytest.raises(StorageError):
        rig.thread.flush()
    with pytest.raises(StorageError):
        rig.thread.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither wait nor pause for long."""
    for name in ("PATIENCE_S", "FLUSH_S", "FIRST_PAUSE_S", "LONGEST_PAUSE_S"):
        monkeypatch.setattr(store_thread, name, 0.01)
    monkeypatch.setattr(store_thread, "MAX_WAITING", 20)
    monkeypatch.setattr(store_thread, "LARGE", 10)


@pytest.mark.usefixtures("hasty")
def test_a_full_disk_is_waited_out_and_nothing_is_acknowledged_meanwhile(slow: Rig) -> None:
    slow.fill_disk()
    assert slow.thread.committed() == []
    slow.put(4)
    while slow.store.attempts < 4:
        slow.wait_until_woken()
    assert slow.thread.committed() == []
    slow.store.full = False
    slow.thread.put(Count({"later": 1}))
    slow.put(5, 6)
    receipts: list[int] = []
    while len(receipts) < 6:
        slow.wait_until_woken()
        receipts += slow.thread.committed()
    assert receipts == [1, 2, 3, 4, 5, 6]
    assert slow.thread.trouble == ""
    assert slow.store.counters == {"first": 1, "later": 1}


@pytest.mark.usefixtures("hasty")
def test_while_the_disk_is_full_what_has_no_receipt_is_dropped_and_counted(slow: Rig) -> None:
    slow.fill_disk()
    slow.put_rows(15)
    slow.put_rows(15)
    slow.put_rows(7)
    slow.put_rows(5, 4)
    slow.thread.put(Outbox(added=(Unsent(1, "t", b""),)))
    slow.thread.put(Count({"refused": 2}))
    slow.thread.put(events.Checkpoint(b"one", 1))
    slow.thread.put(events.Checkpoint(b"two", 2))
    slow.thread.put(Update(1, "task", "base", 0, 0))
    slow.store.full = False
    while slow.thread.trouble:
        slow.wait_until_woken()
    slow.thread.flush()
    assert slow.thread.committed() == [1, 2, 3, 4]
    assert slow.store.counters == {
        "first": 1,
        "refused": 2,
        "rows-unstored": 7,
        "outbox-unstored": 1,
    }
    written = [entry for group in slow.store.groups for entry in group]
    checkpoints = [entry.state for entry in written if isinstance(entry, events.Checkpoint)]
    assert checkpoints == [b"two"]
    assert slow.store.updates[1].task == "task"


@pytest.mark.usefixtures("hasty")
def test_a_disk_that_does_not_answer_holds_nobody_up_for_long(slow: Rig) -> None:
    slow.store.gate.clear()
    for _ in range(40):
        slow.put_rows(10)
    assert slow.thread.trouble == "The disk is slow."
    slow.store.gate.set()
    slow.wait_until_woken()
    slow.thread.flush()
    assert slow.thread.trouble == ""
    stored = sum(len(e.rows) for g in slow.store.groups for e in g if isinstance(e, events.Store))
    assert stored + slow.store.counters["rows-unstored"] == 400
    assert stored >= 20


@pytest.mark.usefixtures("hasty")
def test_flushing_while_nothing_can_be_stored_says_so(slow: Rig) -> None:
    slow.fill_disk()
    with pytest.raises(PassingError, match=r"for now\. the disk is full"):
        slow.thread.flush()
    slow.store.full = False


@pytest.mark.usefixtures("hasty")
def test_closing_on_a_full_disk_ends_and_hands_no_receipt_back() -> None:
    rig = Rig(FAR, 3)
    rig.fill_disk()
    with pytest.raises(StorageError, match="disk is full"):
        rig.thread.close()
    assert rig.store.groups == []


def test_a_group_without_receipts_is_committed_when_it_is_large(
    slow: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_thread, "LARGE", 10)
    slow.put_rows(9)
    slow.wait_until_woken()
    assert len(slow.store.groups) == 1


def test_pauses_grow_up_to_a_bound() -> None:
    pauses = list(islice(store_thread._pauses(), 9))
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_real_store_on_a_full_disk_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_thread, "FIRST_PAUSE_S", 0.01)
    store = SqliteStore(tmp_path / "agent.db", small_manifest(), StoreSettings())
    woken = threading.Event()
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    thread = StoreThread(store, every_s=FAR, records=1, wake=woken.set)
    for turn in range(20):
        batch = tuple(row(slot) for slot in range(1_000 * turn, 1_000 * turn + 1_000))
        thread.put(events.Store(rows=batch, receipts=(turn + 1,)))
    while not thread.trouble:
        assert woken.wait(20)
        woken.clear()
    assert "the disk is full; free some space" in thread.trouble
    receipts = thread.committed()
    assert len(receipts) < 20
    assert store.streams() == [] or store.streams()[0]["rows"] == 1_000 * len(receipts)
    with store._turn:
        store._connection.execute("PRAGMA max_page_count = 100000")
    while len(receipts) < 20:
        assert woken.wait(20)
        woken.clear()
        receipts += thread.committed()
    thread.close()
    assert receipts == list(range(1, 21))
    assert [r.slot for r in store.load().rows] == [19_997, 19_998, 19_999]
    assert store.streams()[0]["rows"] == 20_000
    store.close()
