"""Receipts: what came in is told to the device that sent it, signed, until it has heard of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from headwater import wire
from headwater.objects import digest
from headwater_coordinator import events as e
from headwater_coordinator.database import Database
from headwater_coordinator.link import Arrival, Outgoing
from headwater_coordinator.location import Location
from headwater_coordinator.receipts import AT_ONCE, KEPT, Receipts
from headwater_models.signing import Receipt, verify_receipt
from tests.coordinator.world import World, node

pytestmark = pytest.mark.both_engines

CHECK_IN = 600_000


@pytest.fixture
def receipts(location: Location) -> Iterator[Receipts]:
    with Database(location) as database:
        yield database._receipts


def came(number: int, ask: str = "ask", of: str = "a") -> e.Receive:
    return e.Receive(of, ask, "update", "1" * 64, f"{number:064x}")


def test_what_came_is_owed_until_the_ask_that_told_of_it_is_answered(receipts: Receipts) -> None:
    receipts.received(came(1), 10)
    receipts.received(came(2, of="b"), 11)
    (owed,) = receipts.owed("a", "first")
    assert (owed.kind, owed.task, owed.digest, owed.time_ms) == (
        "update",
        "1" * 64,
        f"{1:064x}",
        10,
    )
    assert receipts.owed("a", "second") == [owed]
    receipts.received(came(3, ask="first"), 12)
    assert [one.digest for one in receipts.owed("a", "third")] == [f"{1:064x}", f"{3:064x}"]
    receipts.received(came(4, ask="third"), 13)
    assert [one.digest for one in receipts.owed("a", "fourth")] == [f"{4:064x}"]
    assert [one.digest for one in receipts.owed("b", "fifth")] == [f"{2:064x}"]


def test_a_device_that_never_hears_of_it_is_owed_a_bounded_number(receipts: Receipts) -> None:
    for number in range(KEPT + 20):
        receipts.received(came(number), 10)
    owed = receipts.owed("a", "x")
    assert [one.digest for one in owed] == [f"{20 + number:064x}" for number in range(AT_ONCE)]


def test_numbers_are_never_given_twice(receipts: Receipts) -> None:
    receipts.received(came(1), 10)
    (first,) = receipts.owed("a", "x")
    receipts.received(came(2, ask="x"), 11)
    (second,) = receipts.owed("a", "y")
    assert second.number > first.number


def checked_in(world: World, name: str, protocol: int) -> wire.CheckedIn:
    return wire.CheckedIn(
        device=name,
        model=world.bundle.model_id,
        version=world.bundle.version_id,
        sequence=1,
        protocol=protocol,
    )


def asked(world: World) -> Outgoing:
    """The one check-in that waits for an answer."""
    (task,) = world.waiting(wire.Kind.CHECK_IN)
    return task


def told(world: World, task: Outgoing) -> list[Receipt]:
    """The receipts that a check-in brings, proved."""
    message = wire.decode_task(task.fields)
    assert isinstance(message, wire.CheckIn)
    if message.receipts is msgspec.UNSET:
        return []
    trusted = world.bundle.verify()[0]
    return [verify_receipt(one, trusted=trusted) for one in message.receipts]


def answered(world: World, **changes: Any) -> wire.CheckedIn:
    reply = msgspec.structs.replace(checked_in(world, "a", wire.PROTOCOL), **changes)
    world.answer(asked(world), reply)
    return reply


def test_each_check_in_brings_signed_receipts_for_what_came_since_the_last(world: World) -> None:
    world.mail.online.add(node("a"))
    world.turn()
    assert told(world, asked(world)) == []
    first = answered(world)
    world.turn(CHECK_IN)
    (receipt,) = told(world, asked(world))
    assert (receipt.device, receipt.kind, receipt.task) == ("a", "checked-in", None)
    assert receipt.message == digest(wire.encode(first), None)
    second = answered(world, records=5)
    world.turn(CHECK_IN)
    (receipt,) = told(world, asked(world))
    assert receipt.message == digest(wire.encode(second), None)


def test_receipts_outlive_a_restart(world: World) -> None:
    world.mail.online.add(node("a"))
    world.turn()
    first = answered(world)
    world.turn(CHECK_IN)
    world.restart()
    world.turn()
    assert told(world, asked(world)) == []  # until it is known again what the device speaks
    second = answered(world)
    world.turn(CHECK_IN)
    messages = [receipt.message for receipt in told(world, asked(world))]
    assert messages == [digest(wire.encode(reply), None) for reply in (first, second)]


def test_a_device_of_the_protocol_before_gets_messages_that_it_can_read(world: World) -> None:
    world.mail.online.add(node("a"))
    world.turn()
    for _ in range(3):
        assert asked(world).fields == b'{"type":"checkin","protocol":1}'
        world.answer(asked(world), checked_in(world, "a", 1))
        world.turn(CHECK_IN)


def test_a_device_that_comes_back_with_an_older_program_is_spoken_to_in_its_words(
    world: World,
) -> None:
    world.mail.online.add(node("a"))
    world.turn()
    answered(world)
    world.turn()
    world.mail.online.clear()
    world.turn()
    world.mail.online.add(node("a"))
    world.turn(CHECK_IN)
    assert asked(world).fields == b'{"type":"checkin","protocol":1}'


def test_what_cannot_be_read_gets_no_receipt(world: World) -> None:
    world.mail.online.add(node("a"))
    world.turn()
    answered(world)
    world.turn(CHECK_IN)
    task = asked(world)
    world.mail.sent.remove(task)
    world.mail.arrived.append(Arrival(task.ask, b"\xff"))
    world.turn()
    assert world.database._engine.execute("SELECT count(*) FROM receipts") == [(1,)]
