"""Rules for updates that come when they come: an old one counts less than a fresh one."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np

from headwater_coordinator.strategies.strategy import Merged, State, Strategy, moved
from headwater_coordinator.strategies.updates import Floats, Updates

Staleness = Literal["constant", "polynomial", "hinge"]


class _Aging(Strategy, frozen=True):
    """A rule with a function of staleness s (releases), as in Xie et al. 2019.

    ``constant``: 1. ``polynomial``: (s + 1) ** -a. ``hinge``: 1 up to b, then 1 / (a (s - b) + 1).
    """

    staleness: Staleness = "polynomial"
    a: Annotated[float, msgspec.Meta(gt=0, le=100)] = 0.5
    b: Annotated[int, msgspec.Meta(ge=0, le=100)] = 4

    def fading(self, staleness: int) -> float:
        """Return the weight of an update of some age; 1 for a fresh one.

        Examples
        --------
        >>> FedBuff(a=0.5).fading(3), FedBuff(staleness="hinge", a=1.0, b=4).fading(5)
        (0.5, 0.5)
        """
        match self.staleness:
            case "constant":
                return 1.0
            case "polynomial":
                return float((staleness + 1.0) ** -self.a)
            case "hinge":
                return 1.0 / (self.a * max(staleness - self.b, 0) + 1.0)


class FedBuff(_Aging, frozen=True):
    """The sum of a buffer's updates, each by its age, divided by their number [1]_.

    What a device says of its examples does not count.

    References
    ----------
    .. [1] Nguyen et al., Federated Learning with Buffered Asynchronous Aggregation,
       AISTATS 2022.
    """

    server_learning_rate: Annotated[float, msgspec.Meta(gt=0, le=100)] = 1.0

    def merge(self, shared: Floats, updates: Updates, state: State) -> Merged:
        """Move by the server's learning rate times the mean of the aged updates."""
        del state
        weights = np.array([self.fading(one.staleness) for one in updates.about])
        step = updates.combined(weights) * (self.server_learning_rate / len(updates))
        return Merged(moved(shared, step))


class FedAsync(_Aging, frozen=True):
    """Each device's weights are mixed in, by ``alpha`` and their age [1]_.

    It mixes weights, not differences: what started at an old release pulls back towards it.
    Several updates are mixed in one after the other, the oldest first, then by the device's key.

    References
    ----------
    .. [1] Xie, Koyejo and Gupta, Asynchronous Federated Optimization, 2019.
    """

    alpha: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.6

    def merge(self, shared: Floats, updates: Updates, state: State) -> Merged:
        """Mix the weights of each device into the shared ones."""
        del state
        vector = shared.astype(np.float64)
        ages = [(-one.staleness, one.node, index) for index, one in enumerate(updates.about)]
        for _, _, index in sorted(ages):
            alpha = self.alpha * self.fading(updates.about[index].staleness)
            theirs = updates.source.base(index).astype(np.float64) + updates.source.vector(index)
            vector += alpha * (theirs - vector)
        return Merged(moved(shared, vector - shared))
