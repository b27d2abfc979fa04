"""Rounds that ask more than they want, and devices that lack the release or never answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.settings import Duration
from headwater_coordinator.live import read_live
from tests.coordinator.world import SETTINGS, World, node, save_bundle
from tests.models.bundles import tiny

Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a coordinator that holds rounds, of two devices unless said otherwise."""
    made: list[World] = []

    def world(**changes: object) -> World:
        rounds = msgspec.structs.replace(SETTINGS.federation, **changes)
        settings = msgspec.structs.replace(SETTINGS, federation=rounds)
        made.append(World(tmp_path, save_bundle(tmp_path, tiny()), settings))
        return made[-1]

    yield world
    for one in made:
        one.close()


def test_over_selection_asks_more_and_takes_the_first(make: Make) -> None:
    world = make(max_devices=2, over_selection=1.5)
    world.join("a", "b", "c", "d")
    first, second, slow = world.waiting(wire.Kind.TRAIN)
    for task in (first, second):
        world.answer(task, world.update(task), world.vector())
    world.turn()

    assert world.status.updates["merged"] == 2
    assert world.waiting(wire.Kind.TRAIN) == [slow]


def test_who_comes_after_the_first_is_in_the_next_candidate(make: Make) -> None:
    world = make(max_devices=2, over_selection=1.5)
    test_over_selection_asks_more_and_takes_the_first(lambda **_: world)
    (slow,) = world.waiting(wire.Kind.TRAIN)
    world.answer(slow, world.update(slow), world.vector(2.0))
    world.judge_all()
    world.take_release()
    world.turn(2_000)
    for task in [one for one in world.waiting(wire.Kind.TRAIN) if one.node != slow.node][:2]:
        world.answer(task, world.update(task), world.vector(0.5))
    world.turn()

    assert world.status.updates == {"accepted": 0, "superseded": 0, "merged": 5}
    candidate, release, _ = world.status.versions
    expected = world.weights(release.version) + (2.0 + 0.5 + 0.5) / 3
    np.testing.assert_allclose(world.weights(candidate.version), expected, atol=1e-6)


def test_a_round_of_all_needs_all(make: Make) -> None:
    world = make(over_selection=3.0)
    world.join("a", "b", "c")
    for task in world.waiting(wire.Kind.TRAIN)[:2]:
        world.answer(task, world.update(task), world.vector())
    world.turn()

    assert world.waiting(wire.Kind.EVALUATE) == []


def test_a_straggler_is_left_to_its_work_by_the_next_round(make: Make) -> None:
    world = make(max_devices=2, over_selection=1.5)
    test_over_selection_asks_more_and_takes_the_first(lambda **_: world)
    (slow,) = world.waiting(wire.Kind.TRAIN)
    world.judge_all(+0.1)
    world.turn(2_000)

    others = [task for task in world.waiting(wire.Kind.TRAIN) if task is not slow]
    assert others
    assert slow.node not in {task.node for task in others}


def released(make: Make) -> World:
    """A fleet so large against its rate that not all are handed a release."""
    world = make(arrivals=0.001, max_devices=2)
    world.join(*(f"d{number}" for number in range(60)))
    world.train_all()
    world.judge_all()
    return world


def is_training(world: World) -> bool:
    live = read_live(world.home.live)
    return live is not None and live.phase == "training"


def test_releases_are_handed_out_at_the_rate(make: Make) -> None:
    world = released(make)
    handed = len(world.waiting(wire.Kind.RELEASE))
    assert handed == 100 - 60

    world.turn(500)
    assert len(world.waiting(wire.Kind.RELEASE)) == handed


def test_who_is_asked_and_lacks_the_release_is_handed_it_first(make: Make) -> None:
    world = released(make)
    world.take_release()
    world.turn(2_000)
    chosen = world.waiting(wire.Kind.TRAIN) + world.waiting(wire.Kind.RELEASE)
    assert len(chosen) == 2

    world.take_release()

    tasks = [wire.decode_task(task.fields) for task in world.waiting(wire.Kind.TRAIN)]
    assert [getattr(task, "base", "") for task in tasks] == 2 * [world.status.release]


def test_a_device_that_would_not_take_the_release_is_not_waited_for(make: Make) -> None:
    world = released(make)
    world.take_release()
    while not (is_training(world) and world.waiting(wire.Kind.RELEASE)):
        world.train_all()
        world.judge_all(+0.1)
        world.turn(2_000)
    (task,) = world.waiting(wire.Kind.RELEASE)[:1]
    asked = wire.decode_task(task.fields)
    assert isinstance(asked, wire.Release)
    refused = wire.Declined(
        device=task.node.removeprefix("SHA256:"), task=asked.version, reason="bad-signature"
    )
    world.answer(task, refused)
    world.take_release()
    rounds = world.status.rounds
    for one in world.waiting(wire.Kind.TRAIN):
        world.lose(one)
    world.turn()

    assert world.status.rounds == rounds + 1


def test_a_device_that_fails_in_two_rounds_misses_the_next(make: Make) -> None:
    world = make(backoff=Duration(30_000))
    world.join("a", "b", "c")
    for _ in range(2):
        for task in world.waiting(wire.Kind.TRAIN):
            if task.node == node("c"):
                world.lose(task)
        world.train_all()
        world.judge_all(+0.1)
        world.turn(1_000)
    assert {task.node for task in world.waiting(wire.Kind.TRAIN)} == {node("a"), node("b")}

    world.turn(30_000)
    world.train_all()
    world.judge_all(+0.1)
    world.turn(1_000)

    assert node("c") in {task.node for task in world.waiting(wire.Kind.TRAIN)}
