"""The virtual engine: a whole fleet under one virtual clock, deterministic by its seed.

Devices are the agent's own cores, the coordinator is the server's federation core. Between them
stand a network, an agenda and, in the place of each device's processor, one for all: what devices
ask to be computed is put off until its result is needed, and then done for all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
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
from headwater_simulator.device import Begun, Computing, Made, VirtualDevice
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.settings import Fault, Scenario
from headwater_simulator.sources.source import Source
from headwater_simulator.virtual.agenda import Agenda
from headwater_simulator.virtual.attacking import Conspiracy, mislabelled
from headwater_simulator.virtual.chronicle import Chronicle
from headwater_simulator.virtual.coordinator import VirtualCoordinator
from headwater_simulator.virtual.far import Elsewhere
from headwater_simulator.virtual.fleet import Fleet
from headwater_simulator.virtual.inference import FleetPredictor
from headwater_simulator.virtual.member import Delivery, Member, Training
from headwater_simulator.virtual.network import Network
from headwater_simulator.virtual.outcome import Outcome
from headwater_simulator.virtual.training import FleetTrainer, Job, Tally

STRIDE = 32
"""Rows that streams run ahead of their devices at most. It makes no difference to what comes out:
a device takes up what was measured before it takes up anything else."""

WAITING = 2_048
"""Trainings that are put off at most, which bounds the memory of their examples."""

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
        seeds = np.random.SeedSequence(scenario.seed).spawn(5)
        names = ("fleet", "network", "coordinator", "attackers", "judges")
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
        self._network = Network(self._rng["network"])
        self._conspiracy = Conspiracy(self._rng["attackers"])
        self._agenda = Agenda()
        self._waiting: list[Training] = []
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
                    self._agenda.at(time, partial(self._go, [member]))
        for time in sorted(arrivals):
            names = [self._members[name] for name in arrivals[time]]
            self._agenda.at(time, partial(self._come, names))
        for outage in self._scenario.outages:
            self._plan_outage(outage.groups, int(outage.start), int(outage.start + outage.length))
        for fault, numbers in self._fleet.faults:
            self._plan_fault(fault, [self._fleet.members[i] for i in numbers])
        for member in self._fleet.members:
            member.disturbed.sort()
        if self._fleet.sensors:
            stride = STRIDE * self._fleet.period_ms
            for time in range(stride, length, stride):
                self._agenda.at(time, partial(self._stride, time))

    def _plan_outage(self, groups: tuple[str, ...], start: int, end: int) -> None:
        where = ", ".join(groups) or "the whole network"
        cut = [one for one in self._fleet.members if not groups or one.group.name in groups]
        for member in cut:
            member.disturbed += [start, end]

        def begin() -> None:
            self._chronicle.happened(f"Outage of {where} begins.", self._agenda.now)
            for member in cut:
                member.cut += 1
            self._go(cut)

        def finish() -> None:
            self._chronicle.happened(f"Outage of {where} ends.", self._agenda.now)
            for member in cut:
                member.cut -= 1
            self._come_back(cut)

        self._agenda.at(start, begin)
        self._agenda.at(end, finish)

    def _come_back(self, members: Sequence[Member]) -> None:
        """Let those devices connect that would be connected now."""
        now, length = self._agenda.now, int(self._scenario.length)
        self._come([member for member in members if member.connected(now, length)])

    def _plan_fault(self, fault: Fault, members: Sequence[Member]) -> None:
        words = f"{fault.kind} on {len(members)} devices"
        if fault.kind in ("crash", "power-cut"):
            for member in members:
                member.disturbed += [int(fault.start), int(fault.start + fault.length)]
        self._agenda.at(
            int(fault.start), lambda: self._chronicle.happened(f"{words}.", self._agenda.now)
        )
        if fault.kind == "crash":
            self._agenda.at(int(fault.start), partial(self._restart, members))
        elif fault.kind == "power-cut":
            self._agenda.at(int(fault.start), partial(self._cut_power, members))
            self._agenda.at(int(fault.start + fault.length), partial(self._power_up, members))

    def _restart(self, members: Sequence[Member]) -> None:
        self._catch_up(members, self._agenda.now)
        self._stop(members)
        for member in members:
            if isinstance(member.device, VirtualDevice):
                member.device.restart(self._fleet.pipeline)
                self._outcome.restarted(member)

    def _stop(self, members: Sequence[Member]) -> None:
        """Let devices lose what they are at; nobody hears of it."""
        for member in members:
            self._chronicle.worked(-len(member.running), self._agenda.now)
            member.running.clear()
            member.busy_until = 0

    def _cut_power(self, members: Sequence[Member]) -> None:
        self._catch_up(members, self._agenda.now)
        self._stop(members)
        for member in members:
            member.unpowered += 1
        self._go(members)

    def _power_up(self, members: Sequence[Member]) -> None:
        for member in members:
            member.unpowered -= 1
        up = [member for member in members if member.powered]
        for member in up:
            sensors = self._fleet.sensors.get(member)
            if sensors is not None:
                sensors.skip(self._agenda.now)
        self._restart(up)
        self._come_back(up)

    # Who is there

    def _come(self, members: Sequence[Member]) -> None:
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

    def _go(self, members: Sequence[Member]) -> None:
        gone = [member for member in members if member.online]
        for member in gone:
            member.online = False
            self._chronicle.went(member.name, self._agenda.now)
        if gone:
            self._feed(e.Vanished(frozenset(member.name for member in gone)))

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
            self._catch_up([member], self._agenda.now)
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
        member = delivery.member
        try:
            begun = self._misled(member, member.device.begin_update(task), now)
            delivery.taken = (
                self._training(delivery, begun, now) if isinstance(begun, Begun) else begun
            )
        except DeclinedError as declined:
            delivery.taken = declined
        if isinstance(delivery.taken, Training) and not delivery.taken.late:
            self._waiting.append(delivery.taken)
            if len(self._waiting) >= WAITING:
                self._compute()

    def _misled(self, member: Member, begun: Begun | Made, now: int) -> Begun | Made:
        """Turn the labels that a device learns from, where that is how it attacks."""
        attack = member.attack
        if attack is None or attack.kind != "label-flip" or now < attack.start:
            return begun
        if not isinstance(begun, Begun):
            return begun
        manifest, training = self._fleet.bundle.manifest, begun.training
        examples = mislabelled(manifest, training.examples)
        return replace(begun, training=replace(training, examples=examples))

    def _training(self, delivery: Delivery, begun: Begun, now: int) -> Training:
        """Return to how many steps a training comes, and when it ends."""
        member, task = delivery.member, begun.task
        steps = _steps(member, begun)
        rows = len(begun.training.examples.weight) * task.epochs
        seconds = member.seconds(rows if steps is None else min(rows, steps * task.batch))
        if member.charge is not None and not member.charge.spend(seconds, now):
            raise DeclinedError("paused")
        end = max(now, member.busy_until) + round(1000 * seconds)
        late = end > delivery.void_ms and task.compression is msgspec.UNSET
        return Training(begun, Job(begun.training, steps), end, late)

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
            self._compute()
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
        ][: WAITING - len(self._waiting)]
        self._feed_sensors([(one.member, one.at_ms) for one in certain])
        for delivery in certain:
            self._take_up(delivery, self._coming[delivery], delivery.at_ms)

    def _outlasted(self, delivery: Delivery) -> bool:
        """Say whether a device will not have measured more if a release ends the run before."""
        sensors = self._fleet.sensors.get(delivery.member)
        return (
            sensors is None or self._scenario.releases is None or sensors.next_ms > delivery.at_ms
        )

    def _compute(self) -> None:
        """Do all trainings that were put off."""
        waiting, self._waiting = self._waiting, []
        jobs = [training.job for training in waiting]
        if self._elsewhere is None:
            made = self._trainer.replay(jobs)
        else:
            made = self._elsewhere.replay(jobs, self._tally) if jobs else []
        for training, replayed in zip(waiting, made, strict=True):
            training.made = replayed

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
        self._catch_up(list(self._fleet.sensors), now)
        self._outcome.passed(now)

    def _catch_up(self, members: Sequence[Member], now: int) -> None:
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
        self._work_off(work)

    def _work_off(self, work: Sequence[Computing]) -> None:
        """Go on with each until it wants something computed; compute it for all; and so on."""
        wants = [(one, wanted) for one in work if (wanted := next(one, None)) is not None]
        while wants:
            infers = [(one, want) for one, want in wants if isinstance(want, a.Infer)]
            trains = [(one, want) for one, want in wants if isinstance(want, a.Train)]
            answers: list[tuple[Computing, a.Inferred | a.Trained]] = [
                *zip(
                    (one for one, _ in infers),
                    self._predictor.infer([want for _, want in infers]),
                    strict=True,
                ),
                *zip(
                    (one for one, _ in trains),
                    self._trainer.step([want for _, want in trains]),
                    strict=True,
                ),
            ]
            wants = [
                (one, wanted)
                for one, answer in answers
                if (wanted := _sent(one, answer)) is not None
            ]


def _sent(computing: Computing, answer: a.Inferred | a.Trained) -> a.Infer | a.Train | None:
    """Send an answer; return what is wanted next, None where the work is done."""
    try:
        return computing.send(answer)
    except StopIteration:
        return None


def _steps(member: Member, begun: Begun) -> int | None:
    """Return how many steps a device comes to within the task's budget; None: it has no budget."""
    task = begun.task
    if task.budget_ms is msgspec.UNSET:
        return None
    seconds = max(task.budget_ms - member.group.delay, 0) / 1000
    return max(1, int(seconds * member.speed / task.batch))
