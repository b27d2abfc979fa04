"""The virtual engine: a whole fleet under one virtual clock, deterministic by its seed.

Devices are the agent's own cores, the coordinator is the server's federation core. Between them
stand a network, an agenda and, in the place of each device's processor, one for all: what devices
ask to be computed is put off until its result is needed, and then done for all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from headwater_coordinator import events as e
from headwater_coordinator.settings import Settings
from headwater_coordinator.strategies import Strategy, choose
from headwater_models.arrays import Arrays
from headwater_simulator.device import Computing, VirtualDevice
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.sources.source import Source
from headwater_simulator.virtual.agenda import Agenda
from headwater_simulator.virtual.attacking import Conspiracy
from headwater_simulator.virtual.chronicle import Chronicle
from headwater_simulator.virtual.collector import seldom_collected
from headwater_simulator.virtual.coordinator import VirtualCoordinator
from headwater_simulator.virtual.disturbances import Disturbances
from headwater_simulator.virtual.far import Elsewhere
from headwater_simulator.virtual.fleet import Fleet
from headwater_simulator.virtual.inference import FleetPredictor
from headwater_simulator.virtual.member import Delivery, Member
from headwater_simulator.virtual.network import Network
from headwater_simulator.virtual.outcome import Outcome
from headwater_simulator.virtual.post import Post
from headwater_simulator.virtual.processor import Processor
from headwater_simulator.virtual.tasks import STRIDE, Tasks
from headwater_simulator.virtual.training import (
    FleetTrainer,
    Job,
    Line,
    Promise,
    Tally,
    all_processors,
    promised,
)

Progress = Callable[[float], None]


class Engine:
    """One run of a scenario.

    Parameters
    ----------
    scenario
        What is simulated.
    source
        The data of its devices.
    strategy
        Merges updates instead of the one that the scenario names.
    one_by_one
        Compute for each device alone, as devices do.
    threads
        Within one operator. They change the rounding, so that equal reports need equally many. How
        many operators run beside each other makes no difference; they are as many as processors.
    elsewhere
        Where devices of tables are trained; without it, here.
    """

    def __init__(
        self,
        scenario: Scenario,
        source: Source,
        *,
        strategy: Strategy | None = None,
        one_by_one: bool = False,
        threads: int = 1,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._scenario = scenario
        self._settings = Settings(
            federation=scenario.federation,
            gate=scenario.gate,
            firewall=scenario.firewall,
            update=scenario.update,
        )
        if strategy is None:
            strategy = choose(scenario.strategy, source="strategy")
        seeds = np.random.SeedSequence(scenario.seed).spawn(4)
        names = ("fleet", "network", "coordinator", "attackers")
        self._rng = {
            name: np.random.default_rng(seed) for name, seed in zip(names, seeds, strict=True)
        }
        self._tally = Tally()
        self._processors = all_processors()
        self._line = Line(self._processors)
        self._chronicle = Chronicle()
        self._elsewhere = elsewhere
        self._fleet = Fleet(scenario, source, self._rng["fleet"], far=elsewhere is not None)
        self._members = {member.name: member for member in self._fleet.members}
        for member in self._fleet.members:
            self._chronicle.devices[member.name] = member.log
            member.log.attack = member.attack.kind if member.attack is not None else ""
        bundle = self._fleet.bundle
        self._trainer = FleetTrainer(
            bundle.train,
            self._tally,
            threads=threads,
            one_by_one=one_by_one,
            shared=[array.name for array in bundle.manifest.shared],
        )
        self._predictor = FleetPredictor(
            bundle.infer, self._tally, threads=threads, one_by_one=one_by_one
        )
        self._processor = Processor(self._trainer, self._predictor, self._begin_trainings)
        self._network = Network(self._rng["network"])
        self._agenda = Agenda()
        self._coordinator = VirtualCoordinator(
            bundle,
            self._settings,
            strategy,
            rng=self._rng["coordinator"],
            chronicle=self._chronicle,
            released=self._released,
            groups={member.name: member.group.name for member in self._fleet.members},
        )
        self._outcome = Outcome(
            scenario, self._fleet, self._chronicle, self._predictor, self._trainer
        )
        self._post = Post(
            self._agenda,
            self._network,
            self._coordinator,
            self._members,
            packed_bytes=self._fleet.packed_bytes,
            ahead=self._ahead,
            deliver=self._deliver,
        )
        self._tasks = Tasks(
            scenario,
            self._fleet,
            self._agenda,
            self._chronicle,
            post=self._post,
            processor=self._processor,
            conspiracy=Conspiracy(self._rng["attackers"]),
            sequence=self._coordinator.sequence,
            catch_up=self._feed_sensors,
        )

    def run(self, name: str, progress: Progress | None = None) -> Results:
        """Run it to its end.

        Parameters
        ----------
        name
            What to call it in the report.
        progress
            Told now and then which share of the run is over.
        """
        with seldom_collected(), self._processors:
            end = self._went(progress)
        self._chronicle.ended(end)
        if progress is not None:
            progress(1.0)
        return self._outcome.results(
            name,
            end,
            traffic=self._network.traffic,
            tally=self._tally,
            engine="virtual" if self._elsewhere is None else "ray",
        )

    def _went(self, progress: Progress | None) -> int:
        """Let happen what happens; return when it ended."""
        self._begin()
        agenda, length = self._agenda, int(self._scenario.length)
        while agenda.go_on(length):
            if progress is not None:
                progress(self._share())
        end = agenda.now if agenda.over else length
        self._post.settle(end)
        if self._fleet.sensors:
            self._stride(end)
        return end

    def _share(self) -> float:
        """Return which share of the run is over, by its clock or its releases."""
        wanted = self._scenario.releases
        shares = [self._agenda.now / int(self._scenario.length)]
        if wanted is not None:
            shares.append(len(self._chronicle.releases) / wanted)
        return min(max(shares), 1.0)

    # What is planned from the beginning

    def _begin(self) -> None:
        length = int(self._scenario.length)
        self._chronicle.released(
            self._coordinator.release, 0, "The model that the fleet begins with.", 0
        )
        self._outcome.released(self._chronicle.releases[-1], self._fleet.bundle.weights)
        arrivals: dict[int, list[str]] = {}
        for member in self._fleet.members:
            for time, comes in member.connections(length):
                member.disturbed.append(time)
                if comes:
                    arrivals.setdefault(time, []).append(member.name)
                else:
                    self._agenda.at(time, partial(self.go, [member]))
        for time in sorted(arrivals):
            names = [self._members[name] for name in arrivals[time]]
            self._agenda.at(time, partial(self.come, names))
        Disturbances(self._scenario, self._fleet, self._agenda, self._chronicle, self)
        for member in self._fleet.members:
            member.disturbed.sort()
        if self._fleet.sensors:
            stride = STRIDE * self._fleet.period_ms
            for time in range(stride, length, stride):
                self._agenda.at(time, partial(self._stride, time))

    def _begin_trainings(self, jobs: Sequence[Job]) -> list[Promise]:
        """Have trainings done beside what else happens, or elsewhere."""
        if self._elsewhere is None:
            return self._trainer.begin(jobs, self._line)
        return promised(self._elsewhere.replay(jobs, self._tally))

    # Who is there

    def come(self, members: Sequence[Member]) -> None:
        """Connect those devices that can be, with what waited for it on both sides."""
        came = [m for m in members if not m.online and m.powered and not m.cut]
        for member in came:
            member.online = True
            self._chronicle.came(member.name, self._agenda.now)
        if not came:
            return
        self._post.tell(e.Appeared(frozenset(member.name for member in came)))
        for member in came:
            inbox, member.inbox = member.inbox, []
            outbox, member.outbox = member.outbox, []
            for delivery in inbox:
                if delivery.void_ms >= self._agenda.now:
                    self._tasks.hand(delivery)
            for reply in outbox:
                self._post.send(member, reply)

    def go(self, members: Sequence[Member]) -> None:
        """Disconnect devices."""
        gone = [member for member in members if member.online]
        for member in gone:
            member.online = False
            self._chronicle.went(member.name, self._agenda.now)
        if gone:
            self._post.tell(e.Vanished(frozenset(member.name for member in gone)))

    def stop(self, members: Sequence[Member]) -> None:
        """Let devices lose what they are at; nobody hears of it."""
        self._feed_sensors([(member, self._agenda.now) for member in members])
        for member in members:
            self._chronicle.worked(-len(member.running), self._agenda.now)
            member.running.clear()
            member.busy_until = 0

    def restart(self, members: Sequence[Member]) -> None:
        """Let their agents begin anew, from what they had stored."""
        for member in members:
            if isinstance(member.device, VirtualDevice):
                member.device.restart(self._fleet.pipeline)
                self._outcome.restarted(member)

    def _released(self, weights: Arrays) -> None:
        self._outcome.released(self._chronicle.releases[-1], weights)
        wanted = self._scenario.releases
        self._agenda.over = wanted is not None and len(self._chronicle.releases) >= wanted

    def _ahead(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        return self._tasks.do_ahead(deliveries)

    def _deliver(self, delivery: Delivery) -> None:
        """Let a device have a task, now or as soon as it is connected."""
        if delivery.member.online:
            self._tasks.hand(delivery)
        else:
            delivery.member.inbox.append(delivery)

    # The streams

    def _stride(self, now: int) -> None:
        self._feed_sensors([(member, now) for member in self._fleet.sensors])
        self._outcome.passed(now)

    def _feed_sensors(self, due: Sequence[tuple[Member, int]]) -> None:
        """Let devices take up what their sensors measured, each by its moment, all at once."""
        work: list[Computing] = []
        for member, now in due:
            sensors = self._fleet.sensors.get(member)
            if sensors is None or not member.powered:
                continue
            arrived = sensors.arrived(now)
            if arrived is not None and isinstance(member.device, VirtualDevice):
                work.append(member.device.feeding(arrived))
        self._processor.work_off(work)
