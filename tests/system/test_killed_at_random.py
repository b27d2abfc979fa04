"""kill -9 of an agent, a trainer and a federation client, each at a random moment."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from headwater.clock import now_ms
from headwater_agent.agent_reader import AgentReader
from headwater_agent.egress_report import read_report
from headwater_agent.exchange import ExchangeReader
from headwater_agent.learner import new_learner
from headwater_agent.pipeline_settings import LearnerSettings, ServeSettings
from headwater_agent.releases import first_version
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import build
from headwater_models.graphs.optimisers import STEP
from headwater_models.manifest import Manifest
from headwater_simulator.air import specification
from headwater_simulator.live.fleet import PREFIX, LiveDevice, LiveFleet, at_stations
from headwater_simulator.processes import Crew, crew
from headwater_simulator.streams import shipped
from headwater_simulator.summary import snapshot

pytestmark = pytest.mark.system

RATE = 100
STREAMED_S = 30


def until(done: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds:g} seconds: {what}"
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    """The process ids of a process's children, as the kernel tells them."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kill_agent(fleet: LiveFleet, rng: random.Random) -> None:
    """Kill the first device's agent, leave it dead for a moment, start it again."""
    device = fleet.devices[0]
    kill(device.agent.pid)
    until(lambda: device.agent.exit_code == -signal.SIGKILL, "the agent is dead")
    time.sleep(rng.uniform(0.1, 2))
    fleet.restart(device, agent=True)


def kill_client(fleet: LiveFleet, rng: random.Random) -> None:
    """Kill the second device's federation client, and start it again."""
    device = fleet.devices[1]
    kill(device.client.pid)
    until(lambda: device.client.exit_code == -signal.SIGKILL, "the client is dead")
    time.sleep(rng.uniform(0.1, 2))
    fleet.restart(device, agent=False)


def kill_trainer(fleet: LiveFleet, rng: random.Random) -> None:
    """Kill a trainer of the third device, somewhere in its work."""
    agent = fleet.devices[2].agent.pid

    def killed() -> bool:
        for trainer in children_of(agent):
            time.sleep(rng.uniform(0, 0.3))
            with suppress(ProcessLookupError):  # it was done before
                kill(trainer)
                return True
        return False

    until(killed, "a trainer runs")


def start_publisher(hands: Crew, broker: str, stations: list[str]) -> Callable[[], int]:
    """Stream the stations; the function returned stops it and tells each one's records."""
    arguments = ["--broker", broker, "--prefix", PREFIX, "--rate", str(RATE)]
    for station in stations:
        arguments += ["--station", station]
    child = hands.start(
        "publisher", [sys.executable, "-m", "headwater_simulator.publisher", *arguments]
    )

    def stop() -> int:
        assert child.stop()
        found = re.search(r'"records":(\d+)', child.tail())
        assert found is not None
        return int(found[1]) // len(stations)

    return stop


def rows_of(device: LiveDevice, manifest: Manifest) -> int:
    with closing(AgentReader(device.settings.agent_db, manifest)) as reader:
        return sum(stream["rows"] for stream in reader.streams())


def steps_and_examples(device: LiveDevice, bundle: Bundle) -> tuple[int, int]:
    """Return the optimiser's own count of steps, and the examples it should have learned."""
    learner = new_learner(
        bundle.manifest, first_version(bundle), LearnerSettings(), ServeSettings()
    )
    with closing(AgentReader(device.settings.agent_db, bundle.manifest)) as reader:
        checkpoint = reader.load().checkpoint
        assert checkpoint is not None
        learner.restore(checkpoint)
        learned = reader.examples(reserved=False, newest=10**6, through=learner.learned_through)
    return int(learner.personal.state[STEP][0]), len(learned.label)


def test_the_others_go_on_and_what_was_killed_catches_up(tmp_path: Path, mosquitto: int) -> None:
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    built = build(specification(shipped()), np.random.default_rng(0))
    Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    ).save(tmp_path / "model")
    broker = f"mqtt://127.0.0.1:{mosquitto}"
    names = [station.name for station in shipped()[:3]]
    with crew(tmp_path / "logs", os.environ) as hands:
        fleet = LiveFleet(
            hands,
            tmp_path,
            tmp_path / "model",
            broker=broker,
            planned=at_stations(names),
            now=now_ms(),
        )
        fleet.wait()
        stop_publishing = start_publisher(hands, broker, names)
        began = time.monotonic()
        kills = [kill_agent, kill_client, kill_trainer]
        rng.shuffle(kills)
        for strike in kills:
            time.sleep(rng.uniform(1, 4))
            strike(fleet, rng)
        while time.monotonic() - began < STREAMED_S:
            fleet.check()
            time.sleep(0.2)
        hours = stop_publishing()
        until(
            lambda: all(rows_of(device, built.manifest) == hours for device in fleet.devices),
            f"every record is stored once (seed {seed})",
        )
        rounds = snapshot(fleet, 0).rounds
        until(lambda: snapshot(fleet, 0).rounds > rounds, f"rounds go on (seed {seed})")
        newest = fleet.status()
        assert newest is not None
        until(
            lambda: all(d.sequence >= newest.sequence for d in snapshot(fleet, 0).devices),
            f"every device runs the release (seed {seed})",
        )
        until(
            lambda: (now := fleet.status()) is not None and all(d.accepted for d in now.devices),
            f"every device contributes (seed {seed})",
        )
        assert hands.stop() == [], f"seed {seed}"
    for device in fleet.devices:
        steps, examples = steps_and_examples(device, fleet.bundle)
        assert steps * built.manifest.optimiser.batch == examples, f"seed {seed}"
        verdict = read_report(ExchangeReader(device.settings.exchange_db), 1, verify=True).verdict
        assert verdict is not None
        assert verdict.complaints == (), f"seed {seed}"
        assert verdict.confirmed >= 3, f"seed {seed}"
