"""Buffered asynchronous federation, told as stories; the books are real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.settings import Duration
from headwater_coordinator.link import Outgoing
from headwater_coordinator.settings import Buffered
from tests.coordinator.world import SETTINGS, World, node, save_bundle
from tests.models.bundles import tiny

Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a coordinator with a buffer of two, two devices at a time, unless said otherwise."""
    made: list[World] = []

    def world(**changes: object) -> World:
        fields: dict[str, object] = {
            "buffer": 2,
            "concurrency": 2,
            "deadline": Duration(60_000),
            "message_ttl": Duration(600_000),
        }
        how = Buffered(**(fields | changes))  # type: ignore[arg-type]
        settings = msgspec.structs.replace(SETTINGS, federation=how)
        made.append(World(tmp_path, save_bundle(tmp_path, tiny()), settings))
        return made[-1]

    yield world
    for one in made:
        one.close()


def training(world: World) -> list[Outgoing]:
    return world.waiting(wire.Kind.TRAIN)


def train(world: World, task: Outgoing, value: float = 0.5) -> None:
    world.answer(task, world.update(task), world.vector(value))
    world.turn()


def test_no_more_devices_train_than_may(make: Make) -> None:
    world = make()
    world.join("a", "b", "c", "d")
    assert len(training(world)) == 2


def test_who_has_given_an_update_makes_room_for_another(make: Make) -> None:
    world = make(buffer=3, min_devices=2)
    world.join("a", "b", "c", "d")
    first, second = training(world)

    train(world, first)

    assert len(training(world)) == 2
    assert first.node not in {task.node for task in training(world)}
    assert second in training(world)


def test_a_full_buffer_becomes_a_candidate_and_the_others_train_on(make: Make) -> None:
    world = make(concurrency=3)
    world.join("a", "b", "c", "d")
    first, second, third = training(world)
    train(world, first)
    train(world, second)

    assert world.waiting(wire.Kind.EVALUATE)
    assert third in training(world)
    expected = world.weights(world.bundle.version_id) + 0.5
    np.testing.assert_allclose(world.weights(world.status.versions[0].version), expected, atol=1e-6)


def test_what_comes_while_a_candidate_is_judged_waits_for_the_next(make: Make) -> None:
    world = make(concurrency=4)
    world.join("a", "b", "c", "d")
    first, second, third, fourth = training(world)
    train(world, first)
    train(world, second)
    train(world, third, 2.0)
    train(world, fourth, 2.0)
    assert world.status.updates == {"accepted": 2, "superseded": 0, "merged": 2}

    world.judge_all(-0.1)

    assert world.status.updates == {"accepted": 0, "superseded": 0, "merged": 4}
    candidate, release, _ = world.status.versions
    assert (candidate.kind, candidate.parent, release.kind) == (
        "candidate",
        release.version,
        "release",
    )
    expected = world.weights(release.version) + 2.0
    np.testing.assert_allclose(world.weights(candidate.version), expected, atol=1e-6)


def test_an_update_of_an_older_release_counts_until_it_is_too_old(make: Make) -> None:
    world = make(concurrency=3, max_staleness=1)
    world.join("a", "b", "c")
    *others, slow = training(world)
    for task in others:
        train(world, task)
    world.judge_all()
    world.take_release()
    for task in [task for task in training(world) if task is not slow]:
        train(world, task)
    world.judge_all()
    world.take_release()
    train(world, slow)

    (refusal,) = world.refusals()
    assert "which is too old to be merged" in refusal


def test_a_refused_candidate_does_not_stop_the_training(make: Make) -> None:
    world = make()
    world.join("a", "b")
    for task in training(world):
        train(world, task)
    world.judge_all(+0.1)

    assert world.status.versions[0].kind == "refused"
    assert {task.node for task in training(world)} == {node("a"), node("b")}


def test_where_fewer_devices_are_there_than_a_buffer_holds_it_is_not_waited_for(
    make: Make,
) -> None:
    world = make(buffer=10, concurrency=10)
    world.join("a", "b")
    first, second = training(world)
    train(world, first)
    assert world.waiting(wire.Kind.EVALUATE) == []

    train(world, second)

    assert world.waiting(wire.Kind.EVALUATE)


def test_a_device_alone_is_waited_with_until_others_come(make: Make) -> None:
    world = make()
    world.join("a")
    (task,) = training(world)
    train(world, task)
    world.turn(10_000_000)
    assert world.status.updates["accepted"] == 1

    world.join("b")
    (task,) = training(world)
    train(world, task)

    assert world.status.updates["merged"] == 2


def test_a_buffer_of_one_is_fedasync(make: Make) -> None:
    world = make(buffer=1, min_devices=1)
    world.join("a", "b")
    first, second = training(world)
    train(world, first)
    assert [task.node for task in world.waiting(wire.Kind.EVALUATE)] == [first.node]
    world.judge_all()
    world.take_release()
    train(world, second)
    world.take_release()
    world.judge_all()

    assert world.status.releases == 2


def test_a_silent_device_gives_its_place_up_at_the_deadline(make: Make) -> None:
    world = make(concurrency=1, min_devices=1, selection="fair")
    world.join("a", "b")
    (silent,) = training(world)

    world.turn(60_000)

    (_, other) = training(world)
    assert silent.ask in world.mail.forgotten
    assert other.node != silent.node


def test_a_device_that_fails_again_rests_twice_as_long_each_time(make: Make) -> None:
    world = make(min_devices=1, concurrency=1)
    world.join("a")
    asked = []
    for _ in range(8_000):
        for task in training(world):
            asked.append(world.now)
            world.lose(task)
        world.turn(500)
    gaps = np.diff(asked) / 1000
    assert gaps[0] < 2
    assert [round(gap / 10) for gap in gaps[1:]] == [1, 2, 4, 8, 16, 32, 64, 128][: len(gaps) - 1]
    assert world.status.devices[0].unanswered == len(asked)


def test_a_restart_goes_on_with_what_is_pending_and_asks_anew(make: Make) -> None:
    world = make(buffer=3, concurrency=3, min_devices=2)
    world.join("a", "b", "c", "d")
    train(world, training(world)[0])

    world.restart()
    world.join()
    assert len(training(world)) == 3
    for task in training(world)[:2]:
        train(world, task)

    assert world.status.updates == {"accepted": 0, "superseded": 0, "merged": 3}


def test_a_restart_while_a_candidate_is_judged_asks_judges_before_anyone_trains(
    make: Make,
) -> None:
    world = make()
    world.join("a", "b")
    for task in training(world):
        train(world, task)
    candidate = world.status.versions[0].version

    world.restart()
    world.join()
    assert world.waiting(wire.Kind.EVALUATE)
    world.judge_all()

    assert world.status.release == candidate


def test_the_books_say_what_came_between_two_merges(make: Make) -> None:
    world = make(concurrency=3)
    world.join("a", "b", "c")
    lost, *others = training(world)
    world.lose(lost)
    for task in others:
        train(world, task)

    row = world.database._engine.records("SELECT asked, accepted, failed, outcome FROM rounds")
    assert next(iter(row)) == {"asked": 4, "accepted": 2, "failed": 1, "outcome": "merged"}
