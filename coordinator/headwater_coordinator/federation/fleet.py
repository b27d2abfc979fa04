"""The fleet: who is there, what was asked of whom, who must be handed the release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

from headwater import wire
from headwater_coordinator.events import Ask, Effect, Note
from headwater_coordinator.federation.order import Order
from headwater_coordinator.federation.pace import Pace
from headwater_coordinator.federation.pool import Pool
from headwater_coordinator.federation.selection import Uniform, select
from headwater_coordinator.settings import Discipline
from headwater_coordinator.state import Device, State

_LONGEST_REST = 3_600_000
_MOST_DOUBLINGS = 16

_NAME, _NAMES = 32, 64
"""Bytes of a task's name, and how many names are drawn at once."""


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A task that a device was given and has not answered.

    ``arrays`` names the version whose weights go with it. ``then`` is what the device is asked
    next: it was handed the release because it needs it for that.
    """

    ask: str
    device: Device
    task: wire.Task
    arrays: str | None
    round: int
    asked_ms: int
    expires_ms: int
    then: Asked | None = None

    @property
    def goal(self) -> Asked:
        """The question that this one leads to, itself where there is none."""
        return self.then or self


class Fleet:
    """Devices and open questions.

    A device is *idle* when it is online, has said who it is, was not forgotten, has no question
    open but a check-in, and needs no rest after failures. Idle devices may judge. They may be asked
    for an update too, unless ``spare`` and one of theirs waits to be merged; where that is never
    so, and each is asked with the same probability, one pool holds both.

    Parameters
    ----------
    state
        Shared with the rest of the core.
    model
        The id of the model that this federation is about.
    settings
        Intervals, lifetimes, and how devices are selected.
    rng
        Source of task names and of who is chosen.
    spare
        Whether a device whose update is pending is asked for no other.
    """

    def __init__(
        self,
        state: State,
        model: str,
        settings: Discipline,
        rng: np.random.Generator,
        *,
        spare: bool,
    ) -> None:
        self._state = state
        self._model = model
        self._settings = settings
        self._rng = rng
        self._spare = spare
        self._pace = Pace(settings.arrivals, settings.check_in, rng)
        self._names: list[str] = []
        self._asked: dict[str, Asked] = {}
        self._handed, self._releases = state.release, dict[int, wire.Release]()
        self._online = 0
        self._current: dict[str, None] = {}
        self._expiries: Order[int] = Order()
        self._check_ins: Order[int] = Order()
        self._offers: Order[int] = Order()
        self._rests: Order[int] = Order()
        self.trainable = select(settings.selection, rng, settings.explored)
        self._idle, self._apart = Pool(), True
        if isinstance(self.trainable, Uniform) and not spare:
            self._idle, self._apart = self.trainable.pool, False

    # Who is there

    def appeared(self, nodes: Iterable[str], now: int) -> Iterator[Effect]:
        """Take note of who came; each is asked who it is, and given the release if it lacks it."""
        for node in sorted(nodes):
            device = self._state.devices.setdefault(node, Device(node))
            if device.online:
                continue
            device.online, device.seen_ms, device.protocol = True, now, wire.COMMON
            self._online += 1
            self._check_ins.set(node, self._pace.slot(now))
            self._place([device], now)
            self.refresh(device)
            yield Note(device)

    def vanished(self, nodes: Iterable[str], now: int) -> Iterator[Effect]:
        """Take note of who went; what was asked of them may still be answered."""
        for node in sorted(nodes):
            device = self._state.devices.get(node)
            if device is None or not device.online:
                continue
            device.online, device.seen_ms = False, now
            self._online -= 1
            self._check_ins.discard(node)
            self._offers.discard(node)
            self._current.pop(node, None)
            self.refresh(device)
            yield Note(device)

    def checked_in(self, device: Device, reply: wire.CheckedIn, now: int) -> Note:
        """Take note of what a device says of itself.

        Its agent may still run an earlier version than the one that its client acknowledged.
        """
        self._state.name(device, reply.device)
        if reply.sequence >= device.sequence:
            device.version, device.sequence = reply.version, reply.sequence
        device.records, device.examples = reply.records, reply.examples
        device.alarms, device.retrain = reply.alarms, reply.retrain
        device.scored, device.loss_baseline = reply.scored, reply.loss_baseline
        device.loss_released, device.loss_personal = reply.loss_released, reply.loss_personal
        self._place([device], now)
        self.refresh(device)
        return Note(device)

    # The release

    def offer(self, now: int) -> None:
        """Make a new release due for those that ran the one before; others are behind already."""
        before, self._current = self._current, {}
        self._place([self._state.devices[node] for node in before], now)

    def received(self, device: Device, reply: wire.Received, now: int) -> Note:
        """Take note that a device took a release.

        It may be chosen again from the next :meth:`refresh` on.
        """
        device.version = reply.version
        device.sequence = self._state.sequences.get(reply.version, device.sequence)
        self._offers.discard(device.node)
        if device.online and device.name and self._runs_release(device):
            self._current[device.node] = None
        else:
            self._place([device], now)
        return Note(device)

    def lacks_base(self, device: Device, now: int) -> None:
        """Hand the release to a device that says it does not know it."""
        device.version, device.sequence = "", 0
        if device.online:
            self._current.pop(device.node, None)
            self._offers.set(device.node, now)

    def _place(self, devices: Iterable[Device], now: int) -> None:
        """Keep devices with those on the release, or see that they are handed the release."""
        slots: dict[int, list[str]] = {}
        for device in devices:
            node = device.node
            if not (device.online and device.name):
                continue
            if self._runs_release(device):
                self._current[node] = None
                if node in self._offers:
                    self._offers.discard(node)
            else:
                self._current.pop(node, None)
                if node not in self._offers:
                    slots.setdefault(self._pace.slot(now), []).append(node)
        for slot, nodes in slots.items():
            self._offers.set_all(nodes, slot)

    # What is asked

    def due(self, now: int) -> Iterator[Effect]:
        """Ask for check-ins and hand out the release where it is time."""
        devices = self._state.devices
        for node in self._rests.take(now):
            self.refresh(devices[node])
        yield from self._check_in([devices[node] for node in self._check_ins.take(now)], now)
        yield from self._hand([devices[node] for node in self._offers.take(now)], now)

    @property
    def due_ms(self) -> int | None:
        """When there is something to be done next if nothing comes."""
        orders = (self._expiries, self._rests, self._check_ins, self._offers)
        leasts = (order.least for order in orders)
        return min((least for least in leasts if least is not None), default=None)

    def commission(
        self,
        tasks: Iterable[tuple[Device, wire.Train | wire.Evaluate]],
        now: int,
        *,
        patience: int,
    ) -> Sequence[Ask]:
        """Give devices a task each; where one lacks the release, that comes first.

        Parameters
        ----------
        patience
            Milliseconds after which the answers are waited for no longer.
        """
        expires, given, behind = now + patience, list[Asked](), list[str]()
        for device, task in tasks:
            arrays = task.candidate if type(task) is wire.Evaluate else None
            asked = Asked(task.task, device, task, arrays, task.round, now, expires)
            if arrays is None:
                device.asked += 1
                device.asked_ms = now
            if not self._runs_release(device):
                behind.append(device.node)
                asked = self._handing(device, now, expires, asked)
            given.append(asked)
        self._offer_again(behind, now)
        return self._ask(given, now)

    def go_on(self, asked: Asked, now: int) -> Sequence[Ask]:
        """Ask what a release was handed over for, unless that would come too late."""
        if asked.then is None or asked.then.expires_ms <= now or not asked.device.online:
            return ()
        return self._ask([asked.then], now)

    def _runs_release(self, device: Device) -> bool:
        """Say whether a device has the release, as it was signed last."""
        release = self._state.release
        return device.version == release.name and device.sequence >= release.sequence

    def new_task(self) -> str:
        """Return a task name that was never used."""
        if not self._names:
            drawn = self._rng.bytes(_NAME * _NAMES).hex()
            self._names = [drawn[i : i + 2 * _NAME] for i in range(0, len(drawn), 2 * _NAME)]
        return self._names.pop()

    def _check_in(self, devices: Sequence[Device], now: int) -> Sequence[Ask]:
        expires, given = now + self._settings.message_ttl, list[Asked]()
        for device in devices:
            self._check_ins.set(device.node, self._pace.returns(now, self._online))
            task = wire.CheckIn(protocol=device.protocol)
            if device.protocol >= wire.PACE:
                task = msgspec.structs.replace(task, poll_ms=self._pace.poll(self._online))
            given.append(Asked(self.new_task(), device, task, None, 0, now, expires))
        return self._ask(given, now)

    def _hand(self, devices: Sequence[Device], now: int) -> Sequence[Ask]:
        """Give devices the release, for nothing that would follow."""
        deadline = now + self._settings.deadline
        self._offer_again([device.node for device in devices], now)
        return self._ask([self._handing(one, now, deadline, None) for one in devices], now)

    def _offer_again(self, nodes: Sequence[str], now: int) -> None:
        """Offer devices the release again when no answer came by the deadline."""
        if nodes:
            self._offers.set_all(nodes, now + self._settings.deadline)

    def _handing(self, device: Device, now: int, expires: int, then: Asked | None) -> Asked:
        """Return what it is to give a device the release."""
        task, number = self._release_for(device), 0 if then is None else then.round
        return Asked(self.new_task(), device, task, task.version, number, now, expires, then)

    def _release_for(self, device: Device) -> wire.Release:
        """Return the release as it is handed to a device: the same to all that gave as much."""
        if self._handed is not self._state.release:
            self._handed, self._releases = self._state.release, {}
        task = self._releases.get(device.merged)
        if task is None:
            task = self._releases[device.merged] = wire.Release(
                model=self._model,
                version=self._handed.name,
                statement=self._handed.statement,
                merged=device.merged,
            )
        return task

    def _ask(self, given: Sequence[Asked], now: int) -> Sequence[Ask]:
        """Ask devices, which are void at the same moment; who has something to do is not idle."""
        if not given:
            return ()
        expires, busy = given[0].expires_ms, list[str]()
        self._expiries.set_all([one.ask for one in given], expires)
        for one in given:
            self._asked[one.ask] = one
            if type(one.task) is not wire.CheckIn:
                one.device.open += 1
                busy.append(one.device.node)
        self._idle.discard_all(busy)
        if self._apart:
            self.trainable.discard_all(busy)
        ttl = expires - now
        return [Ask(one.ask, one.device.node, one.task, one.arrays, ttl) for one in given]

    # What comes of it

    def answered(self, asks: Sequence[str]) -> Iterator[Asked | None]:
        """Yield the question to each answer, None where none was open; from then on it is not.

        Its device may be chosen again from the next :meth:`refresh` on.
        """
        found = [self._asked.pop(ask, None) for ask in asks]
        self._expiries.discard_all(asks)
        for asked in found:
            if asked is not None and type(asked.task) is not wire.CheckIn:
                asked.device.open -= 1
            yield asked

    def expired(self, now: int) -> Iterator[Asked]:
        """Give up the questions that are void; yield them."""
        void = self._expiries.take(now)
        return (asked for asked in self.answered(void) if asked is not None)

    def rest(self, device: Device, now: int) -> None:
        """Count a failure; from the second in a row on a device rests, twice as long each time.

        It is not chosen meanwhile, from the next :meth:`refresh` on.
        """
        device.failures += 1
        if device.failures > 1:
            doublings = min(device.failures - 2, _MOST_DOUBLINGS)
            pause = min(self._settings.backoff * 2**doublings, _LONGEST_REST)
            self._rests.set(device.node, now + pause)

    # Who could be asked

    @property
    def idle(self) -> int:
        """How many devices are idle."""
        return len(self._idle)

    def sample(self, fraction: float, least: int, most: int) -> list[Device]:
        """Draw a share of the idle devices, within the bounds; fewer when there are fewer."""
        nodes = self._idle.sample(share(self.idle, fraction, least, most), self._rng)
        return [self._state.devices[node] for node in sorted(nodes)]

    def select(self, count: int) -> list[Device]:
        """Return those to ask for an update, at most *count*."""
        return [self._state.devices[node] for node in self.trainable.pick(count)]

    def merged(self, node: str) -> None:
        """Let a device be chosen again whose update waits to be merged no more."""
        if self._spare:
            self.refresh(self._state.devices[node])

    def refresh(self, device: Device) -> None:
        """Let a device be chosen, or not, after something about it changed."""
        node = device.node
        idle = (
            not device.open
            and device.online
            and device.name
            and not device.forgotten
            and node not in self._rests
        )
        if idle:
            self._idle.add(node)
        else:
            self._idle.discard_all((node,))
        if not self._apart:
            return
        if idle and not (self._spare and node in self._state.pending):
            self.trainable.add(device)
        else:
            self.trainable.discard_all((node,))


def share(of: int, fraction: float, least: int, most: int) -> int:
    """Return a share of a number, within the bounds and rounded up; fewer when there are fewer.

    Examples
    --------
    >>> share(50, 0.3, 2, 100), share(3, 0.1, 2, 100), share(1, 1.0, 2, 100)
    (15, 2, 1)
    """
    return min(of, most, max(least, int(np.ceil(fraction * of))))
