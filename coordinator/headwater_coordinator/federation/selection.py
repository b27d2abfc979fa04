"""Selection: who is asked for an update next, of those who could be.

Each way keeps the devices in a structure of its own, so that to pick a few costs as much for
many devices as for few. All are deterministic by the generator given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from headwater_coordinator.federation.order import Order
from headwater_coordinator.federation.pool import Pool
from headwater_coordinator.state import Device

Way = Literal["uniform", "fair", "guided"]

_RECENT = 200
_CLIPPED = 0.95
_PENALTY = 2.0
_FEWEST = 10


class Selection(Protocol):
    """The devices that could be asked."""

    def __len__(self) -> int: ...

    def add(self, device: Device) -> None:
        """Let a device be picked; one that is there stays where it is."""

    def discard_all(self, nodes: Sequence[str]) -> None:
        """Let devices be picked no more; those that are not there are fine."""

    def learned(self, device: Device) -> None:
        """Take note of what an update told of its device."""

    def pick(self, count: int) -> list[str]:
        """Return the nodes to ask, at most *count*; they stay until they are discarded."""


class Uniform:
    """Everyone with the same probability.

    Attributes
    ----------
    pool
        Who could be asked.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.pool = Pool()

    def __len__(self) -> int:
        return len(self.pool)

    def add(self, device: Device) -> None:
        """See :class:`Selection`."""
        self.pool.add(device.node)

    def discard_all(self, nodes: Sequence[str]) -> None:
        """See :class:`Selection`."""
        self.pool.discard_all(nodes)

    def learned(self, device: Device) -> None:
        """See :class:`Selection`."""

    def pick(self, count: int) -> list[str]:
        """See :class:`Selection`."""
        return self.pool.sample(count, self._rng)


class Fair:
    """Those asked least often first; of these, those asked longest ago; then by lot."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._order: Order[tuple[int, int, float]] = Order()

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, node: str) -> bool:
        return node in self._order

    def add(self, device: Device) -> None:
        """See :class:`Selection`."""
        if device.node in self._order:
            return
        self._order.set(device.node, (device.asked, device.asked_ms, self._rng.random()))

    def discard_all(self, nodes: Sequence[str]) -> None:
        """See :class:`Selection`."""
        self._order.discard_all(nodes)

    def learned(self, device: Device) -> None:
        """See :class:`Selection`."""

    def pick(self, count: int) -> list[str]:
        """See :class:`Selection`."""
        return self._order.first(count)


class Guided:
    """Those whose data promise most, after Oort [1]_, and a share by fairness.

    A device's utility is its examples times their loss (the paper takes the root of the mean
    square of losses, of which an update tells the mean), at most the 95th percentile of recent
    ones, so that a device which exaggerates gains little. One that takes longer than the median is
    worth less by the square of the ratio. Who is asked is drawn by utility from the best of
    twice as many as are wanted.

    A share of ``exploration`` goes to those asked least often: to the new first, and to everyone
    in the end. The paper's bonus for those not asked for long is thereby a floor.

    Parameters
    ----------
    rng
        Source of chance.
    exploration
        The share that is picked by fairness.

    References
    ----------
    .. [1] Lai et al., Oort: Efficient Federated Learning via Guided Participant Selection,
       OSDI 2021.
    """

    def __init__(self, rng: np.random.Generator, exploration: float) -> None:
        self._rng = rng
        self._exploration = exploration
        self._fair = Fair(rng)
        self._useful: Order[float] = Order()
        self._worth: dict[str, float] = {}
        self._utilities: deque[float] = deque(maxlen=_RECENT)
        self._durations: deque[int] = deque(maxlen=_RECENT)
        self._most = np.inf
        self._preferred = np.inf

    def __len__(self) -> int:
        return len(self._fair)

    def add(self, device: Device) -> None:
        """See :class:`Selection`."""
        if device.node in self._fair:
            return
        self._fair.add(device)
        worth = self._promise(device)
        if worth > 0:
            self._worth[device.node] = worth
            self._useful.set(device.node, -worth)

    def discard_all(self, nodes: Sequence[str]) -> None:
        """See :class:`Selection`."""
        self._fair.discard_all(nodes)
        self._useful.discard_all(nodes)
        for node in nodes:
            self._worth.pop(node, None)

    def learned(self, device: Device) -> None:
        """See :class:`Selection`."""
        self._utilities.append(device.utility)
        self._durations.append(device.duration_ms)
        self._most = float(np.quantile(self._utilities, _CLIPPED))
        self._preferred = float(np.median(self._durations))

    def pick(self, count: int) -> list[str]:
        """See :class:`Selection`."""
        picked = self._best(count - int(self._rng.binomial(count, self._exploration)))
        others = (node for node in self._fair.pick(count + len(picked)) if node not in picked)
        return picked + [node for node, _ in zip(others, range(count - len(picked)), strict=False)]

    def _best(self, count: int) -> list[str]:
        best = self._useful.first(max(2 * count, _FEWEST)) if count else []
        if not best:
            return []
        worth = np.array([self._worth[node] for node in best])
        size = min(count, len(best))
        chosen = self._rng.choice(len(best), size=size, replace=False, p=worth / worth.sum())
        return [best[int(place)] for place in chosen]

    def _promise(self, device: Device) -> float:
        utility = min(device.utility, self._most)
        if device.duration_ms > self._preferred:
            utility *= (self._preferred / device.duration_ms) ** _PENALTY
        return utility


def select(way: Way, rng: np.random.Generator, exploration: float) -> Selection:
    """Make what the settings name."""
    match way:
        case "uniform":
            return Uniform(rng)
        case "fair":
            return Fair(rng)
        case "guided":
            return Guided(rng, exploration)
