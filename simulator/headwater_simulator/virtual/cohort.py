"""Trainings of many devices in one call: each has rows, weights and optimiser state of its own.

What a device comes to is what it comes to alone (:meth:`headwater_agent.replay.Replay.run`) but for
the rounding of float32 in another order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater_agent.replay import Places, Replay, Replayed
from headwater_models.arrays import Arrays
from headwater_models.session import OpenGraph
from headwater_simulator.virtual.rows import Batches, Rows, mean_losses

Stacks = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A call that is under way, and what is needed to read what comes out of it."""

    outputs: Future[list[NDArray[Any]]]
    learned: Sequence[int]
    judged: Batches


class Cohort:
    """Trainings with equal batches and rates, done in one call of a graph of whole replays.

    Parameters
    ----------
    replays
        The trainings.
    counts, steps
        How many rows each learns from, and how many steps it comes to, ``[M]``.
    graph
        Made by :func:`headwater_models.graphs.replaying.replay_many`, with what all of the
        trainings hold, and with what they begin in common where they begin :func:`alike`.
    whole
        Whether the weights are wanted, too, where the graph tells the change of those shared.

    Attributes
    ----------
    made
        What each comes to, once it was read.
    """

    def __init__(
        self,
        replays: Sequence[Replay],
        counts: Places,
        steps: Places,
        graph: OpenGraph,
        *,
        whole: bool,
    ) -> None:
        self._replays, self._counts, self._steps = replays, counts, steps
        self._graph = graph
        self._names = list(replays[0].start) if whole or "change" not in graph.outputs else []
        told = ("before", "after", "change", *(f"new.{name}" for name in self._names))
        self._outputs = [name for name in told if name in graph.outputs]
        self._running: _Running | None = None
        self.made: list[Replayed] = []

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self._steps)

    def begin(self, pool: Executor) -> bool:
        """Lay out what the call takes, and let it be made; False where that was done before."""
        if self._running is not None or self.made:
            return False
        timed = "time" in self._graph.inputs
        rows = Rows(self._replays, self._counts, self._steps, timed=timed)
        judged = rows.judged()
        feeds = self._feeds(rows) | {"judged": judged.places}
        outputs = pool.submit(self._graph.run, feeds, self._outputs)
        self._running = _Running(outputs, rows.learned, judged)
        return True

    def _feeds(self, rows: Rows) -> Stacks:
        first, course = self._replays[0], rows.course()
        starts = [replay.start for replay in self._replays]
        feeds = {
            **rows.arrays,
            **(first.start if alike(self._replays) else stacked(starts)),
            **stacked([replay.state for replay in self._replays]),
            "learning_rate": np.array(first.learning_rate, np.float32),
            "steps": course.places,
            "weight": course.weight,
        }
        holds = [replay.hold for replay in self._replays if replay.hold is not None]
        if holds:
            pull = first.learning_rate * holds[0].mu
            goes_on = course.weight.any(axis=2)
            feeds["pull"] = np.where(goes_on, np.float32(pull / (1.0 + pull)), np.float32(0))
            bases = stacked([hold.base for hold in holds])
            feeds |= {f"hold.{name}": array for name, array in bases.items()}
        return feeds

    def read(self) -> None:
        """Read what each comes to, as soon as it is there; it must have begun."""
        if self._running is not None:
            self.made, self._running = self._read(self._running), None

    def _read(self, running: _Running) -> list[Replayed]:
        replays, self._replays = self._replays, ()
        found = dict(zip(self._outputs, running.outputs.result(), strict=True))
        before, after = mean_losses(running.judged, found["before"], found["after"])
        changes = found.get("change", [None] * len(replays))
        finite = "change" in found and bool(np.isfinite(found["change"]).all())
        weights = self._weights(replays, found)
        told = weights, running.learned, before, after, changes, repeat(finite)
        return list(map(Replayed, *told))

    def _weights(self, replays: Sequence[Replay], found: Stacks) -> Iterable[Arrays]:
        names = self._names
        if not names:
            return repeat({}, len(replays))
        stacks = [found.get(f"new.{n}", [one.start[n] for one in replays]) for n in names]
        return (dict(zip(names, arrays, strict=True)) for arrays in zip(*stacks, strict=True))


def alike(replays: Sequence[Replay]) -> bool:
    """Say whether trainings begin with the same weights."""
    start = replays[0].start
    return all(one.start is start for one in replays)


def stacked(members: Sequence[Mapping[str, NDArray[Any]]]) -> Stacks:
    """Return arrays with a leading axis for members; where all share one it is repeated."""
    first, count = members[0], len(members)
    if all(member is first for member in members):
        return {name: np.repeat(array[None], count, axis=0) for name, array in first.items()}
    return {name: np.stack([member[name] for member in members]) for name in first}
