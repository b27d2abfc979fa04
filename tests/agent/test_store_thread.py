from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from headwater.errors import StorageError
from headwater_agent import events
from headwater_agent.settings import StoreSettings
from headwater_agent.store import Entry, MemoryStore, Note
from headwater_agent.store_thread import StoreThread
from tests.agent.making import small_manifest

FAR = 3600.0


class Groups(MemoryStore):
    """A store that remembers its groups and can hold one up or fail on a note."""

    def __init__(self) -> None:
        super().__init__(small_manifest(), StoreSettings())
        self.groups: list[list[Entry]] = []
        self.gate = threading.Event()
        self.gate.set()

    def write(self, group: Sequence[Entry]) -> None:
        self.gate.wait()
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
