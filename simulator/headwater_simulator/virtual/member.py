"""A member of a simulated fleet: a device with its hardware, its link and its place in a group."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, inf

import msgspec
import numpy as np

from headwater.settings import Duration
from headwater_agent.answers import DeclinedError
from headwater_coordinator import events as e
from headwater_models.arrays import Arrays
from headwater_simulator.device import Begun, Made, VirtualDevice
from headwater_simulator.scenario.settings import DAY, Attacker, Battery, Group, Scenario
from headwater_simulator.virtual.chronicle import DeviceLog
from headwater_simulator.virtual.holder import Holder
from headwater_simulator.virtual.training import Job, Promise

Device = Holder | VirtualDevice

EPOCH_MS = 1_704_067_200_000
"""Where the virtual clock begins: Monday 2024-01-01, 0:00 UTC."""

WEEK_MS = 7 * DAY
FRIDAY_MS = 5 * DAY
"""From the beginning of a week to the end of its Friday."""


@dataclass(slots=True)
class Charge:
    """A battery's charge, in seconds of training."""

    battery: Battery
    seconds: float
    at_ms: int = 0

    def spend(self, seconds: float, now: int) -> bool:
        """Take so much out of it; False, and nothing is taken, where there is less."""
        hours = (now - self.at_ms) / 3_600_000
        self.seconds = min(self.battery.capacity, self.seconds + hours * self.battery.charge)
        self.at_ms = now
        if seconds > self.seconds:
            return False
        self.seconds -= seconds
        return True


class Training(msgspec.Struct, eq=False, gc=False):
    """A training that was begun, when it ends, and, once it is computed, what it comes to.

    One that ends ``late`` is never computed: nobody waits for it any more.
    """

    begun: Begun
    job: Job
    end_ms: int
    late: bool
    made: Promise | None = None


class Delivery(msgspec.Struct, eq=False):
    """A task that a device has at a moment, with the weights that it brings.

    It is void after ``void_ms``. ``taken`` is what the device makes of a task to train, where that
    is known already.
    """

    member: Member
    ask: e.Ask
    arrays: Arrays | None
    at_ms: int
    void_ms: int
    taken: Training | Made | DeclinedError | None = None


@dataclass(slots=True, eq=False)
class Member:
    """One device of the fleet.

    ``speed`` is in rows a second. ``skew`` milliseconds is its clock ahead. ``phase`` is where in
    its duty and between its polls it is, a share. It is ``cut`` off by so many outages, and
    ``unpowered`` by so many power cuts. ``running`` are the trainings that it is at. ``inbox`` are
    tasks that wait until it is connected, ``outbox`` answers that do; ``coming`` are tasks on their
    way, in their order. Of what is on its way to it and from it the last comes at ``last_ms`` and
    ``sent_ms``. ``disturbed`` are the times, in their order, at which it comes, goes or breaks.
    ``log`` is what is written down of it.
    """

    number: int
    name: str
    group: Group
    device: Device
    speed: float
    skew: int
    phase: float
    attack: Attacker | None = None
    charge: Charge | None = None
    online: bool = False
    cut: int = 0
    unpowered: int = 0
    busy_until: int = 0
    running: list[Training] = field(default_factory=list)
    poll_ms: int = 0
    inbox: list[Delivery] = field(default_factory=list)
    outbox: list[e.Replied] = field(default_factory=list)
    coming: list[Delivery] = field(default_factory=list)
    last_ms: int = 0
    sent_ms: int = 0
    disturbed: list[int] = field(default_factory=list)
    log: DeviceLog = field(default_factory=DeviceLog)

    @property
    def powered(self) -> bool:
        """Whether it has power."""
        return not self.unpowered

    def looks(self, now: int) -> int:
        """Return when it looks for messages next."""
        every, phase = max(self.group.link.poll, self.poll_ms), self.phase
        return round((ceil(now / every - phase) + phase) * every) if every else now

    def undisturbed_until(self, now: int) -> float:
        """Return when it comes, goes or breaks next; infinity where it never does."""
        disturbed = self.disturbed
        if not disturbed or disturbed[-1] <= now:
            return inf
        return disturbed[bisect_right(disturbed, now)]

    def seconds(self, rows: int) -> float:
        """Return how long it trains on so many rows."""
        return rows / self.speed + self.group.delay / 1000

    def connected(self, now: int, until: int) -> bool:
        """Say whether it would be connected at a moment, were there no fault."""
        comes = False
        for time, state in self.connections(until):
            if time > now:
                break
            comes = state
        return comes

    def connections(self, until: int) -> Iterator[tuple[int, bool]]:
        """Yield when it connects and goes, by its group's duty, up to a moment."""
        group = self.group
        leaves = until if group.leaves is None else min(int(group.leaves), until)
        free = _apart(_duty(group, self.phase, leaves), group)
        for start, end in free:
            begin = max(start, int(group.joins))
            gone = min(end, leaves)
            if begin < gone:
                yield begin, True
                if gone < until:
                    yield gone, False


def _duty(group: Group, phase: float, until: int) -> Iterator[tuple[int, int]]:
    """Yield the spans in which a device would be on, weekends apart."""
    duty = group.duty
    if not duty.off:
        yield 0, until + 1
        return
    start = -round(phase * (duty.on + duty.off))
    while start < until:
        if start + duty.on > 0:
            yield max(start, 0), start + duty.on
        start += duty.on + duty.off


def _apart(spans: Iterator[tuple[int, int]], group: Group) -> Iterator[tuple[int, int]]:
    """Cut the weekends out of spans where a group has none."""
    for start, end in spans:
        if group.duty.weekends:
            yield start, end
            continue
        week = start // WEEK_MS * WEEK_MS
        while week < end:
            first, last = max(start, week), min(end, week + FRIDAY_MS)
            if first < last:
                yield first, last
            week += WEEK_MS


def choose_attackers(scenario: Scenario, rng: np.random.Generator) -> dict[int, Attacker]:
    """Draw who attacks, by number; each of the scenario's attackers takes its share."""
    found: dict[int, Attacker] = {}
    for attacker in scenario.attackers:
        free = [i for i in numbers(scenario, attacker.groups) if i not in found]
        count = round(attacker.share * len(numbers(scenario, attacker.groups)))
        found |= dict.fromkeys(rng.permutation(free)[:count].tolist(), attacker)
    return found


def numbers(scenario: Scenario, groups: tuple[str, ...]) -> list[int]:
    """Return the numbers of all devices of some groups; without names, of all."""
    found: list[int] = []
    first = 0
    for group in scenario.groups:
        if not groups or group.name in groups:
            found += range(first, first + group.devices)
        first += group.devices
    return found


def named(group: Group, index: int) -> str:
    """Return the name of a device by its place in its group.

    Examples
    --------
    >>> named(Group(name="roof", devices=3), 1)
    'roof-00001'
    """
    return f"{group.name}-{index:05}"


def draw_speed(group: Group, rng: np.random.Generator) -> float:
    """Draw how fast a device is: log-normal around its group's speed."""
    return float(group.speed * np.exp(group.speed_spread * rng.standard_normal()))


def draw_skew(skew: Duration, rng: np.random.Generator) -> int:
    """Draw by how much a clock is wrong, milliseconds."""
    return int(rng.uniform(-skew, skew)) if skew else 0
