"""The examples of many trainings, one after the other, and which of them are taken when.

Which rows a training takes in which step is what :meth:`headwater_agent.replay.Replay.course` says,
here for all of them in arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Floats
from headwater_agent.replay import LOSS_ROWS, Places, Replay, orders


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """Rows of members by batches: ``places`` and ``weight``, ``[B, M, N]``.

    Where a member has none to fill up with one of its own stands in, with weight 0.
    """

    places: Places
    weight: Floats


def usable_counts(replays: Sequence[Replay]) -> Places:
    """Return how many rows of each training can be learned from, ``[K]``; at least one training."""
    known = [replay.usable for replay in replays]
    if None not in known:
        return np.array(known, np.intp)
    examples = [replay.examples for replay in replays]
    ends = np.cumsum([0, *(len(one.weight) for one in examples)])
    label = np.concatenate([one.label for one in examples])[:, 0]
    weight = np.concatenate([one.weight for one in examples])
    usable = np.flatnonzero(np.isfinite(label) & (weight > 0))
    counts: Places = np.diff(np.searchsorted(usable, ends))
    return counts


class Rows:
    """The rows of trainings with batches of one size.

    After all rows comes a blank one, which stands in for those of a device that has none.

    Parameters
    ----------
    replays
        The trainings; at least one.
    counts, steps
        How many rows of each can be learned from, and how many steps it comes to.
    timed
        Whether their times are wanted.

    Attributes
    ----------
    arrays
        Window ``[R, T, C]``, label ``[R, 1]`` and time ``[R]`` of all.
    """

    def __init__(
        self, replays: Sequence[Replay], counts: Places, steps: Places, *, timed: bool = True
    ) -> None:
        examples = [replay.examples for replay in replays]
        label = _joined([one.label for one in examples])
        self.arrays = {"window": _joined([one.window for one in examples]), "label": label}
        if timed:
            self.arrays["time"] = _joined([one.time for one in examples])
        self._weight = _joined([one.weight for one in examples])
        self._usable: Places | None = None
        """Those that can be learned from, then the blank one; None where all can."""
        if int(counts.sum()) < len(self._weight) - 1:
            usable = np.isfinite(label[:, 0]) & (self._weight > 0)
            usable[-1] = True
            self._usable = np.flatnonzero(usable)
        self._counts, self._steps, self._batch = counts, steps, replays[0].batch
        self._first = _begins(counts)
        self._keys = np.array([replay.key for replay in replays], np.uint64)

    @property
    def learned(self) -> list[int]:
        """From how many rows each has learned."""
        learned: list[int] = np.minimum(self._steps * self._batch, self._counts).tolist()
        return learned

    def course(self) -> Batches:
        """Return the rows of all steps; a device that has no step left takes some with weight 0."""
        longest, members = int(self._steps.max()), len(self._steps)
        in_pass = np.maximum(-(-self._counts // self._batch), 1)
        order = np.zeros((members, int(self._counts.max())), np.intp)
        drawn = np.zeros(members, np.intp)
        numbers = np.arange(longest)[:, None]
        passes, part = np.divmod(np.minimum(numbers, self._steps - 1), in_pass)
        places = part[:, :, None] * self._batch + np.arange(self._batch)
        there = (places < self._counts[:, None]) & (numbers < self._steps)[:, :, None]
        places *= there
        places += np.arange(members)[:, None] * order.shape[1]
        for some in _stretches(passes):
            self._draw(order, drawn, passes[some.start] + 1)
            places[some] = order.take(places[some])
        places += self._first[:, None]
        if self._usable is not None:
            places = self._usable.take(places)
        return Batches(places, np.where(there, self._weight.take(places), 0))

    def _draw(self, order: Places, drawn: Places, passes: Places) -> None:
        """Draw the orders of those that are in another pass than before."""
        anew = np.flatnonzero(drawn != passes)
        if len(anew):
            found = orders(self._keys[anew], self._counts[anew], passes[anew])
            order[anew, : found.shape[1]] = found
            drawn[anew] = passes[anew]

    def judged(self) -> Batches:
        """Return the rows whose mean loss is told."""
        rows, counts = self._judged()
        batches = max(-(-int(counts.max()) // self._batch), 1)
        offset = np.arange(batches * self._batch).reshape(batches, 1, self._batch)
        there = offset < counts[:, None]
        places = _begins(counts)[:, None] + offset * there
        if rows is not None:
            places = rows.take(places)
        return Batches(places, np.where(there, self._weight.take(places), 0))

    def _judged(self) -> tuple[Places | None, Places]:
        """Return rows that devices are judged on, then the blank one; and how many each has.

        None stands for all rows.
        """
        counts = np.minimum(self._counts, LOSS_ROWS)
        if (counts == self._counts).all():
            return self._usable, counts
        usable = np.arange(len(self._weight)) if self._usable is None else self._usable
        parts = []
        for key, first, count in zip(self._keys, self._first, self._counts, strict=True):
            order = orders(key[None], count[None], 0)[0][:LOSS_ROWS]
            parts.append(usable[first + np.sort(order)])
        return np.concatenate([*parts, usable[-1:]]), counts


def mean_losses(judged: Batches, *losses: Floats) -> list[list[float]]:
    """Return weighted means of losses ``[B, M, N]`` for each member; 0 where it has no row."""
    weight = judged.weight.astype(np.float64)
    whole = weight.sum(axis=(0, 2))
    whole[whole <= 0] = 1
    with np.errstate(invalid="ignore", over="ignore"):
        return [((weight * one).sum(axis=(0, 2)) / whole).tolist() for one in losses]


def _stretches(passes: Places) -> Iterator[slice]:
    """Cut steps, whose passes are ``[S, M]``, where a device goes on to another pass."""
    cuts = np.flatnonzero((passes[1:] != passes[:-1]).any(axis=1)) + 1
    for start, stop in pairwise([0, *cuts.tolist(), len(passes)]):
        if start < stop:
            yield slice(start, stop)


def _begins(counts: Places) -> Places:
    """Return where the rows of each begin; for those that have none, where the blank one is."""
    begins: Places = np.where(counts > 0, np.cumsum(counts) - counts, counts.sum())
    return begins


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Put rows one after the other, and a blank one at the end."""
    return np.concatenate([*parts, np.zeros((1, *parts[0].shape[1:]), parts[0].dtype)])
