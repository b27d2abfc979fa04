from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from headwater_agent.outbox import GATHER_S, MOST, Sender
from headwater_agent.store import Outbox, Unsent
from headwater_agent.transport import Message


class Wire:
    """A transport that numbers what it is given, until it is told what the broker has."""

    connected = True
    resumed = True
    trouble = ""
    busy = False
    dropped = 0
    refused = 0

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, int, bool]] = []
        self.flushed = 0
        self.has: list[int] = []
        self.acknowledged: list[int] = []

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> int:
        self.sent.append((topic, payload, qos, retain))
        return len(self.sent) if qos else 0

    def publish_all(
        self, messages: Sequence[tuple[str, bytes]], *, qos: int, retain: bool
    ) -> list[int]:
        return [self.publish(*message, qos=qos, retain=retain) for message in messages]

    def delivered(self) -> list[int]:
        has, self.has = self.has, []
        return has

    def flush(self) -> None:
        self.flushed = len(self.sent)

    def poll(self, timeout: float) -> list[Message]:
        raise NotImplementedError

    def acknowledge(self, receipts: Iterable[int]) -> None:
        self.acknowledged += receipts

    def close(self) -> None:
        raise NotImplementedError


def told(changes: Outbox | None) -> tuple[list[int], list[int], bool]:
    assert changes is not None
    return [one.token for one in changes.added], list(changes.gone), changes.afresh


def test_messages_leave_at_once_and_in_their_order() -> None:
    wire = Wire()
    Sender(wire, (), qos=1, most=9).send([("a", b"1"), ("b", b"2")], retain=True)
    assert wire.sent == [("a", b"1", 1, True), ("b", b"2", 1, True)]
    assert wire.flushed == 2


def test_what_the_broker_has_before_the_next_write_costs_none() -> None:
    wire = Wire()
    sender = Sender(wire, (), qos=1, most=9)
    sender.send([("a", b"1"), ("a", b"2")], retain=False)
    wire.has = [1]
    assert told(sender.changes()) == ([2], [], False)
    assert sender.changes() is None
    wire.has = [2]
    assert told(sender.changes()) == ([], [2], False)
    sender.send([("a", b"3")], retain=False)
    wire.has = [3]
    assert sender.changes() is None


def test_the_store_is_told_what_the_broker_has_between_two_writes() -> None:
    wire = Wire()
    sender = Sender(wire, (), qos=1, most=9)
    sender.send([("a", b"1"), ("a", b"2"), ("a", b"3")], retain=False)
    assert sender.gone(whole=False) is None
    sender.changes()
    sender.send([("a", b"4")], retain=False)
    wire.has = [1, 4]
    assert sender.gone(whole=True) is None
    assert told(sender.gone(whole=False)) == ([], [1], False)
    wire.has = [2]
    assert sender.gone(whole=True) is None
    wire.has = [3]
    assert told(sender.gone(whole=True)) == ([], [2, 3], False)
    assert sender.changes() is None


def test_what_waits_in_the_store_is_not_looked_at_again() -> None:
    sender = Sender(Wire(), (), qos=1, most=2_000)
    for number in range(1, 1_001):
        sender.send([("a", b"1")], retain=False)
        assert told(sender.changes()) == ([number], [], False)
    assert not sender._fresh
    assert sender.room() == 1_000
    sender.send([("a", b"1")], retain=False)
    assert sender.room() == 0


def test_nothing_is_kept_of_messages_that_nobody_acknowledges() -> None:
    sender = Sender(Wire(), (), qos=0, most=9)
    sender.send([("a", b"1")], retain=False)
    assert sender.changes() is None


def test_what_an_earlier_run_left_goes_out_first_and_is_stored_anew() -> None:
    wire = Wire()
    sender = Sender(wire, [Unsent(7, "a", b"1", True), Unsent(9, "b", b"2")], qos=0, most=9)
    assert wire.sent == [("a", b"1", 1, True), ("b", b"2", 1, False)]
    assert told(sender.changes()) == ([1, 2], [], True)
    assert sender.changes() is None
    wire.has = [1]
    assert told(sender.changes()) == ([], [1], False)


def test_where_the_broker_has_everything_by_then_the_old_outbox_is_still_cleared() -> None:
    wire = Wire()
    sender = Sender(wire, [Unsent(7, "a", b"1")], qos=1, most=9)
    wire.has = [1]
    assert told(sender.changes()) == ([], [], True)


def test_there_is_room_until_half_of_what_may_wait_does() -> None:
    wire = Wire()
    sender = Sender(wire, (), qos=1, most=4)
    assert sender.room() == 4
    sender.send([("a", b"1"), ("a", b"2")], retain=False)
    assert sender.room() == 2
    sender.send([("a", b"3")], retain=False)
    assert sender.room() == 0
    wire.has = [1]
    assert sender.room() == 2


def test_however_large_the_outbox_the_broker_is_not_left_far_behind() -> None:
    sender = Sender(Wire(), (), qos=1, most=100_000)
    assert sender.room() == MOST
    sender.send([("a", b"1")] * (MOST // 2 + 1), retain=False)
    assert sender.room() == 0


def test_there_is_no_room_while_the_network_is_behind() -> None:
    wire = Wire()
    sender = Sender(wire, (), qos=0, most=4)
    sender.send([("a", b"1")] * 9, retain=False)
    assert sender.room() == 4
    wire.busy = True
    assert sender.room() == 0


def test_what_comes_gathers_only_where_it_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("headwater_agent.outbox.time.sleep", slept.append)
    wire = Wire()
    sender = Sender(wire, (), qos=1, most=2)
    sender.gather(9.0)
    assert slept == []
    sender.send([("a", b"1"), ("a", b"2")], retain=False)
    sender.gather(0.0)
    assert slept == []
    sender.gather(9.0)
    sender.gather(GATHER_S / 2)
    assert slept == [GATHER_S, GATHER_S / 2]
    wire.has = [1]
    sender.gather(9.0)
    assert len(slept) == 2


def test_nothing_is_acknowledged_until_the_broker_has_caught_up_with_what_came_of_it() -> None:
    wire = Wire()
    sender = Sender(wire, (), qos=1, most=2)
    sender.acknowledge([7])
    assert wire.acknowledged == [7]
    sender.send([("a", b"1"), ("a", b"2"), ("a", b"3")], retain=False)
    sender.acknowledge([8, 9])
    wire.has = [1]
    sender.acknowledge([10])
    assert wire.acknowledged == [7]
    wire.has = [2]
    sender.acknowledge([])
    assert wire.acknowledged == [7, 8, 9, 10]


def test_at_the_end_everything_durable_is_acknowledged() -> None:
    wire = Wire()
    sender = Sender(wire, (), qos=1, most=0)
    sender.send([("a", b"1")], retain=False)
    sender.acknowledge([7])
    sender.acknowledge([8], last=True)
    assert wire.acknowledged == [7, 8]


def test_what_is_lost_on_the_way_is_counted_once() -> None:
    wire = Wire()
    sender = Sender(wire, (), qos=1, most=9)
    assert sender.losses() == {}
    wire.dropped, wire.refused = 3, 1
    assert sender.losses() == {"unsent": 3, "not-taken": 1}
    wire.dropped = 5
    assert sender.losses() == {"unsent": 2}
