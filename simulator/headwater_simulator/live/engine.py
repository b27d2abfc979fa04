"""The live engine: a scenario with real processes, in real time that goes by faster.

Broker, coordinator, agents and federation clients are the programs that users run. What sensors
say is what they say on the virtual engine, sent over MQTT with its event times. Beside each agent
stands a simulated one that learns nothing: it holds the rows on which releases are judged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from headwater.clock import now_ms
from headwater.errors import StorageError, UnreachableError
from headwater_agent.scores import Score
from headwater_coordinator.live import read_live
from headwater_coordinator.registry import Registry
from headwater_simulator.broker import EmbeddedBroker
from headwater_simulator.device import VirtualDevice
from headwater_simulator.live import configuring, omissions
from headwater_simulator.live.books import copy_books, releases
from headwater_simulator.live.course import Course, is_there
from headwater_simulator.live.fleet import PREFIX, LiveFleet, Planned
from headwater_simulator.live.pace import paced, usual_speed
from headwater_simulator.live.telling import payloads
from headwater_simulator.processes import Crew, crew
from headwater_simulator.publisher import Publisher
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.sources.source import Source
from headwater_simulator.virtual.chronicle import Chronicle
from headwater_simulator.virtual.fleet import Fleet
from headwater_simulator.virtual.inference import FleetPredictor
from headwater_simulator.virtual.member import Member
from headwater_simulator.virtual.network import Traffic
from headwater_simulator.virtual.outcome import Outcome
from headwater_simulator.virtual.training import FleetTrainer, Tally

WAKE_S = 0.05
"""Time between two bursts of records."""

LOOK_S = 0.5
"""Time between two looks at the coordinator's books."""

NOTES = 40
"""How often in a run it is noted how well the agents' own predictions do."""

SETTLE_S = 30.0
"""How long agents may take to come up and to work off what was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where processes find what they need.

    ``folder`` is empty, for everything that they keep; ``environment`` is that of each of them;
    ``broker`` None stands for the embedded one, and at any other ``prefix`` keeps topics and names
    apart from those of others.
    """

    folder: Path
    environment: Mapping[str, str]
    broker: str | None = None
    prefix: str = PREFIX


