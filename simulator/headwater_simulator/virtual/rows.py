"""The examples of many trainings, one after the other; a batch of all is cut out at once.

Which rows a training takes in which step is what :meth:`headwater_agent.replay.Replay.course` says,
here for all of them in arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater_agent.replay import LOSS_ROWS, Places, Replay, orders

NAMES = ("window", "time", "label", "weight")
Cut = dict[str, NDArray[Any]]


class Rows:
    """The rows of trainings with batches of one size.

    After all rows comes a blank one, which stands in where a device has none to fill up with.

    Parameters
    ----------
    replays
        The trainings; at least one.
    """

    def __init__(self, replays: Sequence[Replay]) -> None:
        examples = [replay.examples for replay in replays]
        self._all = {name: _joined([getattr(one, name) for one in examples]) for name in NAMES}
        ends = np.cumsum([len(one.weight) for one in examples])
        label, weight = self._all["label"][:-1, 0], self._all["weight"][:-1]
        self._usable = np.flatnonzero(np.isfinite(label) & (weight > 0))
        bounds = np.searchsorted(self._usable, [0, *ends])
        self._first, self._counts = bounds[:-1], np.diff(bounds)
        self._blank = int(ends[-1])
        self._batch = replays[0].batch
        self._keys = np.array([replay.key for replay in replays], np.uint64)
        self._epochs = np.array([replay.epochs for replay in replays])
        self._in_pass = -(-self._counts // self._batch)
        self._order = np.zeros((len(replays), int(self._counts.max())), np.intp)
        self._drawn = np.full(len(replays), -1)

    def steps(self, most: Sequence[int | None]) -> Places:
        """Return how many steps each comes to, of so many at most, ``[M]``."""
        steps = self._in_pass * self._epochs
        limits = [n if limit is None else limit for n, limit in zip(steps, most, strict=True)]
        fewest: Places = np.minimum(steps, limits)
        return fewest

    def reorder(self, order: Places) -> None:
        """Put the trainings in another order."""
        for name in ("_first", "_counts", "_keys", "_epochs", "_in_pass"):
            setattr(self, name, getattr(self, name)[order])

    def learned(self, steps: Places) -> list[int]:
        """Return from how many rows each has learned after so many steps."""
        learned: list[int] = np.minimum(steps * self._batch, self._counts).tolist()
        return learned

    def step(self, number: int, active: int) -> Cut:
        """Return the rows of a step of the first trainings, ``[M, batch, ...]``."""
        passes, part = np.divmod(number, self._in_pass[:active])
        self._draw(passes + 1)
        places = part[:, None] * self._batch + np.arange(self._batch)
        missing = places >= self._counts[:active, None]
        places = np.where(missing, places[:, :1], places)
        taken = np.take_along_axis(self._order[:active], places, axis=1)
        return self._cut(self._usable[self._first[:active, None] + taken], missing)

    def mean_losses(self, losses: Callable[[Cut], NDArray[np.float32]]) -> list[float]:
        """Return the weighted mean loss of each over the rows that it is judged on.

        Parameters
        ----------
        losses
            Returns the loss of each row of a cut, in which all weights are 0.
        """
        rows, first, counts = self._judged()
        total, weight = np.zeros(len(counts)), np.zeros(len(counts))
        for start in range(0, int(counts.max()), self._batch):
            places = start + np.arange(self._batch)[None]
            missing = places >= counts[:, None]
            index = first[:, None] + np.where(missing, start, places)
            index = np.where(missing[:, :1], self._blank, rows[np.minimum(index, len(rows) - 1)])
            cut = self._cut(index, missing)
            real = cut["weight"].astype(np.float64)
            found = losses(cut | {"weight": np.zeros_like(cut["weight"])})
            with np.errstate(invalid="ignore", over="ignore"):
                total += (real * found.reshape(real.shape)).sum(axis=1)
            weight += real.sum(axis=1)
        return [t / w if w else 0.0 for t, w in zip(total.tolist(), weight.tolist(), strict=True)]

    def _judged(self) -> tuple[Places, Places, Places]:
        """Return rows that devices are judged on; where those of each begin, and how many."""
        counts = np.minimum(self._counts, LOSS_ROWS)
        if (counts == self._counts).all():
            return self._usable, self._first, counts
        parts = []
        for key, first, count in zip(self._keys, self._first, self._counts, strict=True):
            order = orders(key[None], count[None], 0)[0][:LOSS_ROWS]
            parts.append(self._usable[first + np.sort(order)])
        return np.concatenate(parts), np.cumsum(counts) - counts, counts

    def _draw(self, passes: Places) -> None:
        """Draw the orders of those that are in another pass than before."""
        anew = np.flatnonzero(self._drawn[: len(passes)] != passes)
        if len(anew):
            drawn = orders(self._keys[anew], self._counts[anew], passes[anew])
            self._order[anew, : drawn.shape[1]] = drawn
            self._drawn[anew] = passes[anew]

    def _cut(self, index: Places, missing: NDArray[np.bool_]) -> Cut:
        cut = {name: array[index] for name, array in self._all.items()}
        cut["weight"][missing] = 0.0
        return cut


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Put rows one after the other, and a blank one at the end."""
    return np.concatenate([*parts, np.zeros((1, *parts[0].shape[1:]), parts[0].dtype)])
