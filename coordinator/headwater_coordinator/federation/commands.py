"""What a person asks of a federation: forget, readmit or group a device, let an update in, go back.

Each command is answered by a :class:`.events.Tell`, after what it leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import assert_never

import msgspec

from headwater import wire
from headwater.objects import Vector
from headwater_coordinator import events as e
from headwater_coordinator.federation.candidacy import Candidacy
from headwater_coordinator.federation.fleet import Fleet
from headwater_coordinator.state import Device, State

_ERASED = {
    True: "The statistics of {} are erased, and a candidate is solved from those of the others. "
    "Until that is released, the release before it serves.",
    False: "The pending update of {} is dropped. This model's weights are averages, which cannot "
    "be taken apart again: what was merged from it before stays in them.",
}
"""What it comes to that a contribution is erased, of a model of statistics and of another."""


class Commands:
    """Carries out commands.

    Parameters
    ----------
    state, fleet, candidacy
        Shared with the rest of the core.
    statistics
        Whether the model is solved from statistics.
    max_staleness
        Releases that the base of an update may be old.
    book
        Accepts an update of a device, given its vector and its round.
    """

    def __init__(
        self,
        state: State,
        fleet: Fleet,
        candidacy: Candidacy,
        *,
        statistics: bool,
        max_staleness: int,
        book: Callable[[Device, wire.Update, Vector, int], e.Accept],
    ) -> None:
        self._state = state
        self._fleet = fleet
        self._candidacy = candidacy
        self._statistics = statistics
        self._max_staleness = max_staleness
        self._book = book

    def carry_out(self, event: e.Command) -> Iterator[e.Effect]:
        """Yield what is to be done about a command, and what its asker is told."""
        match event:
            case e.ErasureAsked(name):
                yield from self._erased(name)
            case e.ReadmissionAsked(name):
                yield from self._readmitted(name)
            case e.Grouped(node, group):
                yield from self._grouped(node, group)
            case e.ReleaseAsked():
                yield from self._let_in(event)
            case e.CandidateDecided():
                yield from self._candidacy.decide(event)
            case e.RollbackAsked():
                yield from self._rolled_back(event)
            case _:
                assert_never(event)

    def _erased(self, name: str) -> Iterator[e.Effect]:
        device = self._named(name)
        if device is None or device.forgotten:
            yield _unchanged(name, device, "was forgotten before")
            return
        device.forgotten = True
        self._state.pending.pop(device.node, None)
        self._state.erased = self._statistics
        self._fleet.refresh(device)
        yield e.Erase(device.node)
        yield e.Tell(True, _ERASED[self._statistics].format(name))

    def _readmitted(self, name: str) -> Iterator[e.Effect]:
        device = self._named(name)
        if device is None or not device.forgotten:
            yield _unchanged(name, device, "was not forgotten")
            return
        device.forgotten = False
        self._fleet.refresh(device)
        yield e.Readmit(device.node)
        yield e.Tell(True, f"{name} is asked again from the next round on.")

    def _grouped(self, node: str, group: str) -> Iterator[e.Effect]:
        device = self._state.devices.setdefault(node, Device(node))
        name = device.name or node
        if device.group == group:
            yield e.Tell(True, f"{name} was there before; nothing changes.")
            return
        device.group = group
        yield e.Group(device)
        yield e.Tell(True, f"{name} belongs to {f'group {group}' if group else 'no group'}.")

    def _rolled_back(self, asked: e.RollbackAsked) -> Iterator[e.Effect]:
        """Go back to an older release; a candidate made from the one that is left goes with it."""
        release, candidate = self._state.release, self._state.candidate
        if asked.version not in self._state.sequences or asked.version == release.name:
            yield e.Tell(False, f"Version {asked.version[:12]} is no older release.")
            return
        if candidate is not None:
            reason = f"its base was rolled back: {asked.reason}"
            yield from self._candidacy.decide(e.CandidateDecided(candidate.name, False, reason))
        yield e.Rollback(asked.version, asked.reason)
        yield e.Tell(
            True,
            f"Release {release.sequence + 1} is version {asked.version[:12]} again; devices are "
            "handed it.",
        )

    def _let_in(self, event: e.ReleaseAsked) -> Iterator[e.Effect]:
        """Accept an update that was refused for being unusual, if it may still be merged."""
        device, update = self._state.devices[event.node], event.update
        staleness = self._state.staleness(update.base)
        reasons = {
            "what its device contributed was erased": device.forgotten,
            "its base is too old": staleness is None or staleness > self._max_staleness,
            "a later update of its device was accepted": update.sequence <= device.taken,
        }
        why = next((words for words, holds in reasons.items() if holds), None)
        name = f"Update {update.sequence} of {device.name}"
        if why is None:
            accepted = self._book(device, update, event.vector, event.round)
            self._fleet.refresh(device)
            yield msgspec.structs.replace(accepted, refusal=event.refusal)
            yield e.Tell(True, f"{name} is accepted; it waits for the next candidate.")
        else:
            yield e.Tell(False, f"{name} cannot be released from quarantine: {why}.")

    def _named(self, name: str) -> Device | None:
        return self._state.devices.get(self._state.named(name) or "")


def _unchanged(name: str, device: Device | None, why: str) -> e.Tell:
    """Say that a device is as it was asked to be, or that there is none of this name."""
    if device is None:
        return e.Tell(False, f"There is no device {name}.")
    return e.Tell(True, f"{name} {why}; nothing changes.")
