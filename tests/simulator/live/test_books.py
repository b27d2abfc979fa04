"""A real coordinator's books become the chronicle of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from headwater import wire
from headwater_simulator.live.books import copy_books, releases
from headwater_simulator.virtual.chronicle import Chronicle
from tests.coordinator.world import SETTINGS, START, World, save_bundle
from tests.models.bundles import tiny


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, save_bundle(tmp_path, tiny()), SETTINGS)
    yield made
    made.close()


def clock(utc_ms: int) -> int:
    return 10 * max(0, utc_ms - START)


def told(world: World) -> Chronicle:
    chronicle = Chronicle()
    copy_books(world.home, chronicle, clock)
    return chronicle


def test_a_round_is_told_with_its_times_counts_and_the_gates_words(world: World) -> None:
    world.join("a", "b", "c")
    first, second, third = world.waiting(wire.Kind.TRAIN)
    for task in (first, second):
        world.answer(task, world.update(task), world.vector())
    world.answer(third, world.update(third), np.full(world.size, np.nan, np.float32))
    world.turn(7_000)
    world.judge_all()
    chronicle = told(world)

    one = chronicle.rounds[0]
    assert (one.opened_ms, one.closed_ms) == (10_000, 80_000)
    assert (one.asked, one.accepted, one.refused, one.outcome) == (3, 2, 1, "released")
    assert one.words.startswith("released: loss")
    assert one.bytes_up > 0
    assert (one.staleness_mean, one.staleness_max) == (0.0, 0)
    (refusal,) = chronicle.refusals
    assert not refusal.attacks
    assert chronicle.devices[refusal.device].refused == 1
    assert sum(device.updates for device in chronicle.devices.values()) == 2
    assert sum(device.trained for device in chronicle.devices.values()) == 3


def test_a_candidate_that_the_gate_refused_is_no_release(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all(0.5)
    chronicle = told(world)

    assert chronicle.rounds[0].outcome == "refused"
    assert chronicle.refused_candidates == 1
    assert len(releases(world.home, clock)) == 1


def test_releases_come_once_in_their_order_from_the_first_model_on(world: World) -> None:
    world.join("a", "b")
    world.train_all()
    world.judge_all()
    first, second = releases(world.home, clock)

    assert (first.sequence, first.time_ms, first.round) == (1, 0, 0)
    assert (second.sequence, second.round) == (2, 1)
    assert second.words.startswith("released")
    assert releases(world.home, clock, after=1) == [second]
    assert releases(world.home, clock, after=2) == []


def test_a_round_that_is_not_over_is_open(world: World) -> None:
    world.join("a", "b")
    world.waiting(wire.Kind.TRAIN)
    world.turn()

    assert [one.outcome for one in told(world).rounds] == ["open"]
