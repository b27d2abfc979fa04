"""The demo: a broker, a coordinator and devices on this machine, on four years of real records."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.clock import now_ms
from headwater.errors import UnreachableError
from headwater_models.graphs.builders import build
from headwater_simulator.air import specification
from headwater_simulator.broker import EmbeddedBroker
from headwater_simulator.live.fleet import PREFIX, LiveFleet, at_stations
from headwater_simulator.processes import Child, Crew, crew
from headwater_simulator.streams import shipped
from headwater_simulator.summary import Snapshot, snapshot

MAX_RATE = 300.0
"""Records that one station sends in a second, at most: an hour in three milliseconds."""

SETTLE_S = 15.0
"""How long devices may take to work off what was sent, after the last record."""

LOOK_S = 0.5
"""Time between two looks at the fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to run.

    *broker* None stands for the embedded one; at any other, *prefix* keeps the demo's topics and
    names apart from those of others.
    """

    devices: int = 4
    seconds: float = 100.0
    broker: str | None = None
    prefix: str = PREFIX
    seed: int = 0


def run(
    plan: Plan, folder: Path, environment: Mapping[str, str], show: Callable[[str, Snapshot], None]
) -> Snapshot:
    """Run the demo to its end and stop everything.

    Parameters
    ----------
    plan
        What is to run.
    folder
        An empty folder for everything the parts keep, their logs among it.
    environment
        What each process gets as its environment.
    show
        Called with what is happening and the fleet as it stands.

    Raises
    ------
    UnreachableError
        When a part fails, ends early, or does not stop as it should.
    """
    names = [station.name for station in shipped()]
    stations = [names[number % len(names)] for number in range(plan.devices)]
    bundle = _build(folder / "model", plan.seed)
    with crew(folder / "logs", environment) as hands:
        broker = plan.broker or EmbeddedBroker(hands, folder).url
        fleet = LiveFleet(
            hands,
            folder,
            bundle,
            broker=broker,
            planned=at_stations(stations),
            now=now_ms(),
            prefix=plan.prefix,
        )
        show("devices and coordinator are finding one another", snapshot(fleet, 0.0))
        fleet.wait()
        publisher = _publish(hands, broker, stations, plan)
        last = _watch(fleet, publisher, plan.seconds, show)
        show("stopping", last)
        failed = hands.stop()
    if failed:
        lines = "\n".join(f"{child.name} ended badly:\n{child.tail()}" for child in failed)
        raise UnreachableError(lines)
    _judge(last, folder)
    return last


def _publish(hands: Crew, broker: str, stations: Sequence[str], plan: Plan) -> Child:
    """Start the process that streams the stations' records."""
    rate = min(len(shipped()[0].times) / plan.seconds, MAX_RATE)
    arguments = ["--broker", broker, "--prefix", plan.prefix, "--rate", str(rate)]
    for station in sorted(set(stations)):
        arguments += ["--station", station]
    return hands.start(
        "publisher", [sys.executable, "-m", "headwater_simulator.publisher", *arguments]
    )


def _watch(
    fleet: LiveFleet, publisher: Child, seconds: float, show: Callable[[str, Snapshot], None]
) -> Snapshot:
    """Look on until the time is up and what was sent is worked off."""
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        fleet.check()
        show("streaming", snapshot(fleet, now))
        time.sleep(LOOK_S)
    publisher.stop()
    return _settle(fleet, began, show)


def _settle(fleet: LiveFleet, began: float, show: Callable[[str, Snapshot], None]) -> Snapshot:
    """Wait until no device takes in any more records."""
    deadline = time.monotonic() + SETTLE_S
    now = snapshot(fleet, time.monotonic() - began)
    while any(device.records_per_s for device in now.devices) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
        now = snapshot(fleet, time.monotonic() - began)
        show("working off the rest", now)
    return now


def _build(path: Path, seed: int) -> Path:
    build(specification(shipped()), np.random.default_rng(seed)).bundle().save(path)
    return path


def _judge(last: Snapshot, folder: Path) -> None:
    """Refuse a run in which a part did nothing."""
    idle = [device.summary.id for device in last.devices if not device.scored]
    if idle:
        raise UnreachableError(f"{', '.join(idle)} scored no prediction; look into {folder}/logs.")
    if not last.rounds:
        raise UnreachableError(f"No round was finished; look into {folder}/logs.")
