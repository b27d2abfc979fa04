"""The virtual engine: a whole fleet under one virtual clock, deterministic by its seed.

Devices are the agent's own cores, the coordinator is the server's federation core. Between them
stand a network, an agenda and, in the place of each device's processor, one for all: what devices
ask to be computed is put off until its result is needed, and then done for all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import numpy as np

from headwater import wire
from headwater.objects import Vector
from headwater_agent import events as a
from headwater_agent.answers import DeclinedError, check_in
from headwater_coordinator import events as e
from headwater_coordinator.settings import Settings
from headwater_coordinator.strategies import Strategy, choose
from headwater_models.arrays import Arrays
from headwater_models.compression import decompress
from headwater_simulator.device import Computing, VirtualDevice
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.sources.source import Source
from headwater_simulator.virtual.agenda import Agenda
from headwater_simulator.virtual.attacking import Conspiracy
from headwater_simulator.virtual.chronicle import Chronicle
from headwater_simulator.virtual.coordinator import VirtualCoordinator
from headwater_simulator.virtual.disturbances import Disturbances
from headwater_simulator.virtual.far import Elsewhere
from headwater_simulator.virtual.fleet import Fleet
from headwater_simulator.virtual.inference import FleetPredictor
from headwater_simulator.virtual.member import Delivery, Member, Training
from headwater_simulator.virtual.network import Network
from headwater_simulator.virtual.outcome import Outcome
from headwater_simulator.virtual.processor import Processor
from headwater_simulator.virtual.taking import take_up
from headwater_simulator.virtual.training import FleetTrainer, Tally

STRIDE = 32
"""Rows that streams run ahead of their devices at most. It makes no difference to what comes out:
a device takes up what was measured before it takes up anything else."""

POLL_MS = 500
"""How often the coordinator looks at what came and what is due, as the server does."""

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
        Within one operator. They change the rounding, so that equal reports need equally many.
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
        self._chronicle = Chronicle()
        self._elsewhere = elsewhere
        self._fleet = Fleet(scenario, source, self._rng["fleet"], far=elsewhere is not None)
        self._members = {member.name: member for member in self._fleet.members}
        for member in self._fleet.members:
            self._chronicle.devices[member.name].attack = (
                member.attack.kind if member.attack is not None else ""
            )
        bundle = self._fleet.bundle
        self._trainer = FleetTrainer(
            bundle.train, self._tally, threads=threads, one_by_one=one_by_one
        )
        self._predictor = FleetPredictor(
            bundle.infer, self._tally, threads=threads, one_by_one=one_by_one
        )
        self._processor = Processor(
            self._trainer,
            self._predictor,
            replay=self._trainer.replay
            if elsewhere is None
            else partial(elsewhere.replay, tally=self._tally),
        )
        self._network = Network(self._rng["network"])
        self._conspiracy = Conspiracy(self._rng["attackers"])
        self._agenda = Agenda()
        self._coming: dict[Delivery, wire.Train] = {}
        self._turn_ms: int | None = None
        self._arrived: list[e.Event] = []
        self._over = False
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

    def run(self, name: str, progress: Progress | None = None) -> Results:
        """Run it to its end.

        Parameters
        ----------
        name
            What to call it in the report.
        progress
            Told now and then which share of the run is over.
        """
        self._begin()
        agenda, length = self._agenda, int(self._scenario.length)
        happened = 0
        while not self._over and agenda.next_ms is not None and agenda.next_ms <= length:
            agenda.go_on()
            happened += 1
            if progress is not None and happened % 1_000 == 0:
                progress(self._share())
        end = agenda.now if self._over else length
        if self._fleet.sensors:
            self._stride(end)
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

    # Who is there

    def come(self, members: Sequence[Member]) -> None:
        """Connect those devices that can be, with what waited for it on both sides."""
        came = [m for m in members if not m.online and m.powered and not m.cut]
        for member in came:
            member.online = True
            self._chronicle.came(member.name, self._agenda.now)
        if not came:
            return
        self._feed(e.Appeared(frozenset(member.name for member in came)))
        for member in came:
            inbox, member.inbox = member.inbox, []
            outbox, member.outbox = member.outbox, []
            for delivery in inbox:
                if delivery.void_ms >= self._agenda.now:
                    self._hand(delivery)
            for reply in outbox:
                self._send(member, reply)

    def go(self, members: Sequence[Member]) -> None:
        """Disconnect devices."""
        gone = [member for member in members if member.online]
        for member in gone:
            member.online = False
            self._chronicle.went(member.name, self._agenda.now)
        if gone:
            self._feed(e.Vanished(frozenset(member.name for member in gone)))

    def restarted(self, member: Member) -> None:
        """Note that a device's agent began anew."""
        self._outcome.restarted(member)

    # The coordinator

    def _feed(self, event: e.Event) -> None:
        """Let the coordinator take an event when it looks next, as the server does."""
        self._arrived.append(event)
        self._plan_turn(self._agenda.now)

    def _plan_turn(self, time: int) -> None:
        """Let the coordinator look at a moment, or as soon after it as it does."""
        time = -(-time // POLL_MS) * POLL_MS
        if self._turn_ms is None or time < self._turn_ms:
            self._turn_ms = time
            self._agenda.at(time, partial(self._turn, time))

    def _turn(self, planned: int) -> None:
        """Let the coordinator look at what came, and do what is due."""
        if self._turn_ms != planned:
            return
        self._turn_ms = None
        arrived, self._arrived = self._arrived, []
        now = self._agenda.now
        for event in (*arrived, e.Ticked()):
            self._ask(self._coordinator.feed(event, now))
        due = self._coordinator.due_ms
        if due is not None and not self._over:
            self._plan_turn(max(due, now + 1))

    def _ask(self, asks: Sequence[e.Ask]) -> None:
        """Send tasks; a device has them when it looks for them, in their order."""
        for ask in asks:
            member = self._members[ask.node]
            arrays = None if ask.arrays is None else self._coordinator.weights(ask.arrays)
            size = len(wire.encode(ask.task)) + (0 if arrays is None else self._fleet.packed_bytes)
            self._chronicle.devices[member.name].down += size
            looks, void = member.looks(self._agenda.now), self._agenda.now + ask.ttl_ms
            for fate in self._network.down(member.group.link, size):
                at = looks + fate.delay
                if not fate.held:
                    at = member.last_ms = max(at, member.last_ms)
                if at > void:
                    continue
                delivery = Delivery(member, ask, arrays, at, void)
                member.coming.append(delivery)
                if isinstance(ask.task, wire.Train):
                    self._coming[delivery] = ask.task
                self._agenda.at(at, partial(self._deliver, delivery))

    def _released(self, weights: Arrays) -> None:
        self._outcome.released(self._chronicle.releases[-1], weights)
        wanted = self._scenario.releases
        self._over = wanted is not None and len(self._chronicle.releases) >= wanted

    # The devices

    def _deliver(self, delivery: Delivery) -> None:
        """Let a device have a task, now or as soon as it is connected."""
        delivery.member.coming.remove(delivery)
        self._coming.pop(delivery, None)
        if delivery.member.online:
            self._hand(delivery)
        else:
            delivery.member.inbox.append(delivery)

    def _hand(self, delivery: Delivery) -> None:
        member, ask = delivery.member, delivery.ask
        if not isinstance(ask.task, wire.CheckIn) or self._scenario.agent.drift:
            self.catch_up([member], self._agenda.now)
        try:
            reply = self._answer(delivery)
        except DeclinedError as declined:
            reply = self._declined(member, ask, declined)
        if reply is not None:
            self._answered(member, ask.ask, reply, None)

    def _declined(self, member: Member, ask: e.Ask, declined: DeclinedError) -> wire.Declined:
        self._chronicle.devices[member.name].declined += 1
        task = getattr(ask.task, "task", "")
        return wire.Declined(device=member.name, task=task, reason=declined.reason)

    def _answer(self, delivery: Delivery) -> wire.Reply | None:
        member, task, arrays = delivery.member, delivery.ask.task, delivery.arrays
        device = member.device
        match task:
            case wire.CheckIn():
                if task.poll_ms is not msgspec.UNSET:
                    member.poll_ms = task.poll_ms
                model = self._fleet.bundle.model_id
                if isinstance(device, VirtualDevice):
                    return check_in(device.pipeline, device=device.name, model=model)
                return device.check_in(model)
            case wire.Train():
                self._begin_training(delivery, task)
                return None
            case wire.Evaluate() if arrays is not None:
                return device.judge(task, arrays, self._predictor.alone)
            case wire.Release() if arrays is not None:
                sequence = self._coordinator.sequence(task.version)
                device.take(a.Version(task.version, sequence, arrays), task.merged)
                return wire.Received(device=member.name, version=task.version, accepted=True)
        raise AssertionError(f"A {type(task).__name__} came without its arrays.")

    # Training

    def _begin_training(self, delivery: Delivery, task: wire.Train) -> None:
        if delivery.taken is None:
            self._take_up(delivery, task, self._agenda.now)
        member, taken = delivery.member, delivery.taken
        if isinstance(taken, DeclinedError):
            raise taken
        if isinstance(taken, Training):
            member.busy_until = taken.end_ms
            member.running.append(taken)
            self._chronicle.worked(1, self._agenda.now)
            finish = partial(self._finish, member, delivery.ask.ask, taken)
            self._agenda.at(taken.end_ms, finish)
        elif taken is not None:
            self._answered(member, delivery.ask.ask, *taken)

    def _take_up(self, delivery: Delivery, task: wire.Train, now: int) -> None:
        """Let a device take up a task to train, with what it has learned by a moment."""
        delivery.taken = take_up(delivery, task, now, self._fleet.bundle.manifest)
        if isinstance(delivery.taken, Training) and not delivery.taken.late:
            self._processor.put_off(delivery.taken)

    def _finish(self, member: Member, ask: str, training: Training) -> None:
        """Let a device send what its training came to, unless it lost it meanwhile."""
        if training not in member.running:
            return
        member.running.remove(training)
        log = self._chronicle.devices[member.name]
        log.trained += 1
        self._chronicle.worked(-1, self._agenda.now)
        if training.late:
            log.late += 1
            return
        if training.made is None:
            self._look_ahead()
            self._processor.compute()
        if training.made is None:
            raise AssertionError("A training was not computed.")
        try:
            update, vector = member.device.finish_update(training.begun, training.made)
        except DeclinedError as declined:
            log.declined += 1
            task = training.begun.task.task
            reply = wire.Declined(device=member.name, task=task, reason=declined.reason)
            self._answered(member, ask, reply, None)
            return
        self._answered(member, ask, update, vector)

    def _look_ahead(self) -> None:
        """Take up the tasks that are on their way to devices where nothing comes between.

        What a device does with a task depends on its own data alone, and on what it was told
        before. So it can be taken up before the clock is there, and be computed with the others.
        Nothing is taken up that comes after the next stride, at which devices are looked at.
        """
        now, until = self._agenda.now, int(self._scenario.length)
        if self._fleet.sensors:
            stride = STRIDE * self._fleet.period_ms
            until = min(until, (now // stride + 1) * stride)
        certain = [
            delivery
            for delivery in self._coming
            if delivery.taken is None
            and delivery.at_ms <= until
            and delivery.member.online
            and delivery.member.coming[0] is delivery
            and not delivery.member.group.link.reordering
            and delivery.member.rests_until(delivery.at_ms, now)
            and self._outlasted(delivery)
        ][: self._processor.room]
        self._feed_sensors([(one.member, one.at_ms) for one in certain])
        for delivery in certain:
            self._take_up(delivery, self._coming[delivery], delivery.at_ms)

    def _outlasted(self, delivery: Delivery) -> bool:
        """Say whether a device will not have measured more if a release ends the run before."""
        sensors = self._fleet.sensors.get(delivery.member)
        return (
            sensors is None or self._scenario.releases is None or sensors.next_ms > delivery.at_ms
        )

    def _answered(self, member: Member, ask: str, reply: wire.Reply, vector: Vector | None) -> None:
        """Send an answer, an attacker's forged, now or as soon as the device is connected."""
        size = len(wire.encode(reply)) + (0 if vector is None else vector.nbytes)
        if vector is not None:
            if vector.dtype == np.uint8:
                vector = decompress(vector, self._fleet.bundle.manifest)
            attack = member.attack
            if attack is not None and self._agenda.now >= attack.start:
                vector = self._conspiracy.forge(attack, member.name, vector)
                self._chronicle.devices[member.name].forged += 1
        replied = e.Replied(ask, reply, vector, size=size)
        if member.online:
            self._send(member, replied)
        else:
            member.outbox.append(replied)

    def _send(self, member: Member, replied: e.Replied) -> None:
        log = self._chronicle.devices[member.name]
        log.up += replied.size
        fates = self._network.up(member.group.link, replied.size)
        log.lost += not fates and isinstance(replied.reply, wire.Update)
        for fate in fates:
            at = self._agenda.now + fate.delay
            if not fate.held:
                at = member.sent_ms = max(at, member.sent_ms)
            self._agenda.at(at, partial(self._feed, replied))

    # The streams

    def _stride(self, now: int) -> None:
        self.catch_up(list(self._fleet.sensors), now)
        self._outcome.passed(now)

    def catch_up(self, members: Sequence[Member], now: int) -> None:
        """Let devices take up what their sensors measured by a moment."""
        self._feed_sensors([(member, now) for member in members])

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
