"""Rules that some attackers among the devices cannot turn at will.

What a device says of itself counts for nothing here: every update has the same weight. All work on
stretches of coordinates, or on the inner products of all pairs, so a merge holds the model, a
stretch, and for Krum and its kin a number for each pair of updates.

Before any of them each update may be replaced by the mean of itself and its nearest neighbours
(``mixing = "nearest-neighbour"``): Allouah et al., *Fixing by Mixing: A Recipe for Optimal
Byzantine ML under Heterogeneity*, AISTATS 2023.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_coordinator.strategies.strategy import Merged, State, Strategy, moved
from headwater_coordinator.strategies.updates import (
    Floats,
    Mixed,
    Numbers,
    Updates,
    distances,
)

Attackers = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Indices = NDArray[np.intp]


class _Robust(Strategy, frozen=True):
    """A rule that supposes at most ``num_malicious_nodes`` attackers among the updates."""

    num_malicious_nodes: Attackers = 0
    mixing: Literal["none", "nearest-neighbour"] = "none"

    @property
    def least(self) -> int:
        """A majority that is honest, where updates are mixed."""
        return 2 * self.num_malicious_nodes + 1

    def merge(self, shared: Floats, updates: Updates, state: State) -> Merged:
        """Move by what the rule gives of the updates, mixed or as they are."""
        del state
        self.check_enough(updates)
        if self.mixing == "nearest-neighbour":
            updates = nearest_neighbour_mixing(updates, self.num_malicious_nodes)
        return Merged(moved(shared, self._rule(updates)))

    def _rule(self, updates: Updates) -> Numbers:
        raise NotImplementedError


class FedMedian(_Robust, frozen=True):
    """The median of each coordinate [1]_. ``num_malicious_nodes`` is for mixing.

    References
    ----------
    .. [1] Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates,
       ICML 2018.
    """

    def _rule(self, updates: Updates) -> Numbers:
        found = np.empty(updates.size)
        for where, rows in updates.stretches():
            found[where] = _medians(rows)
        return found


class FedTrimmedAvg(_Robust, frozen=True):
    """The mean of each coordinate without the share ``beta`` at either end (Yin et al. 2018).

    ``num_malicious_nodes`` is for mixing.
    """

    beta: Annotated[float, msgspec.Meta(ge=0, lt=0.5)] = 0.2

    def _rule(self, updates: Updates) -> Numbers:
        cut = int(self.beta * len(updates))
        kept = slice(cut, len(updates) - cut)
        found = np.empty(updates.size)
        for where, rows in updates.stretches():
            ordered = np.sort(rows.T, axis=1)
            found[where] = ordered[:, kept].mean(axis=1, dtype=np.float64)
        return found


class Krum(_Robust, frozen=True):
    """The update that is nearest to its neighbours [1]_.

    References
    ----------
    .. [1] Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant Gradient
       Descent, NeurIPS 2017.
    """

    @property
    def least(self) -> int:
        """As the proof asks: more than two updates beside twice the attackers."""
        return 2 * self.num_malicious_nodes + 3

    def _rule(self, updates: Updates) -> Numbers:
        return updates.mean(_chosen(updates, self.num_malicious_nodes, 1))


class MultiKrum(Krum, frozen=True):
    """The mean of the ``num_nodes_to_select`` updates that are nearest to their neighbours."""

    num_nodes_to_select: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1

    @property
    def least(self) -> int:
        """As Krum's, and so many that there are enough to select from."""
        return max(super().least, self.num_nodes_to_select)

    def _rule(self, updates: Updates) -> Numbers:
        return updates.mean(_chosen(updates, self.num_malicious_nodes, self.num_nodes_to_select))


class Bulyan(Krum, frozen=True):
    """Multi-Krum, then the mean of what is nearest to the median of each coordinate [1]_.

    References
    ----------
    .. [1] El Mhamdi et al., The Hidden Vulnerability of Distributed Learning in Byzantium,
       ICML 2018.
    """

    @property
    def least(self) -> int:
        """As the proof asks."""
        return 4 * self.num_malicious_nodes + 3

    def _rule(self, updates: Updates) -> Numbers:
        selected = len(updates) - 2 * self.num_malicious_nodes
        nearest = selected - 2 * self.num_malicious_nodes
        chosen = np.flatnonzero(_chosen(updates, self.num_malicious_nodes, selected))
        found = np.empty(updates.size)
        for where, rows in updates.stretches():
            left = rows[chosen]
            apart = np.abs(left - _medians(left))
            order = np.argpartition(apart, nearest - 1, axis=0)[:nearest]
            found[where] = np.take_along_axis(left, order, axis=0).mean(axis=0, dtype=np.float64)
        return found


def nearest_neighbour_mixing(updates: Updates, attackers: int) -> Mixed:
    """Return updates each of which is the mean of the N - attackers nearest to one, itself too."""
    products = updates.products()
    apart = distances(products)
    np.fill_diagonal(apart, -1.0)
    shares = np.zeros_like(apart)
    count = len(updates) - attackers
    nearest = np.argsort(apart, axis=1, kind="stable")[:, :count]
    np.put_along_axis(shares, nearest, 1.0 / count, axis=1)
    return Mixed(updates, shares, products)


def _chosen(updates: Updates, attackers: int, count: int) -> Numbers:
    """Return 1 for the updates with the *count* lowest scores of Krum, else 0: float64 ``[N]``."""
    neighbours = max(1, len(updates) - attackers - 2)
    apart = distances(updates.products())
    np.fill_diagonal(apart, -1.0)
    scores = np.sort(apart, axis=1)[:, 1 : neighbours + 1].sum(axis=1)
    chosen = np.zeros(len(updates))
    chosen[np.argsort(scores, kind="stable")[:count]] = 1.0
    return chosen


def _medians(rows: Floats) -> Floats:
    """Return the median of each column; rows of coordinates lie together in memory first."""
    medians: Floats = np.median(np.ascontiguousarray(rows.T), axis=1, overwrite_input=True)
    return medians
