"""What a strategy remembers is booked with its candidate, and current once that is released."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater_coordinator.location import SQLITE
from headwater_coordinator.states import Remembered
from headwater_coordinator.strategies import State, encode_state
from tests.coordinator.world import SETTINGS, World, save_bundle
from tests.models.bundles import tiny

pytestmark = pytest.mark.both_engines

OPTIMISERS = {
    "fedadam": {"eta": 0.05, "beta_1": 0.9},
    "fedyogi": {},
    "fedadagrad": {},
    "fedavgm": {"server_momentum": 0.9},
}


@pytest.fixture(params=OPTIMISERS)
def optimiser(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(folder: Path, name: str, database: str = SQLITE) -> World:
    folder.mkdir()
    table = {"name": name, **OPTIMISERS.get(name, {})}
    settings = msgspec.structs.replace(SETTINGS, strategy=table)
    world = World(folder, save_bundle(folder, tiny()), settings, database)
    world.join("a", "b")
    return world


@pytest.fixture
def world(tmp_path: Path, database: str) -> Iterator[World]:
    made = make(tmp_path / "world", "fedadam", database)
    yield made
    made.close()


def remembered(world: World, version: str) -> State:
    return world.database.states.of(version, "FedAdam")


def hold(world: World, value: float, *, difference: float = -0.1) -> None:
    """Hold a round in which every device sends *value*, and the candidate is judged."""
    world.turn(2_000)
    world.train_all(value)
    world.judge_all(difference)
    world.take_release()


def test_resumed_from_the_books_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, optimiser: str
) -> None:
    through, killed = make(tmp_path / "one", optimiser), make(tmp_path / "two", optimiser)
    for value in (0.5, -0.25, 0.125, 0.3):
        for world in (through, killed):
            world.turn(2_000)
            world.train_all(value)
        killed.restart()
        killed.turn()
        for world in (through, killed):
            world.judge_all()
            world.take_release()
        killed.restart()
        killed.turn()
        for task in killed.waiting(wire.Kind.CHECK_IN):
            killed.answer(task, killed.checked_in(task, killed.status.release))
        killed.turn()
    ends = []
    for world in (through, killed):
        assert world.status.sequence == 5
        state = world.database.states.of(world.status.release, strategy_of(optimiser))
        ends.append((world.status.release, encode_state(state)))
        world.close()
    assert ends[0] == ends[1]


def strategy_of(optimiser: str) -> str:
    return {
        "fedadam": "FedAdam",
        "fedyogi": "FedYogi",
        "fedadagrad": "FedAdagrad",
        "fedavgm": "FedAvgM",
    }[optimiser]


def test_a_refused_candidate_leaves_the_state_as_it_was(world: World) -> None:
    hold(world, 0.5)
    release = world.status.release
    before = encode_state(remembered(world, release))

    hold(world, -3.0, difference=1.0)

    assert world.status.release == release
    assert encode_state(remembered(world, release)) == before
    ((count,),) = world.database._engine.execute("SELECT count(*) FROM strategy_states")
    assert count == 1


def test_a_candidate_waits_with_its_own_state(world: World) -> None:
    hold(world, 0.5)
    world.turn(2_000)
    world.train_all(0.25)
    candidate, before = world.status.versions[0].version, world.status.release
    assert remembered(world, candidate)["steps"] == 2
    assert remembered(world, world.status.release)["steps"] == 1

    world.judge_all()

    assert world.status.release == candidate
    assert remembered(world, candidate)["steps"] == 2
    assert not remembered(world, before)


def test_another_strategy_begins_anew(world: World) -> None:
    hold(world, 0.5)
    assert not world.database.states.of(world.status.release, "FedYogi")


def test_a_strategy_without_a_state_leaves_nothing(world: World) -> None:
    states = world.database.states
    version = world.status.release
    states.keep(version, Remembered("FedAdam", {"m_t": np.ones(2, np.float32)}))
    states.keep(version, Remembered("FedAvg", {}))
    assert not states.of(version, "FedAdam")
