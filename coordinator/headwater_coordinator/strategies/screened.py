"""The rule for fleets with devices that nobody vouches for.

Four steps, each against what the others let through. All but the last work on the inner products
of pairs, so a merge holds what Krum's does.

1. No update is longer than the median one: it is shortened to that norm.
2. Copies share one vote. Attackers who agree on what to send are nearer to each other than honest
   devices ever are, whose data differ; and such a bundle in the middle is what draws the nearest
   neighbours of everyone (the thought of Fung, Yoon and Beschastnikh, *The Limitations of
   Federated Learning in Sybil Settings*, RAID 2020).
3. What sticks out most along the direction of greatest variance loses its vote, a few at a time
   (Shejwalkar and Houmansadr, *Manipulating the Byzantine*, NDSS 2021: Divide and Conquer).
4. What is left is mixed with its nearest neighbours and averaged by coordinate without either end
   (Allouah et al., *Fixing by Mixing*, AISTATS 2023; Yin et al., ICML 2018).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_coordinator.strategies.strategy import Merged, State, Strategy, moved
from headwater_coordinator.strategies.updates import Floats, Mixed, Numbers, Updates, distances

COPY = 0.5
"""Share of the median distance within which two updates count as copies."""

_SCREENED = 0.5
"""Share of the attackers that the third step is to find; the fourth is for the rest."""

_PASSES = 4
_NOTHING = 1e-9


class Screened(Strategy, frozen=True):
    """Copies share a vote, what sticks out has none, the rest is mixed and trimmed.

    ``malicious_share`` is the share of the updates that attackers may send.
    """

    malicious_share: Annotated[float, msgspec.Meta(ge=0, le=0.4)] = 0.3

    @property
    def least(self) -> int:
        """So many that a median and a neighbourhood mean something."""
        return 5

    def merge(self, shared: Floats, updates: Updates, state: State) -> Merged:
        """Move by what is left of the updates; nothing is remembered."""
        del state
        self.check_enough(updates)
        products = updates.products()
        lengths = shortened(products)
        products = products * np.outer(lengths, lengths)
        votes = screened(products, shared_votes(products), _SCREENED * self.malicious_share)
        shares = mixing(products, votes, 1.0 - self.malicious_share)
        mixed = Mixed(updates, shares * lengths, products)
        step = np.empty(updates.size)
        for where, rows in mixed.stretches():
            step[where] = trimmed(rows, votes, self.malicious_share)
        return Merged(moved(shared, step))


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


def screened(products: Numbers, votes: Numbers, share: float) -> Numbers:
    """Return the votes without the *share* of them that sticks out most along one direction.

    The direction is that of the greatest variance of what has a vote; it is found anew for each
    quarter that is taken.
    """
    votes, taken = votes.copy(), share * votes.sum() / _PASSES
    for _ in range(_PASSES):
        share_of = votes / votes.sum()
        means = products @ share_of
        centred = products - means[:, None] - means[None, :] + share_of @ means
        roots = np.sqrt(votes)
        _, vectors = np.linalg.eigh(roots[:, None] * centred * roots[None, :])
        out = np.where(votes > 0, (centred @ (roots * vectors[:, -1])) ** 2, -1.0)
        votes = _without(votes, np.argsort(-out, kind="stable"), taken)
    return votes


def mixing(products: Numbers, votes: Numbers, share: float) -> Numbers:
    """Return how each update is mixed, ``[N, N]``: of its nearest, by vote, that hold a share."""
    apart = distances(products)
    np.fill_diagonal(apart, -1.0)
    order = np.argsort(apart, axis=1, kind="stable")
    held = votes[order]
    until = np.cumsum(held, axis=1)
    counted = np.clip(np.minimum(until, share * votes.sum()) - (until - held), 0.0, None)
    shares = np.zeros_like(apart)
    np.put_along_axis(shares, order, counted / counted.sum(axis=1, keepdims=True), axis=1)
    return shares


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


def _without(votes: Numbers, order: NDArray[np.intp], amount: float) -> Numbers:
    """Return the votes less an amount, taken in the order of indices."""
    before = np.cumsum(votes[order]) - votes[order]
    left = votes.copy()
    left[order] -= np.clip(amount - before, 0.0, votes[order])
    left[left < _NOTHING] = 0.0
    return left
