"""What a scenario lets happen to devices is done to their processes, at its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import msgspec
import numpy as np
import pytest

from headwater.settings import Duration
from headwater_simulator.live.course import Course
from headwater_simulator.live.fleet import LiveDevice, LiveFleet, Planned
from headwater_simulator.scenario.settings import (
    DAY,
    HOUR,
    Duty,
    Fault,
    Group,
    Outage,
    Scenario,
    Series,
)
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual.chronicle import Chronicle
from headwater_simulator.virtual.fleet import Fleet


@dataclass(eq=False)
class Processes:
    """A fleet of names: what was done to the agent or the client of which device."""

    devices: list[str] = field(default_factory=list)
    done: list[tuple[str, str]] = field(default_factory=list)

    def join(self, planned: Planned) -> str:
        self.done.append(("join", planned.name))
        return planned.name

    def kill(self, device: str, *, agent: bool) -> None:
        self.done.append(("kill agent" if agent else "kill client", device))

    def restart(self, device: str, *, agent: bool) -> str:
        self.done.append(("start agent" if agent else "start client", device))
        return device


@dataclass
class Played:
    course: Course
    processes: Processes
    chronicle: Chronicle

    def until(self, hours: float) -> list[tuple[str, str]]:
        """Return what was done since the last time."""
        self.processes.done.clear()
        self.course.go_on(round(hours * HOUR))
        return list(self.processes.done)


def played(*groups: Group, **happens: object) -> Played:
    scenario = msgspec.structs.replace(
        Scenario(length=DAY, data=Series(), groups=groups), **happens
    )
    fleet = Fleet(scenario, open_source(scenario), np.random.default_rng(1))
    there = [member.name for member in fleet.members if not member.group.joins]
    processes, chronicle = Processes(there), Chronicle()
    course = Course(
        scenario,
        fleet,
        cast("LiveFleet", processes),
        lambda member: Planned(member.name, member.name),
        chronicle,
    )
    return Played(course, processes, chronicle)


def hours(count: float) -> Duration:
    return Duration(round(count * HOUR))


ROOF = Group(name="roof", devices=1)
CELLAR = Group(name="cellar", devices=1)


def test_an_outage_ends_the_clients_of_its_group_and_starts_them_again() -> None:
    it = played(ROOF, CELLAR, outages=(Outage(start=hours(2), length=hours(3), groups=("roof",)),))

    assert it.until(1.9) == []
    assert it.until(2) == [("kill client", "roof-00000")]
    assert it.chronicle.online == 1
    assert it.until(5) == [("start client", "roof-00000")]
    assert [one.words for one in it.chronicle.incidents] == [
        "Outage of roof begins.",
        "Outage of roof ends.",
    ]


def test_a_crash_kills_the_agent_and_starts_it_at_once() -> None:
    it = played(ROOF, faults=(Fault(kind="crash", start=hours(2)),))

    assert it.until(3) == [("kill agent", "roof-00000"), ("start agent", "roof-00000")]
    assert it.chronicle.online == 1


def test_a_power_cut_kills_both_for_its_length() -> None:
    it = played(ROOF, faults=(Fault(kind="power-cut", start=hours(2), length=hours(3)),))

    assert it.until(4) == [("kill agent", "roof-00000"), ("kill client", "roof-00000")]
    assert it.until(5) == [("start agent", "roof-00000"), ("start client", "roof-00000")]


def test_who_joins_later_is_started_then() -> None:
    it = played(ROOF, Group(name="late", devices=1, joins=hours(4), leaves=hours(9)))

    assert "late-00000" not in it.course.real
    assert it.until(4) == [("join", "late-00000")]
    assert it.until(9) == [("kill client", "late-00000")]


def test_who_is_without_power_or_cut_off_does_not_connect() -> None:
    it = played(
        Group(name="late", devices=1, joins=hours(4)),
        outages=(Outage(start=hours(3), length=hours(3)),),
    )

    assert it.until(5) == []
    assert it.until(6) == [("join", "late-00000")]


def test_who_is_off_in_the_beginning_is_there_but_not_connected() -> None:
    group = Group(name="shift", devices=8, duty=Duty(on=hours(1), off=hours(3)))
    it = played(group)
    off = [name for what, name in it.processes.done if what == "kill client"]

    assert 0 < len(off) < 8
    assert it.chronicle.online == 8 - len(off)
    started = {name for what, name in it.until(4) if what == "start client"}
    assert set(off) <= started


@pytest.mark.parametrize("kind", ["stuck", "spikes", "unit", "clock-jump"])
def test_faults_of_sensors_are_said_and_touch_no_process(kind: str) -> None:
    fault = msgspec.convert({"kind": kind, "start": 0, "length": 0}, Fault, dec_hook=_duration)
    it = played(ROOF, faults=(fault,))

    assert it.until(1) == []
    assert [one.words for one in it.chronicle.incidents] == [f"{kind} on 1 devices."]


def _duration(kind: type, value: object) -> object:
    return Duration(cast("int", value))


def test_the_processes_of_each_are_at_hand() -> None:
    it = played(ROOF, CELLAR)

    assert it.course.real == cast(
        "dict[str, LiveDevice]", {"roof-00000": "roof-00000", "cellar-00000": "cellar-00000"}
    )