class LiveEngine:
    """One run of a scenario.

    Parameters
    ----------
    scenario
        What is lived.
    source
        The streams of its devices.
    speed
        Seconds of the scenario in a real one; without it, as many as are possible.

    Attributes
    ----------
    speed
        What it came to.
    words
        What is left out of the scenario, or takes longer, a sentence each.

    Raises
    ------
    UnsupportedError
        When the scenario cannot be lived.
    """

    def __init__(self, scenario: Scenario, source: Source, *, speed: float | None = None) -> None:
        self._facts = omissions.refuse(scenario, source).facts
        self._scenario = scenario
        self.speed = speed or usual_speed(scenario, self._facts.grid.period)
        rng = np.random.default_rng(np.random.SeedSequence(scenario.seed).spawn(1)[0])
        self._fleet = Fleet(_watching(scenario), source, rng)
        bundle = self._fleet.bundle
        self._how, self._gate, longer = paced(
            scenario.federation, scenario.gate, speed=self.speed, devices=scenario.devices
        )
        schedule = bundle.manifest.optimiser.schedule
        self.words = (*omissions.left_out(scenario, schedule), *longer)
        self._chronicle = Chronicle()
        self._tally = Tally()
        self._outcome = Outcome(
            scenario,
            self._fleet,
            self._chronicle,
            FleetPredictor(bundle.infer, self._tally),
            FleetTrainer(bundle.train, self._tally),
            scores=self._score,
        )
        self._heard: set[str] = set()
        self._scores: dict[str, Score] = {}
        self._began_ms = 0

    @property
    def seconds(self) -> float:
        """How long it takes, beside start and end."""
        return int(self._scenario.length) / 1000 / self.speed

    def run(self, name: str, told: Callable[[float], None], around: Surroundings) -> Results:
        """Run it to its end, and stop everything.

        Parameters
        ----------
        name
            What to call it in the report.
        told
            Called now and then with the share of the run that is over.
        around
            Of the processes.

        Raises
        ------
        UnreachableError
            When a part fails, ends early, or does not stop as it should.
        """
        for words in self.words:
            self._chronicle.happened(words, 0)
        self._fleet.bundle.save(around.folder / "model")
        with crew(around.folder / "logs", around.environment) as hands:
            broker = around.broker or EmbeddedBroker(hands, around.folder).url
            live = self._start(hands, broker, around)
            live.wait()
            planned = partial(self._planned, prefix=around.prefix)
            course = Course(self._scenario, self._fleet, live, planned, self._chronicle)
            with closing(Publisher(broker, f"{around.prefix}-publisher")) as publisher:
                publish = partial(self._publish, publisher, around.prefix, course)
                end = self._live(live, course, publish, told)
                self._settle(course, publish, end)
            self._note(course, end)
            failed = live.stop()
        if failed:
            lines = "\n".join(f"{child.name} ended badly:\n{child.tail()}" for child in failed)
            raise UnreachableError(lines)
        return self._results(name, end, live, course)

    def _start(self, hands: Crew, broker: str, around: Surroundings) -> LiveFleet:
        there = [member for member in self._fleet.members if is_there(member)]
        return LiveFleet(
            hands,
            around.folder,
            around.folder / "model",
            broker=broker,
            planned=[self._planned(member, prefix=around.prefix) for member in there],
            now=now_ms(),
            prefix=around.prefix,
            federating=configuring.coordinator(self._scenario, self._how, self._gate),
        )

    def _planned(self, member: Member, *, prefix: str) -> Planned:
        return configuring.agent(self._scenario, self._facts, member, prefix)

    def _live(
        self,
        live: LiveFleet,
        course: Course,
        publish: Callable[[int], None],
        told: Callable[[float], None],
    ) -> int:
        """Let the time of the scenario go by; return when it ended."""
        length = int(self._scenario.length)
        began = looked = time.monotonic()
        self._began_ms = now_ms()
        noted, now = 0, 0
        while now < length and not self._over:
            time.sleep(WAKE_S)
            now = min(length, round(1000 * (time.monotonic() - began) * self.speed))
            course.go_on(now)
            publish(now)
            if time.monotonic() - looked < LOOK_S:
                continue
            looked = time.monotonic()
            live.check()
            self._collect(live)
            self._count(live, now)
            told(self._share(now))
            if now * NOTES >= (noted + 1) * length:
                noted = now * NOTES // length
                self._note(course, now)
        return now

    @property
    def _over(self) -> bool:
        wanted = self._scenario.releases
        return wanted is not None and len(self._chronicle.releases) >= wanted

    def _share(self, now: int) -> float:
        """Return which share of the run is over, by its clock or its releases."""
        wanted = self._scenario.releases
        by_releases = 0.0 if wanted is None else len(self._chronicle.releases) / wanted
        return min(1.0, max(now / int(self._scenario.length), by_releases))

    def _publish(self, publisher: Publisher, prefix: str, course: Course, now: int) -> None:
        """Send what was measured by a moment, and show it to those who hold the judges' rows."""
        for member, sensors in self._fleet.sensors.items():
            if not member.powered or not self._is_heard(member, course):
                continue
            arrived = sensors.arrived(now)
            if arrived is None:
                continue
            for topic, payload in payloads(arrived, self._facts, prefix):
                publisher.send(topic, payload)
            if isinstance(member.device, VirtualDevice):
                member.device.arrived(arrived.records, arrived.labels)

    def _is_heard(self, member: Member, course: Course) -> bool:
        """Say whether the broker keeps what it is sent for an agent: the agent has subscribed."""
        if member.name not in self._heard and member.name in course.real:
            said = course.real[member.name].live()
            if said is not None and said.connected:
                self._heard.add(member.name)
        return member.name in self._heard

    def _collect(self, live: LiveFleet) -> None:
        """Keep the weights of new releases before the coordinator forgets them."""
        known = self._chronicle.releases
        registry = Registry(live.home.versions, self._fleet.bundle.manifest)
        for one in releases(live.home, self._clock, after=known[-1].sequence if known else -1):
            known.append(one)
            self._outcome.released(one, registry.load(one.version))

    def _count(self, live: LiveFleet, now: int) -> None:
        """Note how many devices are at work."""
        shown = read_live(live.home.live)
        change = (shown.open if shown is not None else 0) - self._chronicle.training
        if change:
            self._chronicle.worked(change, now)

    def _clock(self, utc_ms: int) -> int:
        """Return the time of the scenario; what was before its beginning was at it."""
        return max(0, round((utc_ms - self._began_ms) * self.speed))

    # The end

    def _settle(self, course: Course, publish: Callable[[int], None], end: int) -> None:
        """Wait until agents have taken in what they were sent, or take in nothing any more.

        Those that were only started are sent what was measured up to the end.
        """
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline and any(self._lags(course)):
            time.sleep(LOOK_S)
            publish(end)

    def _lags(self, course: Course) -> Iterator[bool]:
        for member, sensors in self._fleet.sensors.items():
            device = course.real.get(member.name)
            if device is None or not member.powered:
                continue
            said, rates = device.checked_in(), device.live()
            behind = said is None or said.records < sensors.records
            comes = member.name not in self._heard or rates is None or rates.records_per_s > 0
            yield behind and comes

    def _note(self, course: Course, now: int) -> None:
        """Note how well the agents' own predictions did since the last time."""
        for name, device in course.real.items():
            try:
                score = device.score(self._fleet.bundle.manifest)
            except StorageError:  # its store is being made
                continue
            if score is not None:
                self._scores[name] = score
        self._outcome.passed(now)

    def _score(self, member: Member) -> Score | None:
        return self._scores.get(member.name)

    def _results(self, name: str, end: int, live: LiveFleet, course: Course) -> Results:
        self._collect(live)
        copy_books(live.home, self._chronicle, self._clock)
        traffic = Traffic()
        for member in self._fleet.members:
            if member.online:
                self._chronicle.went(member.name, end)
            if member.name in course.real:
                count, size = course.real[member.name].sent()
                self._chronicle.devices[member.name].up = size
                traffic.messages += count
                traffic.up += size
        return self._outcome.results(name, end, traffic=traffic, tally=self._tally, engine="live")


def _watching(scenario: Scenario) -> Scenario:
    """Return a scenario whose simulated agents only take in what comes."""
    agent = scenario.agent
    learn = msgspec.structs.replace(agent.learn, enabled=False)
    return msgspec.structs.replace(scenario, agent=msgspec.structs.replace(agent, learn=learn))
