"""A federation of four devices goes on through restarts of every part, and no part grows.

Two minutes, or as ``HEADWATER_ENDURE_MINUTES`` says; ``make endure`` is the hour. First every part
is killed and started again, one after the other. Then SuperLink, ServerApp and the first device's
client are left alone and measured, while the other devices' parts are killed in turn.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.footprint import rss_mb
from benchmarks.soak import growth
from headwater.clock import now_ms
from headwater_coordinator.lock import holder
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import build
from headwater_simulator.air import specification
from headwater_simulator.live.fleet import PREFIX, LiveFleet, at_stations
from headwater_simulator.processes import Child, Crew, crew
from headwater_simulator.streams import shipped
from tests.system.test_killed_at_random import children_of, kill, until

pytestmark = pytest.mark.system

SECONDS = 60 * float(os.environ.get("HEADWATER_ENDURE_MINUTES", "2"))
RESTARTS = 0.4
"""Share of the time in which every part is restarted."""
LEFT_ALONE = 6
"""Restarts of the other devices' parts while the rest is measured."""
BOUND_MB = 8.0
"""How much a part may grow over the second half of the time that it is measured, by its slope."""

Points = list[tuple[float, float]]


class Fleet(LiveFleet):
    """A fleet whose parts can be killed and started again, each by its name."""

    hands: Crew

    def restart_coordinator(self) -> None:
        """Kill ``serve``, whose children end with it, and start it again."""
        dead(self.coordinator)
        until(lambda: holder(self.home.lock) is None, "the ServerApp ended with it")
        command = [sys.executable, "-m", "headwater", "coordinator", "serve", "--home"]
        self.coordinator = self.hands.again(self.coordinator, [*command, str(self.home.root)])

    def restart_part(self, number: int, *, agent: bool) -> None:
        """Kill an agent or a federation client, and start it again."""
        device = self.devices[number]
        dead(device.agent if agent else device.client)
        self.restart(device, agent=agent)

    def serverapp(self) -> int | None:
        """Return the ServerApp's process."""
        return holder(self.home.lock)

    def superlink(self) -> int | None:
        """Return the SuperLink's process."""
        for pid in children_of(self.coordinator.pid):
            if b"flower-superlink" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return None

    def rounds(self) -> int:
        """Return how many rounds were finished."""
        status = self.status()
        return status.rounds if status else 0


def dead(child: Child) -> None:
    """Kill a child of ours and wait until it is gone."""
    kill(child.pid)
    until(lambda: child.exit_code == -signal.SIGKILL, f"{child.name} is dead")


def replaced(find: Callable[[], int | None], what: str) -> None:
    """Kill a process that ``serve`` keeps running, and wait for the next one."""
    until(lambda: find() is not None, f"{what} runs")
    before = find()
    assert before is not None
    kill(before)
    until(lambda: find() not in (None, before), f"{what} runs again")


def others(fleet: Fleet) -> Iterator[Callable[[], None]]:
    """Yield, for ever, how to restart one more part of the devices that are not measured."""
    for number, agent in itertools.cycle(itertools.product((1, 2, 3), (True, False))):
        yield lambda n=number, a=agent: fleet.restart_part(n, agent=a)  # type: ignore[misc]


def restart_all(fleet: Fleet) -> None:
    """Restart every part once, spread over the time for it."""
    began = time.monotonic()
    parts: list[Callable[[], None]] = [
        lambda: replaced(fleet.serverapp, "the ServerApp"),
        lambda: replaced(fleet.superlink, "the SuperLink"),
        fleet.restart_coordinator,
        *(
            lambda n=number, a=agent: fleet.restart_part(n, agent=a)
            for number in range(4)
            for agent in (True, False)
        ),
    ]
    for number, restart in enumerate(parts, 1):
        restart()
        due = began + RESTARTS * SECONDS * number / len(parts)
        time.sleep(max(0.0, due - time.monotonic()))


def measure(fleet: Fleet) -> dict[str, Points]:
    """Watch three parts that are left alone, while others are restarted."""
    until(lambda: None not in (fleet.serverapp(), fleet.superlink()), "the coordinator works")
    serverapp, superlink = fleet.serverapp(), fleet.superlink()
    assert serverapp is not None
    assert superlink is not None
    watched = {
        "SuperLink": superlink,
        "ServerApp": serverapp,
        "client": fleet.devices[0].client.pid,
    }
    points: dict[str, Points] = {name: [] for name in watched}
    seconds = (1 - RESTARTS) * SECONDS
    began, restarts, done = time.monotonic(), others(fleet), 0
    while (now := time.monotonic() - began) < seconds:
        for name, pid in watched.items():
            points[name].append((now, rss_mb(pid)))
        if now > seconds * (done + 1) / (LEFT_ALONE + 1):
            next(restarts)()
            done += 1
        time.sleep(min(15.0, seconds / 60))
    return points


def test_a_federation_endures_and_no_part_of_it_grows(tmp_path: Path, mosquitto: int) -> None:
    built = build(specification(shipped()), np.random.default_rng(0))
    Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    ).save(tmp_path / "model")
    broker = f"mqtt://127.0.0.1:{mosquitto}"
    names = [station.name for station in shipped()[:4]]
    rate = min(100.0, len(shipped()[0].times) / (SECONDS + 120))
    publish = ["--broker", broker, "--prefix", PREFIX, "--rate", str(rate)]
    for name in names:
        publish += ["--station", name]
    with crew(tmp_path / "logs", os.environ) as hands:
        fleet = Fleet(
            hands,
            tmp_path,
            tmp_path / "model",
            broker=broker,
            planned=at_stations(names),
            now=now_ms(),
        )
        fleet.hands = hands
        fleet.wait()
        hands.start("publisher", [sys.executable, "-m", "headwater_simulator.publisher", *publish])
        restart_all(fleet)
        rounds = fleet.rounds()
        points = measure(fleet)
        until(lambda: fleet.rounds() > rounds, "rounds went on")
        newest = fleet.status()
        assert newest is not None
        until(
            lambda: (
                (now := fleet.status()) is not None
                and all(device.sequence >= newest.sequence for device in now.devices)
            ),
            "every device runs the release",
        )
        assert hands.stop() == []
    grown = {name: growth(seen) for name, seen in points.items()}
    for name, seen in points.items():
        print(f"\n{name}: {seen[-1][1]:.1f} MB, grown by {grown[name]:+.2f} MB", end="")
    print(f"\n{newest.rounds} rounds, {newest.releases} releases in {SECONDS / 60:g} minutes")
    assert {name: by for name, by in grown.items() if by > BOUND_MB} == {}
