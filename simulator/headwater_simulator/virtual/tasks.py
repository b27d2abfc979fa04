"""What devices do with the tasks that they are given: answer, train, and send what came of it."""

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
from headwater_models.arrays import Arrays
from headwater_models.compression import decompress
from headwater_simulator.device import VirtualDevice
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
        member, ask = delivery.member, delivery.ask
        looks = not isinstance(ask.task, wire.CheckIn) or self._scenario.agent.drift
        if self._fleet.sensors and looks:
            self._catch_up([(member, self._agenda.now)])
        try:
            reply = self._answer(delivery)
        except DeclinedError as declined:
            reply = self._declined(member, getattr(ask.task, "task", ""), declined)
        if reply is not None:
            self._answered(member, ask.ask, reply, None)

    def _declined(self, member: Member, task: str, declined: DeclinedError) -> wire.Declined:
        self._chronicle.devices[member.name].declined += 1
        return wire.Declined(device=member.name, task=task, reason=declined.reason)

    def _answer(self, delivery: Delivery) -> wire.Reply | None:
        member, task, arrays = delivery.member, delivery.ask.task, delivery.arrays
        device = member.device
        match task:
            case wire.Train():
                self._begin_training(delivery, task)
                return None
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
        delivery.taken = take_up(delivery, task, now, self._manifest)
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
            update, vector = member.device.finish_update(training.begun, training.made())
        except DeclinedError as declined:
            reply = self._declined(member, training.begun.task.task, declined)
            self._answered(member, ask, reply, None)
        else:
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
        coming = self._post.coming
        certain = [
            delivery
            for delivery in coming
            if delivery.taken is None
            and delivery.at_ms <= until
            and delivery.member.online
            and delivery.member.coming[0] is delivery
            and not delivery.member.group.link.reordering
            and delivery.member.rests_until(delivery.at_ms, now)
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

    def _answered(self, member: Member, ask: str, reply: wire.Reply, vector: Vector | None) -> None:
        """Send an answer, an attacker's forged, now or as soon as the device is connected."""
        size = len(wire.encode(reply))
        if vector is not None:
            size += vector.nbytes
            if vector.dtype == np.uint8:
                vector = decompress(vector, self._manifest)
            attack = member.attack
            if attack is not None and self._agenda.now >= attack.start:
                vector = self._conspiracy.forge(attack, member.name, vector)
                self._chronicle.devices[member.name].forged += 1
        replied = e.Replied(ask, reply, vector, size=size)
        if member.online:
            self._post.send(member, replied)
        else:
            member.outbox.append(replied)
