"""A fleet that learns from statistics, through the cores of its devices and its coordinator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headwater.settings import Duration
from headwater_agent.events import Record
from headwater_agent.pipeline_settings import LearnerSettings, PipelineSettings
from headwater_coordinator.home import Home
from headwater_coordinator.registry import Registry
from headwater_coordinator.requests import Request, write_request
from headwater_coordinator.settings import Gate, Rounds, Settings
from headwater_coordinator.status import Status
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.statistics import head_of
from headwater_simulator.device import VirtualDevice
from headwater_simulator.fleet import VirtualFleet
from tests.simulator.test_fleet import MINUTE, model

TANKS = ("one", "two", "three")
HOURS = Duration(120 * MINUTE)
SETTINGS = Settings(
    federation=Rounds(min_devices=1, pause=HOURS, check_in=HOURS, deadline=Duration(MINUTE)),
    gate=Gate(deadline=Duration(MINUTE), tolerance=1.0),
)


def level(tank: str, first: int, count: int) -> list[Record]:
    """Waves of different lengths with noise, one for each tank."""
    rng = np.random.default_rng([TANKS.index(tank), first])
    length = 9 + 3 * TANKS.index(tank)
    waves = np.sin(2 * np.pi * np.arange(first, first + count) / length)
    values = (waves + 0.1 * rng.normal(size=count)).astype(np.float32)
    return [
        Record(tank, (first + n) * MINUTE, values[n : n + 1], np.ones(1, np.bool_))
        for n in range(count)
    ]


def federate(
    folder: Path, owners: Sequence[Sequence[str]], forget: str = ""
) -> tuple[list[VirtualDevice], Status, Arrays]:
    """Let each device watch some tanks; return what came of it, and the released head."""
    folder.mkdir(exist_ok=True)
    bundle: Bundle = model(folder, learner="ridge", min_count=60)
    one_by_one = PipelineSettings(learn=LearnerSettings(batch=1))
    devices = [VirtualDevice(tanks[0], bundle, one_by_one, buffer=50) for tanks in owners]
    home = Home(folder / "coordinator")
    with VirtualFleet(home, SETTINGS, devices, np.random.default_rng(1)) as fleet:
        for start in range(0, 360, 10):
            for one, tanks in zip(devices, owners, strict=True):
                one.arrived([r for tank in tanks for r in level(tank, start, 10)])
            fleet.settle((start + 10) * MINUTE)
        fleet.settle(500 * MINUTE)
        if forget:
            write_request(home.requests, Request("forget", forget))
        fleet.settle(501 * MINUTE)
        status = fleet.status()
    weights = Registry(home.versions, bundle.manifest).load(status.release)
    return devices, status, head_of(bundle.manifest, weights)


def test_a_fleet_solves_what_one_device_with_all_the_data_solves(tmp_path: Path) -> None:
    _, apart, ours = federate(tmp_path / "apart", [["one"], ["two"], ["three"]])
    _, pooled, theirs = federate(tmp_path / "pooled", [["one", "two", "three"]])

    assert (apart.contributions, pooled.contributions) == (3, 1)
    assert apart.contributed_examples == pooled.contributed_examples > 600
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6)


def test_the_release_beats_the_baseline_and_what_a_device_refines_beats_the_release(
    tmp_path: Path,
) -> None:
    devices, status, _ = federate(tmp_path, [["one"], ["two"], ["three"]])

    assert status.releases >= 2
    for one in devices:
        score = one.pipeline.learner.score
        assert score.recent_personal < score.recent_released < score.recent_baseline


def test_a_forgotten_device_leaves_the_head_of_a_fleet_that_never_had_it(tmp_path: Path) -> None:
    _, _, ours = federate(tmp_path / "forgot", [["one"], ["two"], ["three"]], forget="three")
    _, _, theirs = federate(tmp_path / "never", [["one"], ["two"]])

    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)
