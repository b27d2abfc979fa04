"""The way to the devices: a protocol of four methods, and one that stays in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from headwater.objects import Vector
from headwater.wire import Kind
from headwater_coordinator.excerpt import Excerpt


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """One task for one device.

    ``ask`` names it; ``node`` is the fingerprint of the device's key; ``vector`` is float32
    ``[n]`` or None; after ``ttl_s`` seconds the message is void.
    """

    ask: str
    node: str
    kind: Kind
    fields: bytes
    vector: Vector | None
    ttl_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """The answer to an ask: encoded fields and vector, or a sentence about what went wrong.

    ``lost`` is true when nothing came back (the device went away); false when something came
    that the protocol does not allow.
    """

    ask: str
    fields: bytes = b""
    vector: Vector | None = None
    failure: str = ""
    lost: bool = False
    excerpt: Excerpt | None = None
    """Of what came, where the protocol does not allow it."""


class Link(Protocol):
    """Who is there, tasks out, answers in; no method waits for a device."""

    def nodes(self) -> frozenset[str]:
        """Return the fingerprints of the devices that are online."""

    def push(self, batch: Sequence[Outgoing]) -> list[str]:
        """Send tasks; return the asks that could not be sent."""

    def pull(self) -> list[Arrival]:
        """Return the answers that are there; each comes once."""

    def forget(self, ask: str) -> None:
        """Wait no longer for an answer; an unknown ask is fine."""


Responder = Callable[[Outgoing], Arrival | None]
"""A device in this process: answers a task, or does not."""


class MemoryLink:
    """A link to devices in this process, for tests and simulations.

    Examples
    --------
    >>> link = MemoryLink()
    >>> link.devices["SHA256:abc"] = lambda task: Arrival(task.ask, b"{}")
    >>> link.push([Outgoing("a1", "SHA256:abc", Kind.CHECK_IN, b"", None, 1.0)])
    []
    >>> [arrival.ask for arrival in link.pull()]
    ['a1']
    """

    def __init__(self) -> None:
        self.devices: dict[str, Responder] = {}
        self._arrived: dict[str, Arrival] = {}

    def nodes(self) -> frozenset[str]:
        """Return the devices that are there."""
        return frozenset(self.devices)

    def push(self, batch: Sequence[Outgoing]) -> list[str]:
        """Let each device answer at once."""
        refused = [one.ask for one in batch if one.node not in self.devices]
        for one in batch:
            responder = self.devices.get(one.node)
            arrival = responder(one) if responder is not None else None
            if arrival is not None:
                self._arrived[one.ask] = arrival
        return refused

    def pull(self) -> list[Arrival]:
        """Return what was answered since the last call."""
        arrived, self._arrived = list(self._arrived.values()), {}
        return arrived

    def forget(self, ask: str) -> None:
        """Drop the answer to an ask."""
        self._arrived.pop(ask, None)
