"""Training of many devices in one call: the training graph with a leading axis for devices.

Each device has its own rows, weights and optimiser state. Devices with fewer rows fill up with rows
of weight 0, which change nothing; those with fewer steps leave the stack when they are done. What a
device comes to is what it comes to alone (:meth:`headwater_agent.replay.Replay.run`) but for the
rounding of float32 in another order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_agent.events import Floats, Train, Trained
from headwater_agent.replay import Replay, Replayed
from headwater_models.graphs.serialisation import decode, encode
from headwater_models.graphs.stack import stack
from headwater_models.session import OpenGraph, Trainer
from headwater_simulator.virtual.rows import NAMES, Cut, Rows

MEMBERS = 256
"""Devices in one call at most, which bounds the memory that their rows and weights take. So few fit
into the processor's cache."""

Stacks = dict[str, NDArray[Any]]


@dataclass(slots=True, eq=False)
class Job:
    """A training that a device has begun; it comes to ``steps`` steps at most (None: to all)."""

    replay: Replay
    steps: int | None = None


@dataclass(slots=True)
class Tally:
    """How many computations were done for many devices in one call, and how many one by one."""

    stacked: int = 0
    looped: int = 0


class FleetTrainer:
    """The training graph of all devices.

    Parameters
    ----------
    train
        The bytes of ``train.onnx``.
    tally
        Counts what was done.
    threads
        Within one operator.
    one_by_one
        Never stack: each device takes each step alone.
    shared
        The names of the arrays that updates are made of, in the order in which they are packed;
        then what a training changed is packed along with the others'.
    """

    def __init__(
        self,
        train: bytes,
        tally: Tally,
        *,
        threads: int = 1,
        one_by_one: bool = False,
        shared: Sequence[str] = (),
    ) -> None:
        self._tally = tally
        self._shared = tuple(shared)
        self._alone = Trainer(train, threads)
        self._stacked = None if one_by_one else _open(train, threads)

    def replay(self, jobs: Sequence[Job]) -> list[Replayed]:
        """Do trainings; the results are in the order of the jobs."""
        found: dict[int, Replayed] = {}
        for places in _alike([_kind(job.replay) for job in jobs]):
            if self._stacked is None:
                self._tally.looped += len(places)
                found |= {i: _alone(jobs[i], self._alone) for i in places}
                continue
            self._tally.stacked += len(places)
            calls = list(_cut(places, MEMBERS))
            made = self._at_once(partial(self._replayed, jobs, self._stacked), calls)
            for some, replayed in zip(calls, made, strict=True):
                found |= zip(some, replayed, strict=True)
        return [found[i] for i in range(len(jobs))]

    def _replayed(self, jobs: Sequence[Job], graphs: _Graphs, some: list[int]) -> list[Replayed]:
        return _Cohort([jobs[i] for i in some], graphs, self._shared).run()

    def _at_once(
        self, call: Callable[[list[int]], list[Replayed]], calls: Sequence[list[int]]
    ) -> Iterable[list[Replayed]]:
        """Make calls on all processors; none depends on another, so the results stay the same."""
        if len(calls) == 1:
            return [call(calls[0])]
        with ThreadPoolExecutor(min(len(calls), len(os.sched_getaffinity(0)))) as pool:
            return list(pool.map(call, calls))

    def step(self, steps: Sequence[Train]) -> list[Trained]:
        """Take one optimiser step of each; the results are in the order of the steps."""
        found: dict[int, Trained] = {}
        for places in _alike([(len(one.batch.weight), one.learning_rate) for one in steps]):
            if self._stacked is None or len(places) == 1:
                self._count(len(places))
                found |= {i: self._taken(steps[i]) for i in places}
                continue
            for some in _cut(places, MEMBERS):
                self._tally.stacked += len(some)
                found |= zip(some, self._together([steps[i] for i in some]), strict=True)
        return [found[i] for i in range(len(steps))]

    def _count(self, alone: int) -> None:
        if self._stacked is None:
            self._tally.looped += alone
        else:
            self._tally.stacked += alone

    def _taken(self, step: Train) -> Trained:
        made = self._alone.step(step.batch, step.parameters, step.state, step.learning_rate)
        return Trained(*made)

    def _together(self, steps: Sequence[Train]) -> Iterator[Trained]:
        graph = self._stacked
        if graph is None:
            raise AssertionError("Nothing is stacked one by one.")
        rows = {name: np.stack([getattr(one.batch, name) for one in steps]) for name in NAMES}
        parameters = stacked([one.parameters for one in steps])
        state = stacked([one.state for one in steps])
        new = graph.stacked.step(rows, parameters, state, steps[0].learning_rate)
        for i, one in enumerate(steps):
            yield Trained(
                {name: new.get(f"new.{name}", parameters[name])[i] for name in one.parameters},
                {name: new[f"new.{name}"][i] for name in one.state},
                new["loss"][i],
            )


