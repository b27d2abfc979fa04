"""What a scenario does to devices and their network, planned from the beginning.

Both engines have it done, each by a grip of its own on its devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from headwater_simulator.scenario.settings import Fault, Outage, Scenario
from headwater_simulator.virtual.agenda import Agenda
from headwater_simulator.virtual.chronicle import Chronicle
from headwater_simulator.virtual.fleet import Fleet
from headwater_simulator.virtual.member import Member


class Grip(Protocol):
    """What can be done to devices."""

    def come(self, members: Sequence[Member]) -> None:
        """Connect those that can be."""

    def go(self, members: Sequence[Member]) -> None:
        """Disconnect them."""

    def stop(self, members: Sequence[Member]) -> None:
        """Let their agents end without a warning."""

    def restart(self, members: Sequence[Member]) -> None:
        """Let their agents begin anew, from what they had stored."""


class Disturbances:
    """Outages and faults.

    Parameters
    ----------
    scenario, fleet
        Say what happens to whom.
    agenda, chronicle
        Of the run.
    grip
        Does it to them.
    """

    def __init__(
        self, scenario: Scenario, fleet: Fleet, agenda: Agenda, chronicle: Chronicle, grip: Grip
    ) -> None:
        self._length, self._fleet = int(scenario.length), fleet
        self._agenda, self._chronicle, self._grip = agenda, chronicle, grip
        for outage in scenario.outages:
            self._plan_outage(outage)
        for fault, numbers in fleet.faults:
            self._plan_fault(fault, [fleet.members[i] for i in numbers])

    def _plan_outage(self, outage: Outage) -> None:
        groups, start, end = outage.groups, int(outage.start), int(outage.start + outage.length)
        cut = [one for one in self._fleet.members if not groups or one.group.name in groups]
        for member in cut:
            member.disturbed += [start, end]
        where = ", ".join(groups) or "the whole network"
        self._agenda.at(start, partial(self._cut, cut, f"Outage of {where} begins."))
        self._agenda.at(end, partial(self._mend, cut, f"Outage of {where} ends."))

    def _cut(self, members: Sequence[Member], words: str) -> None:
        self._chronicle.happened(words, self._agenda.now)
        for member in members:
            member.cut += 1
        self._grip.go(members)

    def _mend(self, members: Sequence[Member], words: str) -> None:
        self._chronicle.happened(words, self._agenda.now)
        for member in members:
            member.cut -= 1
        self._come_back(members)

    def _plan_fault(self, fault: Fault, members: Sequence[Member]) -> None:
        start, end = int(fault.start), int(fault.start + fault.length)
        if fault.kind in ("crash", "power-cut"):
            for member in members:
                member.disturbed += [start, end]
        words = f"{fault.kind} on {len(members)} devices."
        self._agenda.at(start, lambda: self._chronicle.happened(words, self._agenda.now))
        if fault.kind == "crash":
            self._agenda.at(start, partial(self._crash, members))
        elif fault.kind == "power-cut":
            self._agenda.at(start, partial(self._cut_power, members))
            self._agenda.at(end, partial(self._power_up, members))

    def _crash(self, members: Sequence[Member]) -> None:
        up = [member for member in members if member.powered]
        self._grip.stop(up)
        self._grip.restart(up)

    def _cut_power(self, members: Sequence[Member]) -> None:
        self._grip.stop([member for member in members if member.powered])
        for member in members:
            member.unpowered += 1
        self._grip.go(members)

    def _power_up(self, members: Sequence[Member]) -> None:
        for member in members:
            member.unpowered -= 1
        up = [member for member in members if member.powered]
        for member in up:
            sensors = self._fleet.sensors.get(member)
            if sensors is not None:
                sensors.skip(self._agenda.now)
        self._grip.restart(up)
        self._come_back(up)

    def _come_back(self, members: Sequence[Member]) -> None:
        """Let those devices connect that would be connected now."""
        now = self._agenda.now
        self._grip.come([member for member in members if member.connected(now, self._length)])
