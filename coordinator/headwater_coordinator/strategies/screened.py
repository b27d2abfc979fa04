"""The rule for fleets with devices that nobody vouches for.

Four steps, each against what the others let through. All but the last work on the inner products
of pairs, or on a sample of the weights.

1. No update is longer than the median one: it is shortened to that norm.
2. A vote is worth less where a device has fewer examples than the median one, and copies share
   one. Attackers who agree on what to send are nearer to each other than honest
   devices ever are, whose data differ (the thought of Fung, Yoon and Beschastnikh, *The
   Limitations of Federated Learning in Sybil Settings*, RAID 2020).
3. Who is in a heap has no vote (:mod:`.heaps`): a minority that has been like each other, and
   apart from all others, over the merges that are remembered (:mod:`.memory`).
4. What is left is averaged by coordinate without either end (Yin et al., ICML 2018).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np

from headwater_coordinator.strategies.heaps import heaps
from headwater_coordinator.strategies.memory import followed
from headwater_coordinator.strategies.strategy import Merged, State, Strategy, moved
from headwater_coordinator.strategies.updates import Floats, Mixed, Numbers, Updates, distances

COPY = 0.5
"""Share of the median distance within which two updates count as copies."""

_IN_HEAPS = 1.5
"""Times ``malicious_share`` that heaps may hold: honest ones may be among them."""

_TRIMMED = 0.5
"""Share of the attackers that the last step is for; the third finds the others."""

_NOTHING = 1e-9


class Screened(Strategy, frozen=True):
    """Copies share a vote, who is in a heap has none, the rest is trimmed.

    ``malicious_share`` is the share of the updates that attackers may send. The step is taken times
    ``server_learning_rate``, for the first step and the last make it shorter than a mean's.
    """

    malicious_share: Annotated[float, msgspec.Meta(ge=0, le=0.4)] = 0.3
    server_learning_rate: Annotated[float, msgspec.Meta(gt=0, le=100)] = 1.3

    @property
    def least(self) -> int:
        """So many that a median means something."""
        return 5

    def merge(self, shared: Floats, updates: Updates, state: State) -> Merged:
        """Move by what is left of the updates; what devices did is the state."""
        self.check_enough(updates)
        products = updates.products()
        lengths = shortened(products)
        memory = followed(state, updates, np.diagonal(products))
        found = heaps(memory.signs, memory.energies, min(_IN_HEAPS * self.malicious_share, 0.5))
        barred = memory.judged(found)
        votes = shared_votes(products * np.outer(lengths, lengths)) * counted(updates.examples)
        votes[barred] = 0.0
        same_length = Mixed(updates, np.diag(lengths), products)
        step = np.empty(updates.size)
        for where, rows in same_length.stretches():
            step[where] = trimmed(rows, votes, _TRIMMED * self.malicious_share)
        voteless = tuple(memory.nodes[index] for index in np.flatnonzero(barred))
        step *= self.server_learning_rate
        return Merged(moved(shared, step), memory.state(), voteless)


def shortened(products: Numbers) -> Numbers:
    """Return by what each update is multiplied to be no longer than the median: ``[N]``."""
    norms = np.sqrt(np.diagonal(products))
    usual = np.median(norms)
    ratio: Numbers = np.divide(usual, norms, out=np.ones_like(norms), where=norms > 0)
    return np.minimum(ratio, 1.0)


def shared_votes(products: Numbers) -> Numbers:
    """Return the vote of each update, ``[N]``: 1, divided among copies.

    Examples
    --------
    >>> heaps = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.0, -1.0]])
    >>> shared_votes(heaps @ heaps.T).tolist()
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """
    apart = np.sqrt(distances(products))
    usual = np.median(apart[np.triu_indices(len(apart), 1)])
    copies = (apart < COPY * usual) | np.eye(len(apart), dtype=bool)
    votes: Numbers = 1.0 / copies.sum(axis=1)
    return votes


def counted(examples: Numbers) -> Numbers:
    """Return what each vote is worth for its examples, ``[N]``: nobody gains by saying many.

    Examples
    --------
    >>> counted(np.array([10.0, 20.0, 40.0])).tolist()
    [0.5, 1.0, 1.0]
    """
    return np.minimum(examples / max(float(np.median(examples)), 1.0), 1.0)


def trimmed(rows: Floats, votes: Numbers, share: float) -> Numbers:
    """Return the mean of each column by vote, without the *share* of the votes at either end.

    Parameters
    ----------
    rows
        float32 ``[N, coordinates]``.
    """
    voting = votes > _NOTHING
    columns, held = np.ascontiguousarray(rows[voting].T), votes[voting]
    order = np.argsort(columns, axis=1)
    held = held[order]
    until = np.cumsum(held, axis=1)
    cut = share * votes.sum()
    upper = np.minimum(until, votes.sum() - cut)
    counted = np.clip(upper - np.maximum(until - held, cut), 0.0, None)
    values = np.take_along_axis(columns, order, axis=1)
    mean: Numbers = (values * counted).sum(axis=1) / counted.sum(axis=1)
    return mean