class _Open:
    """An open training graph: of one device, or of many, whose inputs but the rate are their own.

    Parameters
    ----------
    graph
        Its bytes.
    threads
        Within one operator.
    windows
        The shape of its windows.
    """

    def __init__(self, graph: bytes, threads: int, windows: str) -> None:
        self._graph = OpenGraph("train.onnx", graph, threads, windows=(windows,))
        forward = _with_outputs(graph, ["loss"])
        self._forward = OpenGraph("train.onnx", forward, threads, windows=(windows,))
        self._outputs = list(self._graph.outputs)

    def step(
        self, rows: Mapping[str, NDArray[Any]], parameters: Stacks, state: Stacks, rate: float
    ) -> Stacks:
        """Take a step of each member."""
        feeds = {**rows, **parameters, **state, "learning_rate": rate}
        return dict(zip(self._outputs, self._graph.run(feeds, self._outputs), strict=True))

    def losses(self, rows: Mapping[str, NDArray[Any]], parameters: Stacks, state: Stacks) -> Floats:
        """Return the loss of each row."""
        feeds = {**rows, **parameters, **state, "learning_rate": 0.0}
        needed = {name: feeds[name] for name in self._forward.inputs if name in feeds}
        found: Floats = self._forward.run(needed, ["loss"])[0]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Graphs:
    """The training graph of one device, and of many."""

    alone: _Open
    stacked: _Open


def _open(train: bytes, threads: int) -> _Graphs | None:
    """Return the graphs; None where an operator cannot be stacked."""
    own = decode(train).inputs.keys() - {"learning_rate"}
    try:
        many = stack(train, own)
    except UnsupportedError:
        return None
    return _Graphs(_Open(train, threads, "[N, T, C]"), _Open(many, threads, "[M, N, T, C]"))


def _with_outputs(graph: bytes, names: Sequence[str]) -> bytes:
    """Return the part of a graph that some outputs need: to judge takes no way back."""
    made = decode(graph)
    made.outputs = {name: made.outputs[name] for name in names}
    return encode(made, defaults=False)


