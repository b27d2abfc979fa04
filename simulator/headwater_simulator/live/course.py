"""What befalls the devices of a scenario, done to real processes when its time comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from headwater_simulator.live.fleet import LiveDevice, LiveFleet, Planned
from headwater_simulator.scenario.settings import Fault, Outage, Scenario
from headwater_simulator.virtual.agenda import Agenda
from headwater_simulator.virtual.chronicle import Chronicle
from headwater_simulator.virtual.fleet import Fleet
from headwater_simulator.virtual.member import Member


class Course:
    """The course of a scenario.

    A device is connected while its federation client runs: what cuts it off ends the client. A
    crash kills the agent, a power cut both.

    Parameters
    ----------
    scenario, fleet
        Who takes part, and what happens to whom.
    live
        The processes of those who are there from the beginning, in the order of the members.
    planned
        The settings of those who join later.
    chronicle
        Is told what happens.

    Attributes
    ----------
    agenda
        What is to happen, on the scenario's clock.
    real
        The processes of each member that is there, by its name.
    """

    def __init__(
        self,
        scenario: Scenario,
        fleet: Fleet,
        live: LiveFleet,
        planned: Callable[[Member], Planned],
        chronicle: Chronicle,
    ) -> None:
        self._fleet, self._live = fleet, live
        self._planned, self._chronicle = planned, chronicle
        self._length = int(scenario.length)
        self.agenda = Agenda()
        there = [member for member in fleet.members if is_there(member)]
        self.real: dict[str, LiveDevice] = {
            member.name: device for member, device in zip(there, live.devices, strict=True)
        }
        for member in there:
            self._came(member)
        self._disconnect([one for one in there if not one.connected(0, self._length)])
        for member in fleet.members:
            for moment, comes in member.connections(self._length):
                act = self._connect if comes else self._disconnect
                self.agenda.at(moment, partial(act, [member]))
        for outage in scenario.outages:
            self._plan_outage(outage)
        for fault, numbers in fleet.faults:
            self._plan_fault(fault, [fleet.members[i] for i in numbers])

    def go_on(self, now: int) -> None:
        """Do all that is due by a moment."""
        while self.agenda.go_on(now):
            pass

    # What is planned

    def _plan_outage(self, outage: Outage) -> None:
        where = ", ".join(outage.groups) or "the whole network"
        cut = [
            one
            for one in self._fleet.members
            if not outage.groups or one.group.name in outage.groups
        ]

        def begin() -> None:
            self._chronicle.happened(f"Outage of {where} begins.", self.agenda.now)
            for member in cut:
                member.cut = True
            self._disconnect(cut)

        def finish() -> None:
            self._chronicle.happened(f"Outage of {where} ends.", self.agenda.now)
            for member in cut:
                member.cut = False
            self._come_back(cut)

        self.agenda.at(int(outage.start), begin)
        self.agenda.at(int(outage.start + outage.length), finish)

    def _plan_fault(self, fault: Fault, members: Sequence[Member]) -> None:
        words = f"{fault.kind} on {len(members)} devices."
        start, end = int(fault.start), int(fault.start + fault.length)
        self.agenda.at(start, lambda: self._chronicle.happened(words, self.agenda.now))
        if fault.kind == "crash":
            self.agenda.at(start, partial(self._crash, members))
        elif fault.kind == "power-cut":
            self.agenda.at(start, partial(self._cut_power, members))
            self.agenda.at(end, partial(self._power_up, members))

    # What is done

    def _came(self, member: Member) -> None:
        member.online = True
        self._chronicle.came(member.name, self.agenda.now)

    def _connect(self, members: Sequence[Member]) -> None:
        for member in members:
            if member.online or member.cut or not member.powered:
                continue
            device = self.real.get(member.name)
            if device is None:
                self.real[member.name] = self._live.join(self._planned(member))
            else:
                self.real[member.name] = self._live.restart(device, agent=False)
            self._came(member)

    def _come_back(self, members: Sequence[Member]) -> None:
        now = self.agenda.now
        self._connect([one for one in members if one.connected(now, self._length)])

    def _disconnect(self, members: Sequence[Member]) -> None:
        for member in members:
            if member.online:
                self._live.kill(self.real[member.name], agent=False)
                member.online = False
                self._chronicle.went(member.name, self.agenda.now)

    def _crash(self, members: Sequence[Member]) -> None:
        for member in members:
            if member.powered and member.name in self.real:
                device = self.real[member.name]
                self._live.kill(device, agent=True)
                self.real[member.name] = self._live.restart(device, agent=True)

    def _cut_power(self, members: Sequence[Member]) -> None:
        for member in members:
            if member.powered and member.name in self.real:
                self._live.kill(self.real[member.name], agent=True)
            member.unpowered += 1
        self._disconnect(members)

    def _power_up(self, members: Sequence[Member]) -> None:
        for member in members:
            member.unpowered -= 1
            self._fleet.sensors[member].skip(self.agenda.now)
            device = self.real.get(member.name)
            if device is not None:
                self.real[member.name] = self._live.restart(device, agent=True)
        self._come_back(members)


def is_there(member: Member) -> bool:
    """Say whether a device is there from the beginning, if not connected."""
    return not member.group.joins
