"""What the firewall holds back is kept within bounds, and put back or dropped on command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.errors import SettingsError, UnsupportedError
from headwater.objects import Vector
from headwater_coordinator.audit import Entry, audit, prove
from headwater_coordinator.excerpt import LONGEST, Excerpt
from headwater_coordinator.link import Arrival
from headwater_coordinator.requests import Request, find_requests, write_request
from headwater_coordinator.settings import Firewall
from headwater_coordinator.status import HeldRow, read_quarantine
from headwater_coordinator.steering import held_request
from headwater_models.requested import Answer, await_answer
from tests.coordinator.test_contributions import solved
from tests.coordinator.world import SETTINGS, World, name, node, save_bundle
from tests.models.bundles import tiny

pytestmark = pytest.mark.both_engines

FIREWALL = Firewall(least=5, norm_multiple=4.0, quarantine=2)


@pytest.fixture
def world(tmp_path: Path, database: str) -> Iterator[World]:
    settings = msgspec.structs.replace(SETTINGS, firewall=FIREWALL)
    made = World(tmp_path, save_bundle(tmp_path, tiny()), settings, database)
    made.join(*"abcdef")
    made.train_all(0.5)
    made.judge_all()
    made.take_release()
    made.turn(2_000)
    yield made
    made.close()


def held(world: World) -> list[HeldRow]:
    return read_quarantine(world.home.books)


def decided(world: World) -> list[Entry]:
    """What was decided about updates in quarantine."""
    return [entry for entry in audit(world.home) if entry.kind in ("accept", "drop")]


def send(world: World, values: dict[str, float]) -> None:
    """Let devices answer a task to train, each by its value; the others stay silent."""
    for task in world.waiting(wire.Kind.TRAIN):
        if name(task.node) in values:
            world.answer(task, world.update(task), world.vector(values[name(task.node)]))
    world.turn()


def command(world: World, kind: Literal["release", "drop"], one: HeldRow) -> Answer:
    request = held_request(world.home, kind, one.id, by="alice", reason="it is new there")
    return decide(world, request)


def decide(world: World, request: Request) -> Answer:
    path = write_request(world.home.requests, request)
    world.turn()
    assert find_requests(world.home.requests) == []
    answer = await_answer(path, lambda: True, patience_s=0.0)
    assert answer is not None
    return answer


def test_an_unusual_update_is_refused_and_kept(world: World) -> None:
    send(world, {"a": 20.5})

    (one,) = held(world)
    assert (one.device, one.sequence, one.refused, one.nbytes) == ("a", 2, 1, 4 * world.size)
    assert one.reason.startswith("Its norm is 41 times the median of the last 6 updates;")
    assert world.refusals()[0] == one.reason
    assert world.status.updates["accepted"] == 0


def test_what_is_malformed_is_refused_and_kept_with_its_sentence(world: World) -> None:
    send(world, {"a": float("nan")})

    (one,) = held(world)
    assert one.malformed
    assert (one.device, one.sequence, one.nbytes) == ("a", 2, 4 * world.size)
    assert one.kept == one.nbytes
    assert one.reason == world.refusals()[0]
    assert one.reason.endswith("values of the array are not finite (NaN or infinity).")


def misshapen(world: World, device: str, vector: Vector) -> None:
    """A device answers with an array of its own making."""
    (task,) = [one for one in world.waiting(wire.Kind.TRAIN) if name(one.node) == device]
    world.answer(task, world.update(task), vector)
    world.turn()


@pytest.mark.parametrize(
    "vector",
    [np.zeros(3, np.float32), np.zeros((2, 2), np.float32), np.zeros(5), np.zeros(0, np.float32)],
)
def test_a_wrong_shape_or_dtype_is_kept_byte_for_byte(world: World, vector: Vector) -> None:
    misshapen(world, "a", vector)

    (one,) = held(world)
    assert (one.malformed, one.nbytes, one.kept) == (True, vector.nbytes, vector.nbytes)
    ((content,),) = world.database._engine.execute("SELECT vector FROM quarantine")
    assert content == vector.tobytes()


def test_of_what_is_malformed_and_long_the_beginning_is_kept(world: World) -> None:
    misshapen(world, "a", np.ones(LONGEST // 4 + 5, np.float32))

    (one,) = held(world)
    assert (one.kept, one.nbytes) == (LONGEST, LONGEST + 20)


def test_what_cannot_be_read_at_all_is_kept_as_it_came(world: World) -> None:
    first, second, *_ = world.waiting(wire.Kind.TRAIN)
    excerpt = Excerpt.of(b"900 parts")
    world.mail.arrived += [
        Arrival(first.ask, b"\xff no reply", world.vector()),
        Arrival(second.ask, failure="The device sent 900 parts.", excerpt=excerpt),
    ]
    world.turn()

    newer, older = held(world)
    assert (older.malformed, older.sequence, older.base) == (True, 0, "")
    assert (newer.reason, newer.nbytes) == ("The device sent 900 parts.", 9)
    assert older.nbytes == len(b"\xff no reply") + 4 * world.size


def test_an_answer_to_another_question_that_cannot_be_read_is_not_kept(world: World) -> None:
    world.turn(int(SETTINGS.federation.check_in))
    task = world.waiting(wire.Kind.CHECK_IN)[0]
    world.mail.arrived.append(Arrival(task.ask, b"\xff"))
    world.turn()

    assert len(world.refusals()) == 1
    assert held(world) == []


def test_what_is_malformed_can_never_be_released(world: World) -> None:
    send(world, {"a": float("nan")})
    (one,) = held(world)

    with pytest.raises(UnsupportedError, match="can never be merged"):
        held_request(world.home, "release", one.id, by="alice", reason="sure")
    answer = decide(world, Request("release", "a", one.id))

    assert not answer.done
    assert "can never be merged" in answer.text
    assert world.status.updates["accepted"] == 0
    assert decided(world) == []
    assert command(world, "drop", one).done
    assert held(world) == []


def test_what_is_malformed_displaces_nothing_that_is_sound(world: World) -> None:
    send(world, {"a": 20.5, "b": 20.5})
    send(world, dict.fromkeys("cd", float("nan")))
    assert {one.device for one in held(world)} == {"a", "b"}

    command(world, "drop", next(one for one in held(world) if one.device == "b"))
    send(world, {"e": float("nan")})
    send(world, {"f": float("nan")})

    assert [one.device for one in held(world)] == ["f", "a"], "the newest that fits"


def test_what_is_malformed_outlives_an_update_of_the_same_number(world: World) -> None:
    send(world, {"a": float("nan")})
    send(world, dict.fromkeys("bcdef", 0.5))
    world.judge_all()
    world.take_release()
    world.turn(20_000)
    world.sequences[node("a")] -= 1
    send(world, {"a": 0.5})

    assert world.status.updates["accepted"] == 1
    assert [one.malformed for one in held(world)] == [True]


def test_nothing_is_kept_of_a_device_that_was_forgotten(world: World) -> None:
    decide(world, Request("forget", "a"))
    (task,) = [one for one in world.waiting(wire.Kind.TRAIN) if name(one.node) == "a"]
    world.mail.arrived.append(Arrival(task.ask, b"\xff"))
    world.turn()

    assert len(world.refusals()) == 1
    assert held(world) == []


def test_nothing_is_kept_of_statistics_as_they_tell_of_examples(tmp_path: Path) -> None:
    gathering = World(tmp_path / "solved", save_bundle(tmp_path, solved()))
    gathering.join("a", "b")
    a, b = gathering.waiting(wire.Kind.TRAIN)
    gathering.answer(a, gathering.update(a), np.full(3, np.nan))
    gathering.mail.arrived.append(Arrival(b.ask, b"\xff"))
    gathering.turn()

    assert len(gathering.refusals()) == 2
    assert held(gathering) == []
    gathering.close()


def test_a_released_update_is_pending_like_any_other(world: World) -> None:
    send(world, {"a": 20.5})

    answer = command(world, "release", held(world)[0])

    assert answer == Answer(True, "Update 2 of a is accepted; it waits for the next candidate.")
    assert held(world) == []
    assert world.status.updates["accepted"] == 1
    send(world, {"b": 0.5, "c": 0.5, "d": 0.5, "e": 0.5, "f": 0.5})
    candidate, release = world.status.versions[:2]
    moved = world.weights(candidate.version) - world.weights(release.version)
    np.testing.assert_allclose(moved, (20.5 + 5 * 0.5) / 6, rtol=1e-5)


def test_an_update_whose_base_is_too_old_stays_in_quarantine(world: World) -> None:
    send(world, {"a": 20.5})
    for _ in range(2):
        send(world, dict.fromkeys("abcdef", 0.5))
        world.judge_all()
        world.take_release()
        world.turn(2_000)

    answer = command(world, "release", held(world)[0])

    assert not answer.done
    assert "its base is too old" in answer.text
    assert len(held(world)) == 1
    assert decided(world) == []


def test_an_update_that_a_later_one_replaced_stays_in_quarantine(world: World) -> None:
    send(world, {"a": 20.5})
    send(world, dict.fromkeys("bcdef", 0.5))
    world.judge_all()
    world.take_release()
    world.turn(20_000)
    send(world, {"a": 0.5})

    answer = command(world, "release", held(world)[0])

    assert not answer.done
    assert "a later update of its device was accepted" in answer.text


def test_a_dropped_update_is_gone_and_its_refusal_stays(world: World) -> None:
    send(world, {"a": 20.5})

    answer = command(world, "drop", held(world)[0])

    assert answer.done
    assert held(world) == []
    assert len(world.refusals()) == 1


@pytest.mark.parametrize(("kind", "entered"), [("release", "accept"), ("drop", "drop")])
def test_who_decided_and_why_stands_in_the_chain(
    world: World, kind: Literal["release", "drop"], entered: str
) -> None:
    send(world, {"a": 20.5})
    number = held(world)[0].id

    command(world, kind, held(world)[0])

    (entry,) = decided(world)
    assert (entry.kind, entry.by, entry.device) == (entered, "alice", "a")
    assert entry.words == f"update 2, in quarantine under {number}: it is new there"
    assert prove(world.home).complaints == []


@pytest.mark.parametrize("kind", ["release", "drop"])
def test_what_is_decided_twice_is_done_once(world: World, kind: Literal["release", "drop"]) -> None:
    send(world, {"a": 20.5})
    request = held_request(world.home, kind, held(world)[0].id, by="alice", reason="sure")
    assert decide(world, request).done

    answer = decide(world, request)

    assert not answer.done
    assert "in quarantine no more" in answer.text
    assert len(decided(world)) == 1
    assert world.status.updates["accepted"] == (kind == "release")


def test_there_is_nothing_to_decide_about_what_is_not_in_quarantine(world: World) -> None:
    with pytest.raises(SettingsError, match="no update 7 in quarantine"):
        held_request(world.home, "drop", 7, by="alice", reason="sure")


def test_the_newest_are_kept(world: World) -> None:
    send(world, {"a": 20.5, "b": 20.5, "c": 20.5})

    newest = [refusal.device for refusal in world.status.refusals[:2]]
    assert [one.device for one in held(world)] == newest


def test_no_more_bytes_are_kept_than_allowed(tmp_path: Path, world: World) -> None:
    bounds = msgspec.structs.replace(FIREWALL, quarantine=100, quarantine_bytes=4 * world.size)
    world.settings = msgspec.structs.replace(world.settings, firewall=bounds)
    world.restart()
    world.turn(int(SETTINGS.federation.deadline))
    world.turn(2_000)
    send(world, {"a": 20.5, "b": 20.5})

    assert len(held(world)) == 1


def test_norms_and_refusals_are_known_after_a_restart(world: World) -> None:
    send(world, {"a": 20.5})
    world.restart()
    world.turn(1_000)
    world.turn(20_000)
    send(world, {"a": 20.5})

    assert "41 times the median of the last 6 updates" in world.refusals()[0]
    assert "2nd refusal since" in world.refusals()[0]


def test_the_rate_of_a_device_is_known_after_a_restart(world: World) -> None:
    slow = msgspec.structs.replace(FIREWALL, per_hour=1)
    world.settings = msgspec.structs.replace(world.settings, firewall=slow)
    world.restart()
    world.turn(1_000)
    world.turn(20_000)
    send(world, {"a": 0.5})

    assert "more than the 1 updates" in world.refusals()[0]


def test_an_update_of_a_device_that_was_forgotten_cannot_be_released(world: World) -> None:
    send(world, {"a": 20.5})
    world.coordinator._federation.state.devices[node("a")].forgotten = True

    answer = command(world, "release", held(world)[0])

    assert not answer.done
    assert "was erased" in answer.text


def test_who_is_forgotten_leaves_nothing_in_quarantine(world: World) -> None:
    send(world, {"a": 20.5})
    write_request(world.home.requests, Request("forget", "a"))
    world.turn()

    assert held(world) == []