class _Cohort:
    """Trainings with equal batches and rates, done together; the longest ones come first."""

    def __init__(self, jobs: Sequence[Job], graphs: _Graphs, shared: Sequence[str]) -> None:
        rows = Rows([job.replay for job in jobs])
        steps = rows.steps([job.steps for job in jobs])
        self._order = np.argsort(-steps, kind="stable")
        self._steps = steps[self._order]
        rows.reorder(self._order)
        self._rows = rows
        self._replays = [jobs[i].replay for i in self._order.tolist()]
        self._graphs, self._shared = graphs, shared
        self._rate = self._replays[0].learning_rate
        self._start = stacked([replay.start for replay in self._replays])
        self._parameters = dict(self._start)
        if not self._steps[-1]:
            self._parameters = {name: array.copy() for name, array in self._start.items()}
        self._zero = stacked([replay.state for replay in self._replays])

    def run(self) -> list[Replayed]:
        """Return what each comes to, in the order of the jobs."""
        before = self._losses_at_start()
        state = {name: array.copy() for name, array in self._zero.items()}
        base, share = self._held()
        for k in range(int(self._steps[0])):
            active = int(np.searchsorted(-self._steps, -k))
            rows = self._rows.step(k, active)
            these = {name: array[:active] for name, array in self._parameters.items()}
            moving = {name: array[:active] for name, array in state.items()}
            new = self._graphs.stacked.step(rows, these, moving, self._rate)
            for name, array in these.items():
                after = new.get(f"new.{name}", array)
                if name in base:
                    after = after + share * (base[name][:active] - after)
                _put(self._parameters, name, after)
            for name in state:
                _put(state, name, new[f"new.{name}"])
        return self._replayed(before, self._losses())

    def _replayed(self, before: Sequence[float], after: Sequence[float]) -> list[Replayed]:
        learned = self._rows.learned(self._steps)
        changes = self._changes()
        found: list[Replayed | None] = [None] * len(self._replays)
        for i, place in enumerate(self._order.tolist()):
            weights = {name: array[i] for name, array in self._parameters.items()}
            change = None if changes is None else changes[i]
            found[place] = Replayed(weights, learned[i], before[i], after[i], change)
        return [one for one in found if one is not None]

    def _changes(self) -> Floats | None:
        """Return the packed difference of each to its start, ``[M, n]``, where it is wanted."""
        if not self._shared:
            return None
        with np.errstate(invalid="ignore", over="ignore"):
            parts = [self._parameters[name] - self._start[name] for name in self._shared]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    def _held(self) -> tuple[Stacks, np.float32]:
        """Return what a proximal term pulls to, and how much of the way in each step."""
        holds = [replay.hold for replay in self._replays]
        first = holds[0]
        if first is None:
            return {}, np.float32(0)
        pull = self._rate * first.mu
        bases = stacked([hold.base for hold in holds if hold is not None])
        return bases, np.float32(pull / (1.0 + pull))

    def _losses_at_start(self) -> list[float]:
        """Return the losses before; where all start alike, as those of one device."""
        first = self._replays[0]
        if any(replay.start is not first.start for replay in self._replays[1:]):
            return self._losses()
        return self._rows.mean_losses(
            lambda rows: self._graphs.alone.losses(_flat(rows), first.start, first.state)
        )

    def _losses(self) -> list[float]:
        """Return the weighted mean loss of each over the rows that it judges on."""
        return self._rows.mean_losses(
            lambda rows: self._graphs.stacked.losses(rows, self._parameters, self._zero)
        )


def stacked(members: Sequence[Mapping[str, NDArray[Any]]]) -> Stacks:
    """Return arrays with a leading axis for members; where all share one it is repeated."""
    found: Stacks = {}
    for name, first in members[0].items():
        arrays = [member[name] for member in members]
        if all(array is first for array in arrays):
            found[name] = np.repeat(first[None], len(arrays), axis=0)
        else:
            found[name] = np.stack(arrays)
    return found


def _flat(rows: Cut) -> Cut:
    """Return the rows of all devices as those of one."""
    return {name: array.reshape(-1, *array.shape[2:]) for name, array in rows.items()}


def _put(stacks: Stacks, name: str, new: NDArray[Any]) -> None:
    """Take over what the first members became."""
    if len(new) == len(stacks[name]):
        stacks[name] = new
    else:
        if not stacks[name].flags.writeable:
            stacks[name] = stacks[name].copy()
        stacks[name][: len(new)] = new


def _alone(job: Job, trainer: Trainer) -> Replayed:
    """Do a training by itself, in as many steps."""
    if job.steps is None:
        return job.replay.run(trainer)
    left = iter(range(job.steps - 1, -1, -1))
    return job.replay.run(trainer, lambda: next(left) == 0)


def _kind(replay: Replay) -> tuple[int, float, float | None]:
    """Return what trainings that are done together have in common."""
    return replay.batch, replay.learning_rate, None if replay.hold is None else replay.hold.mu


def _alike(kinds: Sequence[Any]) -> Iterator[list[int]]:
    """Yield the places of equal kinds, in the order in which each kind comes first."""
    first = {kind: i for i, kind in reversed(list(enumerate(kinds)))}
    places = sorted(range(len(kinds)), key=lambda i: (first[kinds[i]], i))
    for _, group in groupby(places, key=lambda i: first[kinds[i]]):
        yield list(group)


def _cut(places: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(places), size):
        yield places[start : start + size]
