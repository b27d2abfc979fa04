"""The fleet: who is online, what was asked of whom, who must be handed the release."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headwater import wire
from headwater_coordinator.events import Ask, Effect, Forget, Note
from headwater_coordinator.settings import Rounds
from headwater_coordinator.state import Device, State, Version


@dataclass(frozen=True, slots=True)
class Asked:
    """A task that a device was given and has not answered."""

    ask: str
    node: str
    task: wire.Task
    round: int
    expires_ms: int


class Fleet:
    """Devices and open questions.

    Parameters
    ----------
    state
        Shared with the rest of the core.
    model
        The id of the model that this federation is about.
    settings
        Intervals and lifetimes.
    rng
        Source of task names and of who is chosen.
    """

    def __init__(
        self, state: State, model: str, settings: Rounds, rng: np.random.Generator
    ) -> None:
        self._state = state
        self._model = model
        self._settings = settings
        self._rng = rng
        self._asked: dict[str, Asked] = {}

    def seen(self, nodes: frozenset[str], now: int) -> Iterator[Effect]:
        """Take note of who is online; one that appears is asked who it is."""
        for node in sorted(nodes - self._state.devices.keys()):
            self._state.devices[node] = Device(node)
        for device in self._state.devices.values():
            online = device.node in nodes
            if online:
                device.seen_ms = now
            if online != device.online:
                device.online = online
                device.check_in_ms = now
                device.protocol = wire.COMMON
                yield Note(device)

    def due(self, now: int) -> Iterator[Effect]:
        """Give up what expired; ask for check-ins and hand out the release where it is time."""
        for asked in [one for one in self._asked.values() if one.expires_ms <= now]:
            del self._asked[asked.ask]
            yield Forget(asked.ask)
        for device in self._state.devices.values():
            if device.online:
                yield from self._greeted(device, now)

    def _greeted(self, device: Device, now: int) -> Iterator[Effect]:
        if now >= device.check_in_ms:
            device.check_in_ms = now + self._settings.check_in
            yield self.ask(device.node, wire.CheckIn(protocol=device.protocol), None, now)
        release = self._state.release
        if device.name and device.version != release.name and now >= device.offer_ms:
            device.offer_ms = now + self._settings.deadline
            task = wire.Release(
                model=self._model,
                version=release.name,
                statement=release.statement,
                merged=device.merged,
            )
            yield self.ask(device.node, task, release.name, now)

    def ask(
        self,
        node: str,
        task: wire.Task,
        arrays: str | None,
        now: int,
        *,
        round_number: int = 0,
        ttl: int | None = None,
    ) -> Ask:
        """Give a device a task and wait for the answer."""
        ttl = self._settings.message_ttl if ttl is None else ttl
        name = task.task if isinstance(task, wire.Train | wire.Evaluate) else self.new_task()
        self._asked[name] = Asked(name, node, task, round_number, now + ttl)
        return Ask(name, node, task, arrays, ttl)

    def new_task(self) -> str:
        """Return a task name that was never used."""
        return self._rng.bytes(32).hex()

    def answered(self, ask: str) -> Asked | None:
        """Return the question to an answer, which is open no more."""
        return self._asked.pop(ask, None)

    def ready(self) -> list[Device]:
        """Return the devices that could take part in a round: online, on the release, wanted."""
        return [
            device
            for device in self._state.devices.values()
            if device.online
            and device.name
            and not device.forgotten
            and device.version == self._state.release.name
        ]

    def choose(self, fraction: float, least: int, most: int) -> list[Device]:
        """Draw a share of the ready devices, within the bounds; fewer when there are fewer."""
        ready = self.ready()
        count = min(len(ready), most, max(least, int(np.ceil(fraction * len(ready)))))
        picked = self._rng.choice(len(ready), size=count, replace=False) if count else ()
        return [ready[i] for i in sorted(int(i) for i in picked)]

    def checked_in(self, device: Device, reply: wire.CheckedIn) -> Iterator[Effect]:
        """Take note of what a device says of itself.

        Its agent may still run an earlier version than the one that its client acknowledged.
        """
        device.name = reply.device
        if reply.sequence >= device.sequence:
            device.version, device.sequence = reply.version, reply.sequence
        device.records, device.examples = reply.records, reply.examples
        device.alarms, device.retrain = reply.alarms, reply.retrain
        yield Note(device)

    def received(self, device: Device, reply: wire.Received) -> Iterator[Effect]:
        """Take note that a device took a release, or would not."""
        if reply.accepted:
            device.version = reply.version
            device.sequence = self._state.sequences.get(reply.version, device.sequence)
            yield Note(device)

    def offer(self, release: Version) -> None:
        """Make the release due for every device that lacks it."""
        for device in self._state.devices.values():
            if device.version != release.name:
                device.offer_ms = 0

    def lacks_base(self, device: Device) -> None:
        """Hand the release to a device that says it does not know it."""
        device.version, device.sequence, device.offer_ms = "", 0, 0
