"""What befalls the devices of a scenario, done to real processes when its time comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from headwater_simulator.live.fleet import LiveDevice, LiveFleet, Planned
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.virtual.agenda import Agenda
from headwater_simulator.virtual.chronicle import Chronicle
from headwater_simulator.virtual.disturbances import Disturbances
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
        self.go([one for one in there if not one.connected(0, self._length)])
        for member in fleet.members:
            for moment, comes in member.connections(self._length):
                act = self.come if comes else self.go
                self.agenda.at(moment, partial(act, [member]))
        Disturbances(scenario, fleet, self.agenda, chronicle, self)

    def go_on(self, now: int) -> None:
        """Do all that is due by a moment."""
        while self.agenda.go_on(now):
            pass

    # What is done

    def _came(self, member: Member) -> None:
        member.online = True
        self._chronicle.came(member.name, self.agenda.now)

    def come(self, members: Sequence[Member]) -> None:
        """Start the clients of those devices that can be connected; who is new starts whole."""
        for member in members:
            if member.online or member.cut or not member.powered:
                continue
            device = self.real.get(member.name)
            if device is None:
                self.real[member.name] = self._live.join(self._planned(member))
            else:
                self.real[member.name] = self._live.restart(device, agent=False)
            self._came(member)

    def go(self, members: Sequence[Member]) -> None:
        """Kill their clients."""
        for member in members:
            if member.online:
                self._live.kill(self.real[member.name], agent=False)
                member.online = False
                self._chronicle.went(member.name, self.agenda.now)

    def stop(self, members: Sequence[Member]) -> None:
        """Kill their agents."""
        for member in self._there(members):
            self._live.kill(self.real[member.name], agent=True)

    def restart(self, members: Sequence[Member]) -> None:
        """Start their agents again."""
        for member in self._there(members):
            device = self.real[member.name]
            self.real[member.name] = self._live.restart(device, agent=True)

    def _there(self, members: Sequence[Member]) -> list[Member]:
        return [member for member in members if member.name in self.real]


def is_there(member: Member) -> bool:
    """Say whether a device is there from the beginning, if not connected."""
    return not member.group.joins
