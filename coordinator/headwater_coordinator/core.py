"""The federation core: events in, effects out. No I/O, no clock, no randomness of its own.

It owns what all disciplines share: who is there, what was asked, the firewall, which updates are
accepted. When to ask, merge, judge and release is the discipline's business
(:mod:`headwater_coordinator.rounds`).

Its promises, whatever comes in whatever order, twice or never (a property test holds them): an
update enters at most one candidate; an accepted update is pending, superseded by a later one of
its device, or in exactly one candidate; the sequence of releases only grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import assert_never

import numpy as np

from headwater import wire
from headwater.objects import Vector
from headwater_coordinator import events as e
from headwater_coordinator.firewall import Expected, complaint
from headwater_coordinator.fleet import Asked, Fleet
from headwater_coordinator.rounds import SynchronousRounds, Training
from headwater_coordinator.settings import Settings
from headwater_coordinator.state import Device, Pending, State, Version
from headwater_models.manifest import Manifest


class Federation:
    """One federation of one model.

    Parameters
    ----------
    state
        As restored from the database; the core changes it.
    training
        The model's id, and what devices are asked to do.
    manifest
        Of the model.
    settings
        Of the coordinator.
    rng
        Source of task names and of who is chosen.
    """

    def __init__(
        self,
        state: State,
        training: Training,
        manifest: Manifest,
        settings: Settings,
        rng: np.random.Generator,
    ) -> None:
        self.state = state
        self._model = training.model
        self._manifest = manifest
        self._settings = settings.federation
        self._fleet = Fleet(state, training.model, settings.federation, rng)
        self.rounds = SynchronousRounds(
            state, self._fleet, training, settings.federation, settings.gate
        )

    def feed(self, event: e.Event, now: int) -> Iterator[e.Effect]:
        """Take one event and yield what is to be done about it, in order.

        Parameters
        ----------
        event
            What happened.
        now
            UTC milliseconds; never goes back.
        """
        match event:
            case e.Seen(nodes):
                yield from self._fleet.seen(nodes, now)
            case e.Replied():
                yield from self._replied(event)
            case e.Failed(ask, reason, kind):
                yield from self._failed(ask, reason, unreadable=kind == "unreadable")
            case e.Merged(candidate):
                self.rounds.merged(candidate, now)
                yield from self.rounds.advance(now)
            case e.Released(version, merged):
                self._released(version, merged, now)
                yield from self._fleet.due(now)
            case e.ErasureAsked(name):
                yield from self._erased(name)
            case e.ReadmissionAsked(name):
                yield from self._readmitted(name)
            case e.Ticked():
                yield from self._fleet.due(now)
                yield from self.rounds.advance(now)
            case _:
                assert_never(event)

    def _replied(self, event: e.Replied) -> Iterator[e.Effect]:
        ask, reply, vector = event.ask, event.reply, event.vector
        asked = self._fleet.answered(ask)
        if asked is None:
            return
        device = self.state.devices[asked.node]
        device.protocol = reply.protocol
        if reply.protocol > wire.COMMON:
            kind, task = str(reply.__struct_config__.tag), getattr(reply, "task", None)
            yield e.Receive(asked.node, ask, kind, task, event.digest)
        wrong = complaint(asked.task, reply, vector, self._expected(asked, device))
        if wrong is not None:
            yield e.Refuse(asked.node, device.name, ask, type(reply).__name__, wrong)
            self.rounds.settled(asked, reply, refused=True)
            return
        yield from self._accepted(asked, device, reply, vector)
        self.rounds.settled(asked, reply)

    def _accepted(
        self, asked: Asked, device: Device, reply: wire.Reply, vector: Vector | None
    ) -> Iterator[e.Effect]:
        match reply:
            case wire.CheckedIn():
                yield from self._greeted(device, reply)
            case wire.Received():
                yield from self._fleet.received(device, reply)
                if not reply.accepted:
                    yield self._untaken(asked, device, "no reason given")
            case wire.Update():
                if vector is not None:
                    yield self._book(asked, device, reply, vector)
            case wire.Declined():
                if isinstance(asked.task, wire.Release):
                    yield self._untaken(asked, device, reply.reason)
                elif reply.reason == "unknown-base":
                    self._fleet.lacks_base(device)
            case wire.Evaluated():
                pass
            case _:
                assert_never(reply)

    def _greeted(self, device: Device, reply: wire.CheckedIn) -> Iterator[e.Effect]:
        if reply.retrain and not device.retrain:
            self.rounds.hasten()
        yield from self._fleet.checked_in(device, reply)

    def _untaken(self, asked: Asked, device: Device, reason: str) -> e.Refuse:
        words = f"The device would not take the release ({reason})."
        return e.Refuse(asked.node, device.name, asked.ask, "Release", words)

    def _book(self, asked: Asked, device: Device, reply: wire.Update, vector: Vector) -> e.Accept:
        weight = reply.examples
        if not self._manifest.statistics:
            weight = min(weight, self._settings.weight_cap)
        pending = Pending(device.node, reply.base, reply.sequence, weight)
        self.state.pending[device.node] = pending
        device.taken = reply.sequence
        return e.Accept(reply, pending, vector, asked.round)

    def _erased(self, name: str) -> Iterator[e.Effect]:
        device = self._named(name)
        if device is None or device.forgotten:
            return
        device.forgotten = True
        self.state.pending.pop(device.node, None)
        self.state.erased = bool(self._manifest.statistics)
        yield e.Erase(device.node)

    def _readmitted(self, name: str) -> Iterator[e.Effect]:
        device = self._named(name)
        if device is not None and device.forgotten:
            device.forgotten = False
            yield e.Readmit(device.node)

    def _named(self, name: str) -> Device | None:
        return self.state.devices.get(self.state.named(name) or "")

    def _failed(self, ask: str, reason: str, *, unreadable: bool) -> Iterator[e.Effect]:
        asked = self._fleet.answered(ask)
        if asked is None:
            return
        if unreadable:
            device = self.state.devices[asked.node]
            yield e.Refuse(asked.node, device.name, ask, type(asked.task).__name__, reason)
        self.rounds.settled(asked, None, refused=unreadable)

    def _released(self, version: Version, merged: Mapping[str, int], now: int) -> None:
        self.state.release = version
        for node, sequence in merged.items():
            self.state.devices[node].merged = sequence
        self.state.sequences[version.name] = version.sequence
        self._fleet.offer(version)
        self.rounds.released(now)

    def _expected(self, asked: Asked, device: Device) -> Expected:
        known = True
        if isinstance(asked.task, wire.Train):
            staleness = self.state.staleness(asked.task.base)
            known = staleness is not None and staleness <= self._settings.max_staleness
        return Expected(
            node=asked.node,
            device=device.name,
            taken=device.taken,
            model=self._model,
            manifest=self._manifest,
            owner=self.state.named,
            base_known=known,
            forgotten=device.forgotten,
        )
