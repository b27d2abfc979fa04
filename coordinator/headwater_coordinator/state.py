"""What the federation core knows and a restart must give back: devices, updates, versions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from headwater.wire import COMMON


@dataclass(frozen=True, slots=True)
class Version:
    """A released version or a candidate: its name, place in the order, and signed statement.

    ``sequence`` of a candidate is the one it will have when it is released.
    """

    name: str
    sequence: int
    parent: str
    statement: str
    data_until_ms: int = 0
    """Event time of the newest example that any update in it, or in what it was made from, learned
    from; of the first, when it came."""


@dataclass(slots=True)
class Device:
    """One device, known by the fingerprint of its key.

    ``name`` is what it called itself at its first check-in and may never change. ``version`` is
    what it runs as far as is known. ``taken`` and ``merged`` are the highest sequence numbers of
    its updates that were accepted and that a release contains. Times are UTC milliseconds.
    """

    node: str
    name: str = ""
    version: str = ""
    sequence: int = 0
    taken: int = 0
    merged: int = 0
    records: int = 0
    examples: int = 0
    alarms: int = 0
    """Raised by its drift detectors on the version it runs."""
    retrain: bool = False
    """Whether it asks for a round on account of one."""
    forgotten: bool = False
    """Whether what it contributed was erased; then it is asked for nothing more."""
    asked: int = 0
    """How often it was asked for an update."""
    asked_ms: int = 0
    """When it was asked last."""
    unanswered: int = 0
    """How often nothing came of that."""
    utility: float = 0.0
    """Examples times loss of its last update: how much there is to learn from it."""
    duration_ms: int = 0
    """How long it took for its last update."""
    group: str = ""
    """Which its owner put it into; empty: none."""
    scored: int = 0
    """Predictions that it took its mean losses over when it checked in last."""
    loss_baseline: float = 0.0
    loss_released: float = 0.0
    loss_personal: float = 0.0
    protocol: int = COMMON
    """Of its last reply; an older one until it has replied."""
    online: bool = False
    seen_ms: int = 0
    """When it was heard of last, or went."""
    open: int = 0
    """Questions that it has not answered, check-ins apart."""
    failures: int = 0
    """Tasks of which nothing came since its last update."""


class Pending(msgspec.Struct, frozen=True, gc=False):
    """An accepted update that no candidate contains yet; at most one for each device.

    ``weight`` is the number of examples that counts, after the cap. Statistics have no cap: to
    merge them is exact because each example counts once.
    """

    node: str
    base: str
    sequence: int
    weight: int
    data_until_ms: int = 0


@dataclass(slots=True)
class Conduct:
    """How a device has behaved: what the firewall holds its next update against.

    ``examples`` is the most that an accepted update of it was said to be of; ``refusals`` counts
    the updates refused since one was accepted, the first at ``refused_ms``; ``crowd`` counts
    updates and falls by a steady rate, to be read at ``crowd_ms``.
    """

    examples: int = 0
    refusals: int = 0
    refused_ms: int = 0
    crowd: float = 0.0
    crowd_ms: int = 0

    def arrives(self, now: int, per_hour: int) -> None:
        """Count an update; *per_hour* of them fade in an hour."""
        faded = (now - self.crowd_ms) * per_hour / 3_600_000
        self.crowd = max(0.0, self.crowd - faded) + 1
        self.crowd_ms = now


@dataclass(slots=True)
class Past:
    """What the books know of earlier updates: newest ``norms`` of accepted ones, and conduct."""

    norms: list[float] = field(default_factory=list)
    conduct: dict[str, Conduct] = field(default_factory=dict)

    def of(self, node: str) -> Conduct:
        """Return how a device has behaved so far."""
        conduct = self.conduct.get(node)
        if conduct is None:
            conduct = self.conduct[node] = Conduct()
        return conduct


@dataclass(slots=True)
class State:
    """Everything that outlives a process; :mod:`.database` stores and restores it.

    ``sequences`` has every released version with its sequence number; ``round`` is the number
    of the last round opened; ``candidate`` is the version that waits for its judgement.
    """

    release: Version
    candidate: Version | None = None
    devices: dict[str, Device] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    round: int = 0
    erased: bool = False
    """Whether a contribution was erased that the release, or the candidate, was solved with."""
    past: Past = field(default_factory=Past)
    _nodes: dict[str, str] = field(init=False)
    _ages: dict[str, int] = field(init=False, default_factory=dict, compare=False)
    _aged: Version | None = field(init=False, default=None, compare=False)

    def __post_init__(self) -> None:
        self._nodes = {one.name: one.node for one in self.devices.values() if one.name}

    def staleness(self, base: str) -> int | None:
        """Return how many releases ago *base* was the release; None when it never was.

        Sequence numbers only rise; after a restore they leap.
        """
        if self._aged is not self.release or len(self._ages) != len(self.sequences):
            self._aged, newest = (
                self.release,
                sorted(self.sequences, key=self.sequences.__getitem__),
            )
            self._ages = {name: age for age, name in enumerate(reversed(newest))}
        return self._ages.get(base)

    def name(self, device: Device, name: str) -> None:
        """Give a device its name, for good."""
        device.name = name
        self._nodes[name] = device.node

    def groups(self, names: Iterable[str]) -> dict[str, str]:
        """Return the group of each of these devices."""
        nodes = {name: self._nodes[name] for name in names}
        return {name: self.devices[node].group for name, node in nodes.items()}

    def named(self, name: str) -> str | None:
        """Return the node that the device name belongs to."""
        return self._nodes.get(name)
