"""What a rule remembers of devices: the signs and the spread of their updates, and their standing.

What one round shows of a device is little; what it wants, it wants again. So the signs of a
device's updates and the squares of its weights' shares in them are summed from merge to merge, at
a sample of the model's weights: honest noise cancels, intent does not. The sums fade, by
:data:`_FADES` a merge.

Who was in a heap in a third of its merges, as they fade, has no vote in the others: attackers
whose model already does what they want look like anyone else. A device that enrols under a new
name begins anew.

The sample is drawn at the first merge, from what was merged, which no single device knows, and is
kept. All of it is a :data:`~.strategy.State`: nothing changes when a merge is only tried, and a
candidate that is refused leaves no trace. At most :data:`DEVICES` are remembered, those that
were merged last.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater_coordinator.strategies.strategy import State
from headwater_coordinator.strategies.updates import Floats, Numbers, Updates

SAMPLE = 4_096
"""Weights at which updates are remembered; of a smaller model, all."""

DEVICES = 1_000

_FADES = 0.98
_OFTEN = 1 / 3
_MERGES, _WEIGHTS, _DEVICE = "merges", "weights", "device/"
_OWN = 3
"""Numbers that stand before a device's sums: merges, those in a heap, and the last merge."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What is known of the devices of one merge, this merge included, and of the others.

    ``rows`` are float32 ``[N, 3 + 2 K]``, in the order of the updates.
    """

    number: int
    weights: NDArray[np.intp]
    nodes: tuple[str, ...]
    rows: Floats
    others: State

    @property
    def signs(self) -> Floats:
        """The summed signs of each device's updates, float32 ``[N, K]``."""
        return self.rows[:, _OWN : _OWN + len(self.weights)]

    @property
    def energies(self) -> Floats:
        """The summed squares of each device's updates, as shares, float32 ``[N, K]``."""
        return self.rows[:, _OWN + len(self.weights) :]

    def judged(self, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Note who is in a heap; return who has no vote: those, and who was in one often.

        Where that would be more than half of all, only those of now.
        """
        self.rows[:, 1] += found
        often = found | (self.rows[:, 1] >= _OFTEN * self.rows[:, 0])
        return often if 2 * often.sum() <= len(often) else found

    def state(self) -> State:
        """Return what is to be kept."""
        keys = (_DEVICE + node for node in self.nodes)
        known = {**self.others, **dict(zip(keys, self.rows, strict=True))}
        newest = sorted(known, key=lambda key: -known[key][2])[:DEVICES]
        return {
            _MERGES: np.array(float(self.number)),
            _WEIGHTS: self.weights.astype(np.float64),
            **{key: known[key] for key in newest},
        }


def followed(state: State, updates: Updates, squares: Numbers) -> Memory:
    """Return what is known of devices after their updates of this merge.

    Parameters
    ----------
    state
        As :meth:`Memory.state` gave it; what was remembered of another model counts for nothing.
    updates
        Of this merge.
    squares
        Their squared norms, float64 ``[N]``.
    """
    known = dict(state)
    if len(known.get(_WEIGHTS, ())) != min(SAMPLE, updates.size):
        known = {_WEIGHTS: _drawn(updates).astype(np.float64)}
    weights = known.pop(_WEIGHTS).astype(np.intp)
    number = int(known.pop(_MERGES, np.zeros(()))) + 1
    nodes = tuple(one.node for one in updates.about)
    before = np.zeros((len(nodes), _OWN + 2 * len(weights)), np.float32)
    for index, node in enumerate(nodes):
        before[index] = known.pop(_DEVICE + node, before[index])
    lengths = np.sqrt(np.where(squares > 0, squares, 1.0) / updates.size)
    sampled = _sampled(updates, weights) / lengths[:, None].astype(np.float32)
    own = np.zeros((len(nodes), _OWN), np.float32)
    own[:, 0] = 1
    rows = np.float32(_FADES) * before + np.hstack((own, np.sign(sampled), sampled**2))
    rows[:, 2] = number
    return Memory(number, weights, nodes, rows, known)


def _drawn(updates: Updates) -> NDArray[np.intp]:
    """Draw the weights of the sample, from all updates in whatever order."""
    if updates.size <= SAMPLE:
        return np.arange(updates.size)
    seed = sum(zlib.crc32(updates.source.vector(i).tobytes()) for i in range(len(updates)))
    drawn = np.random.default_rng(seed).choice(updates.size, SAMPLE, replace=False)
    return np.sort(drawn)


def _sampled(updates: Updates, weights: NDArray[np.intp]) -> Floats:
    """Return the updates at some weights, ascending: float32 ``[N, K]``."""
    found = np.empty((len(updates), len(weights)), np.float32)
    for where, rows in updates.stretches():
        first, last = np.searchsorted(weights, (where.start, where.stop))
        found[:, first:last] = rows[:, weights[first:last] - where.start]
    return found
