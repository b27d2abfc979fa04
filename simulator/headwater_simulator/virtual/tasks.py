"""What devices do with the tasks that they are given: answer, train, and send what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import numpy as np

from headwater import wire
from headwater_agent import events as a
from headwater_agent.answers import DeclinedError, check_in
from headwater_agent.replay import Replayed
from headwater_coordinator import events as e
from headwater_models.arrays import Arrays
from headwater_models.compression import decompress
from headwater_simulator.device import Made, VirtualDevice
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.virtual.agenda import Agenda
from headwater_simulator.virtual.attacking import Conspiracy
from headwater_simulator.virtual.chronicle import Chronicle
from headwater_simulator.virtual.fleet import Fleet
from headwater_simulator.virtual.member import Delivery, Member, Training
from headwater_simulator.virtual.post import Post
from headwater_simulator.virtual.processor import Processor
from headwater_simulator.virtual.taking import take_up

STRIDE = 32
"""Rows that streams run ahead of their devices at most. It makes no difference to what comes out:
a device takes up what was measured before it takes up anything else."""


_Done = wire.Reply | Made | Training
"""What a device makes of a task; of one to train an update, or a training that was begun."""


class Tasks:
    """Hands devices their tasks.

    Parameters
    ----------
    scenario, fleet, agenda, chronicle
        Of the run.
    post
        Sends what devices answer.
    processor
        Computes.
    conspiracy
        What attackers send instead.
    sequence
        Returns the sequence number of a release.
    catch_up
        Lets devices take up what their sensors measured, each by its moment.
    """

    def __init__(
        self,
        scenario: Scenario,
        fleet: Fleet,
        agenda: Agenda,
        chronicle: Chronicle,
        *,
        post: Post,
        processor: Processor,
        conspiracy: Conspiracy,
        sequence: Callable[[str], int],
        catch_up: Callable[[Sequence[tuple[Member, int]]], None],
    ) -> None:
        self._scenario, self._fleet = scenario, fleet
        self._agenda, self._chronicle = agenda, chronicle
        self._post, self._processor, self._conspiracy = post, processor, conspiracy
        self._sequence, self._catch_up = sequence, catch_up
        self._manifest, self._model = fleet.bundle.manifest, fleet.bundle.model_id
        self._release: tuple[Arrays | None, a.Version | None] = None, None

    def hand(self, delivery: Delivery) -> None:
        """Let a device that is connected have a task."""
        member, ask, now = delivery.member, delivery.ask, self._agenda.now
        looks = not isinstance(ask.task, wire.CheckIn) or self._scenario.agent.drift
        if self._fleet.sensors and looks:
            self._catch_up([(member, now)])
        done = self._done(delivery, now)
        if isinstance(done, Training):
            member.running.append(done)
            self._agenda.at(done.end_ms, partial(self._finish, member, ask.ask, done))
        else:
            self._send(member, self._told(member, ask.ask, done, now))

    def do_ahead(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Let devices do at once, each at its own time, what nothing comes between.

        Who has no sensors is not looked at while a task is on its way; so it makes no difference
        to what comes out when it is done, as long as each device does one thing after the other.

        Returns
        -------
        sequence
            What is to be handed to devices when its moment is there.
        """
        if self._fleet.sensors:
            return deliveries
        now, until = self._agenda.now, int(self._scenario.length)
        left: list[Delivery] = []
        behind: set[Member] = set()
        for delivery in deliveries:
            member, at = delivery.member, delivery.at_ms
            if (
                at <= until
                and member.online
                and not member.coming
                and member not in behind
                and not member.group.link.reordering
                and at < (until_ms := member.undisturbed_until(now))
                and not (type(delivery.ask.task) is wire.CheckIn and _sets_pace(delivery))
            ):
                self._do_ahead(delivery, until_ms)
            else:
                left.append(delivery)
                behind.add(member)
        return left

    def _do_ahead(self, delivery: Delivery, until_ms: float) -> None:
        """Let a device do a task that nothing comes between before a moment."""
        member, ask, at = delivery.member, delivery.ask.ask, delivery.at_ms
        done = self._done(delivery, at)
        if isinstance(done, wire.Received):
            self._post.will_send(at, member, self._told(member, ask, done, at))
        elif not isinstance(done, Training):
            self._post.will_send(at, member, partial(self._told, member, ask, done, at))
        elif done.end_ms < until_ms and not done.late:
            self._post.will_send(done.end_ms, member, partial(self._ended, member, ask, done))
        else:
            member.running.append(done)
            self._agenda.at(done.end_ms, partial(self._finish, member, ask, done))

    def _done(self, delivery: Delivery, now: int) -> _Done:
        """Let a device do a task at a moment; a training is only begun."""
        member, task = delivery.member, delivery.ask.task
        if type(task) is wire.Train:
            done = delivery.taken or self._take_up(delivery, task, now)
            if type(done) is Training:
                member.busy_until = done.end_ms
                self._chronicle.worked(1, now)
                return done
            return _declined(member, task.task, done) if isinstance(done, DeclinedError) else done
        try:
            return self._answer(member, task, delivery.arrays)
        except DeclinedError as declined:
            return _declined(member, getattr(task, "task", ""), declined)

    def _answer(self, member: Member, task: wire.Task, arrays: Arrays | None) -> wire.Reply:
        """Let a device answer what is no training."""
        device = member.device
        match task:
            case wire.Release() if arrays is not None:
                device.take(self._version(task.version, arrays), task.merged)
                return wire.Received(device=member.name, version=task.version, accepted=True)
            case wire.CheckIn():
                if task.poll_ms is not msgspec.UNSET:
                    member.poll_ms = task.poll_ms
                if isinstance(device, VirtualDevice):
                    return check_in(device.pipeline, device=device.name, model=self._model)
                return device.check_in(self._model)
            case wire.Evaluate() if arrays is not None:
                return device.judge(task, arrays, self._processor.predictor)
        raise AssertionError(f"A {type(task).__name__} came without its arrays.")

    def _version(self, name: str, arrays: Arrays) -> a.Version:
        """Return a release as devices have it, the same one for all."""
        weights, version = self._release
        sequence = self._sequence(name)
        if version is None or weights is not arrays or version.sequence != sequence:
            version = a.Version(name, sequence, arrays)
            self._release = arrays, version
        return version

    # Training

    def _take_up(
        self, delivery: Delivery, task: wire.Train, now: int
    ) -> Made | Training | DeclinedError:
        """Let a device take up a task to train, with what it has learned by a moment."""
        taken = delivery.taken = take_up(
            delivery, task, now, self._manifest, self._processor.trainer
        )
        if type(taken) is Training and not taken.late:
            self._processor.put_off(taken)
        return taken

    def _finish(self, member: Member, ask: str, training: Training) -> None:
        """Let a device send what its training came to, unless it lost it meanwhile."""
        if training not in member.running:
            return
        member.running.remove(training)
        if not training.late:
            self._send(member, self._ended(member, ask, training))
            return
        self._chronicle.worked(-1, self._agenda.now)
        member.log.trained += 1
        member.log.late += 1

    def _ended(self, member: Member, ask: str, training: Training) -> e.Replied:
        """Return what a device sends when its training ends."""
        end = training.end_ms
        self._chronicle.worked(-1, end)
        member.log.trained += 1
        try:
            done: wire.Reply | Made = member.device.finish_update(
                training.begun, self._made(training)
            )
        except DeclinedError as declined:
            done = _declined(member, training.begun.task.task, declined)
        return self._told(member, ask, done, end)

    def _made(self, training: Training) -> Replayed:
        """Return what a training comes to, computed with others if it is not yet."""
        if training.made is None:
            self._look_ahead()
            self._processor.compute()
        if training.made is None:
            raise AssertionError("A training was not computed.")
        return training.made()

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
        coming = self._post.coming
        certain = [
            delivery
            for delivery in coming
            if delivery.taken is None
            and delivery.at_ms <= until
            and delivery.member.online
            and delivery.member.coming[0] is delivery
            and not delivery.member.group.link.reordering
            and delivery.at_ms < delivery.member.undisturbed_until(now)
            and self._outlasted(delivery)
        ][: self._processor.room]
        self._catch_up([(one.member, one.at_ms) for one in certain])
        for delivery in certain:
            self._take_up(delivery, coming[delivery], delivery.at_ms)

    def _outlasted(self, delivery: Delivery) -> bool:
        """Say whether a device will not have measured more if a release ends the run before."""
        sensors = self._fleet.sensors.get(delivery.member)
        return (
            sensors is None or self._scenario.releases is None or sensors.next_ms > delivery.at_ms
        )

    def _told(self, member: Member, ask: str, done: wire.Reply | Made, now: int) -> e.Replied:
        """Return an answer as it is sent, an attacker's forged."""
        if not isinstance(done, tuple):
            member.log.declined += type(done) is wire.Declined
            return e.Replied(ask, done, size=len(wire.encode(done)))
        reply, vector = done
        size = len(wire.encode(reply)) + vector.nbytes
        if vector.dtype == np.uint8:
            vector = decompress(vector, self._manifest)
        attack = member.attack
        if attack is not None and now >= attack.start:
            vector = self._conspiracy.forge(attack, member.name, vector)
            member.log.forged += 1
        return e.Replied(ask, reply, vector, size=size)

    def _send(self, member: Member, replied: e.Replied) -> None:
        """Send an answer now, or as soon as the device is connected."""
        if member.online:
            self._post.send(member, replied)
        else:
            member.outbox.append(replied)


def _declined(member: Member, task: str, declined: DeclinedError) -> wire.Declined:
    return wire.Declined(device=member.name, task=task, reason=declined.reason)


def _sets_pace(delivery: Delivery) -> bool:
    """Say whether a task changes when its device looks for messages, and so when others come."""
    task = delivery.ask.task
    return type(task) is wire.CheckIn and task.poll_ms not in (
        msgspec.UNSET,
        delivery.member.poll_ms,
    )
