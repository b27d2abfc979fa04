"""What happens in a simulated fleet, written down as it happens."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Literal

from headwater_coordinator import events as e
from headwater_coordinator.state import Version
from headwater_simulator.report.results import (
    Incident,
    Presence,
    Refusal,
    Release,
    Round,
)

Outcome = Literal["released", "refused", "void", "same", "open"]

NEWEST = 100
"""Refusals that are kept."""


@dataclass(slots=True)
class DeviceLog:
    """What a device did.

    ``forged`` counts what it sent as an attacker, ``late`` the trainings that nobody waited for
    any more: they are neither computed nor sent.
    """

    attack: str = ""
    updates: int = 0
    refused: int = 0
    declined: int = 0
    lost: int = 0
    forged: int = 0
    trained: int = 0
    late: int = 0
    up: int = 0
    down: int = 0
    online_ms: int = 0
    since_ms: int | None = None


@dataclass(slots=True)
class _Round:
    number: int
    opened_ms: int
    asked: int = 0
    closed_ms: int | None = None
    accepted: int = 0
    refused: int = 0
    declined: int = 0
    failed: int = 0
    staleness: list[int] = field(default_factory=list)
    bytes_up: int = 0
    outcome: Outcome = "open"
    words: str = ""


class Chronicle:
    """The chronicle of a run.

    Attributes
    ----------
    devices
        What each did, by its name.
    online, training
        How many devices are there, and at work, now.
    """

    def __init__(self) -> None:
        self.devices: defaultdict[str, DeviceLog] = defaultdict(DeviceLog)
        self.releases: list[Release] = []
        self.incidents: list[Incident] = []
        self.refusals: deque[Refusal] = deque(maxlen=NEWEST)
        self.online = self.training = self.refused_candidates = 0
        self._rounds: dict[int, _Round] = {}
        self._came: defaultdict[int, int] = defaultdict(int)
        self._began: defaultdict[int, int] = defaultdict(int)
        self._ended_ms: int | None = None

    @property
    def rounds(self) -> tuple[Round, ...]:
        """All rounds so far."""
        return tuple(_told(one) for one in self._rounds.values())

    @property
    def presence(self) -> list[Presence]:
        """How many devices were there, and at work, whenever that changed until the end."""
        found, online, training = [], 0, 0
        for now in sorted(self._came.keys() | self._began.keys()):
            if self._ended_ms is not None and now > self._ended_ms:
                break
            online, training = online + self._came[now], training + self._began[now]
            found.append(Presence(time_ms=now, online=online, training=training))
        return found

    # What the coordinator does

    def opened(self, number: int, asked: int, now: int) -> None:
        """Note that a round began."""
        self._rounds[number] = _Round(number, now, asked)

    def closed(self, close: e.Close, now: int) -> None:
        """Note that the training of a round ended."""
        one = self._rounds[close.round]
        one.closed_ms, one.asked, one.accepted = now, close.asked, close.accepted
        one.refused, one.declined, one.failed = close.refused, close.declined, close.failed
        if close.outcome == "void":
            one.outcome = "void"

    def judged(self, number: int, outcome: Outcome, words: str) -> None:
        """Note what became of a round's candidate."""
        self._rounds[number].outcome, self._rounds[number].words = outcome, words
        self.refused_candidates += outcome == "refused"

    def released(self, version: Version, number: int, words: str, now: int) -> None:
        """Note a release."""
        self.releases.append(
            Release(
                sequence=version.sequence,
                version=version.name,
                time_ms=now,
                round=number,
                words=words,
            )
        )

    def accepted(self, node: str, number: int, staleness: int) -> None:
        """Note an accepted update."""
        self.devices[node].updates += 1
        if number in self._rounds:
            self._rounds[number].staleness.append(staleness)

    def refused(self, refusal: e.Refuse, now: int) -> None:
        """Note a refused answer."""
        if refusal.kind != "Update":
            return
        device = self.devices[refusal.node]
        device.refused += 1
        attacks = bool(device.attack)
        self.refusals.append(
            Refusal(time_ms=now, device=refusal.node, attacks=attacks, reason=refusal.reason)
        )

    def weighed(self, number: int, size: int) -> None:
        """Note the bytes of an update of a round."""
        if number in self._rounds:
            self._rounds[number].bytes_up += size

    # What devices do, and what is done to them

    def came(self, name: str, now: int) -> None:
        """Note that a device is connected."""
        self.devices[name].since_ms = now
        self.online += 1
        self._came[now] += 1

    def went(self, name: str, now: int) -> None:
        """Note that a device is connected no more."""
        device = self.devices[name]
        device.online_ms += now - (device.since_ms if device.since_ms is not None else now)
        device.since_ms = None
        self.online -= 1
        self._came[now] -= 1

    def ended(self, now: int) -> None:
        """Note that the run is over; who is there was there until then."""
        self._ended_ms = now
        for device in self.devices.values():
            if device.since_ms is not None:
                device.online_ms += now - device.since_ms
                device.since_ms = None

    def worked(self, change: int, now: int) -> None:
        """Note that devices begin to train, or end; it may be known before."""
        self.training += change
        self._began[now] += change

    def happened(self, words: str, now: int) -> None:
        """Note what the scenario did."""
        self.incidents.append(Incident(time_ms=now, words=words))


def _told(one: _Round) -> Round:
    staleness = one.staleness
    return Round(
        number=one.number,
        opened_ms=one.opened_ms,
        closed_ms=one.closed_ms,
        asked=one.asked,
        accepted=one.accepted,
        refused=one.refused,
        declined=one.declined,
        failed=one.failed,
        staleness_mean=sum(staleness) / len(staleness) if staleness else 0.0,
        staleness_max=max(staleness, default=0),
        bytes_up=one.bytes_up,
        outcome=one.outcome,
        words=one.words,
    )
