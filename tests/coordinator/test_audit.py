"""The chain: every decision in its order, and nothing passes that was changed afterwards."""

from __future__ import annotations

import pytest

from headwater import wire
from headwater_coordinator.audit import audit, prove
from headwater_coordinator.requests import Request, write_request
from headwater_models.keys import SigningKey
from headwater_models.signing import sign_version
from tests.coordinator.world import START, World

pytestmark = pytest.mark.both_engines


def test_decisions_and_refusals_stand_in_the_order_in_which_they_were_made(world: World) -> None:
    world.join("a", "b", "c")
    tasks = world.waiting(wire.Kind.TRAIN)
    world.answer(tasks[0], world.update(tasks[0], examples=0), world.vector())
    world.turn()
    world.train_all()
    world.judge_all()
    for kind in ("forget", "readmit"):
        write_request(world.home.requests, Request(kind, "a", by="alice"))
        world.turn()

    entries = audit(world.home)

    assert [(one.kind, one.by) for one in entries] == [
        ("begin", "the owner"),
        ("refuse", "the firewall"),
        ("release", "the gate"),
        ("forget", "alice"),
        ("readmit", "alice"),
    ]
    assert [one.device for one in entries[-2:]] == ["a", "a"]
    assert audit(world.home, since_ms=entries[2].time_ms) == entries[2:]
    assert entries[0].time_ms == START


def test_what_the_coordinator_signed_holds(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all(0.5)
    world.turn(2_000)
    world.train_all(0.25)
    world.judge_all()

    proof = prove(world.home)

    assert (proof.statements, proof.complaints) == (3, [])


def test_a_statement_that_was_changed_or_is_of_another_key_does_not_hold(world: World) -> None:
    write = world.database._engine.execute
    other = SigningKey.from_seed(bytes(32))
    first = audit(world.home)[0]
    forged = sign_version(
        other, kind="release", model=world.bundle.model_id, version=first.version, sequence=1
    )
    for statement, words in (
        (first.statement.replace('"sequence":1', '"sequence":2'), "changed after it was signed"),
        (forged, "does not delegate"),
        ("", "damaged"),
    ):
        write("UPDATE decisions SET statement = ?", (statement,))
        (complaint,) = prove(world.home).complaints
        assert words in complaint


def test_a_statement_about_something_else_than_the_books_say_does_not_hold(world: World) -> None:
    world.database._engine.execute("UPDATE decisions SET sequence = 5")
    (complaint,) = prove(world.home).complaints
    assert "something else" in complaint


def test_a_sequence_that_comes_twice_is_seen(world: World) -> None:
    world.database._engine.execute(
        "INSERT INTO decisions (time_ms, kind, by, version, sequence, statement) "
        "SELECT time_ms, kind, by, version, sequence, statement FROM decisions"
    )
    (complaint,) = prove(world.home).complaints
    assert "sequences only rise" in complaint
