"""Means of updates: FedAvg, FedProx and q-FedAvg, each read one update at a time."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np

from headwater.settings import Duration
from headwater_coordinator.strategies.strategy import Merged, State, Strategy, moved
from headwater_coordinator.strategies.updates import Floats, Numbers, Updates

_TINY = 1e-10
"""What Flower adds to a loss before it takes a power of it."""


class FedAvg(Strategy, frozen=True):
    """The mean, weighted by examples [1]_.

    References
    ----------
    .. [1] McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized
       Data, AISTATS 2017.
    """

    def merge(self, shared: Floats, updates: Updates, state: State) -> Merged:
        """Move by the weighted mean; nothing is remembered."""
        del state
        return Merged(moved(shared, updates.mean(updates.examples)))


class FedProx(FedAvg, frozen=True):
    """FedAvg whose devices are held to the release, and may stop early [1]_.

    A device adds ``proximal_mu`` times half the squared distance to the release to its loss. With
    a ``budget`` it trains at most so long and sends what it finished; it counts with the examples
    that it learned from.

    References
    ----------
    .. [1] Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020.
    """

    proximal_mu: Annotated[float, msgspec.Meta(ge=0, le=1_000)] = 0.0
    budget: Duration | None = None

    def __post_init__(self) -> None:
        if self.budget is not None and not 1_000 <= self.budget <= 86_400_000:
            raise ValueError("budget must lie between 1s and 1d")

    @property
    def terms(self) -> dict[str, float]:
        """What a device is told with its task to train, by the names of :class:`wire.Train`."""
        terms: dict[str, float] = {}
        if self.proximal_mu:
            terms["proximal_mu"] = self.proximal_mu
        if self.budget is not None:
            terms["budget_ms"] = int(self.budget)
        return terms


class QFedAvg(Strategy, frozen=True):
    """Updates of devices with a high loss count more, the more so the higher ``q`` [1]_.

    The loss is the one that a device had on the release, as it says: a device that lies about it
    is believed.

    References
    ----------
    .. [1] Li et al., Fair Resource Allocation in Federated Learning, ICLR 2020.
    """

    client_learning_rate: Annotated[float, msgspec.Meta(gt=0, le=10)]
    q: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.1

    def merge(self, shared: Floats, updates: Updates, state: State) -> Merged:
        """Move by the sum of the scaled updates, divided by the sum of their step sizes."""
        del state
        with np.errstate(over="ignore", invalid="ignore"):
            step = self._step(updates)
        return Merged(moved(shared, step))

    def _step(self, updates: Updates) -> Numbers:
        losses = np.array([max(one.loss, 0.0) for one in updates.about]) + _TINY
        smoothness = 1.0 / self.client_learning_rate
        scaled = smoothness * losses**self.q
        norms = smoothness**2 * updates.squares()
        steps = self.q * losses ** (self.q - 1.0) * norms + scaled
        step: Numbers = updates.combined(scaled / steps.sum())
        return step
