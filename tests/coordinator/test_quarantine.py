"""What the firewall holds back is kept within bounds, and put back or dropped on command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.errors import SettingsError
from headwater_coordinator.audit import Entry, audit, prove
from headwater_coordinator.requests import Request, find_requests, write_request
from headwater_coordinator.settings import Firewall
from headwater_coordinator.status import HeldRow, read_quarantine
from headwater_coordinator.steering import held_request
from headwater_models.requested import Answer, await_answer
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


def test_what_is_malformed_is_refused_and_not_kept(world: World) -> None:
    send(world, {"a": float("nan")})

    assert len(world.refusals()) == 1
    assert held(world) == []


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
