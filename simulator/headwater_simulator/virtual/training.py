"""Training of many devices in one call: the training graph with a leading axis for devices.

Each device has its own rows, weights and optimiser state. Devices with fewer rows fill up with rows
of weight 0, which change nothing; those with fewer steps leave the stack when they are done. What a
device comes to is what it comes to alone (:meth:`headwater_agent.replay.Replay.run`) but for the
rounding of float32 in another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_agent.events import Batch, Floats, Train, Trained
from headwater_agent.replay import Replay, Replayed
from headwater_models.graphs.serialisation import decode, encode
from headwater_models.graphs.stack import stack
from headwater_models.session import OpenGraph, Trainer

MEMBERS = 1_024
"""Devices in one call at most, which bounds the memory that their rows and weights take."""

_ROWS = ("window", "time", "label", "weight")
Stacks = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
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
    """

    def __init__(
        self, train: bytes, tally: Tally, *, threads: int = 1, one_by_one: bool = False
    ) -> None:
        self._tally = tally
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
            for some in _cut(places, MEMBERS):
                self._tally.stacked += len(some)
                cohort = _Cohort([jobs[i] for i in some], self._stacked)
                found |= zip(some, cohort.run(), strict=True)
        return [found[i] for i in range(len(jobs))]

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
        rows = {name: np.stack([getattr(one.batch, name) for one in steps]) for name in _ROWS}
        parameters = stacked([one.parameters for one in steps])
        state = stacked([one.state for one in steps])
        new = graph.step(rows, parameters, state, steps[0].learning_rate)
        for i, one in enumerate(steps):
            yield Trained(
                {name: new.get(f"new.{name}", parameters[name])[i] for name in one.parameters},
                {name: new[f"new.{name}"][i] for name in one.state},
                new["loss"][i],
            )


class _Stacked:
    """The open graph; all its inputs but the learning rate are the devices' own."""

    def __init__(self, graph: bytes, threads: int) -> None:
        self._graph = OpenGraph("train.onnx", graph, threads, windows=("[M, N, T, C]",))
        forward = _with_outputs(graph, ["loss"])
        self._forward = OpenGraph("train.onnx", forward, threads, windows=("[M, N, T, C]",))
        self._outputs = list(self._graph.outputs)

    def step(
        self, rows: Mapping[str, NDArray[Any]], parameters: Stacks, state: Stacks, rate: float
    ) -> Stacks:
        """Take a step of each member."""
        feeds = {**rows, **parameters, **state, "learning_rate": rate}
        return dict(zip(self._outputs, self._graph.run(feeds, self._outputs), strict=True))

    def losses(self, rows: Mapping[str, NDArray[Any]], parameters: Stacks, state: Stacks) -> Floats:
        """Return the loss of each row, ``[M, N]``."""
        feeds = {**rows, **parameters, **state, "learning_rate": 0.0}
        needed = {name: feeds[name] for name in self._forward.inputs if name in feeds}
        found: Floats = self._forward.run(needed, ["loss"])[0]
        return found


def _open(train: bytes, threads: int) -> _Stacked | None:
    """Return the graph of many devices; None where an operator of it cannot be stacked."""
    own = decode(train).inputs.keys() - {"learning_rate"}
    try:
        return _Stacked(stack(train, own), threads)
    except UnsupportedError:
        return None


def _with_outputs(graph: bytes, names: Sequence[str]) -> bytes:
    """Return the part of a graph that some outputs need: to judge takes no way back."""
    made = decode(graph)
    made.outputs = {name: made.outputs[name] for name in names}
    return encode(made, defaults=False)


class _Cohort:
    """Trainings with equal batches and rates, done together; the longest ones come first."""

    def __init__(self, jobs: Sequence[Job], graph: _Stacked) -> None:
        courses = [job.replay.course() for job in jobs]
        steps = [course.steps[: job.steps] for course, job in zip(courses, jobs, strict=True)]
        self._order = sorted(range(len(jobs)), key=lambda i: -len(steps[i]))
        self._steps = [steps[i] for i in self._order]
        self._courses = [courses[i] for i in self._order]
        self._replays = [jobs[i].replay for i in self._order]
        self._graph = graph
        self._rows = _Rows([replay.examples for replay in self._replays])
        self._batch, self._rate = self._replays[0].batch, self._replays[0].learning_rate
        self._parameters = stacked([replay.start for replay in self._replays])
        self._zero = stacked([replay.state for replay in self._replays])

    def run(self) -> list[Replayed]:
        """Return what each comes to, in the order of the jobs."""
        before = self._losses()
        state = {name: array.copy() for name, array in self._zero.items()}
        base, share = self._held()
        longest = len(self._steps[0])
        for k in range(longest):
            active = sum(len(steps) > k for steps in self._steps)
            rows = self._rows.batch([steps[k] for steps in self._steps[:active]], self._batch)
            these = {name: array[:active] for name, array in self._parameters.items()}
            moving = {name: array[:active] for name, array in state.items()}
            new = self._graph.step(rows, these, moving, self._rate)
            for name, array in these.items():
                after = new.get(f"new.{name}", array)
                if name in base:
                    after = after + share * (base[name][:active] - after)
                _put(self._parameters, name, after)
            for name in state:
                _put(state, name, new[f"new.{name}"])
        after_losses = self._losses()
        made = [self._replayed(i, before[i], after_losses[i]) for i in range(len(self._order))]
        return [made[place] for place in np.argsort(self._order)]

    def _replayed(self, i: int, before: float, after: float) -> Replayed:
        weights = {name: array[i] for name, array in self._parameters.items()}
        learned = min(sum(map(len, self._steps[i])), self._courses[i].usable)
        return Replayed(weights, learned, before, after)

    def _held(self) -> tuple[Stacks, np.float32]:
        """Return what a proximal term pulls to, and how much of the way in each step."""
        holds = [replay.hold for replay in self._replays]
        first = holds[0]
        if first is None:
            return {}, np.float32(0)
        pull = self._rate * first.mu
        bases = stacked([hold.base for hold in holds if hold is not None])
        return bases, np.float32(pull / (1.0 + pull))

    def _losses(self) -> list[float]:
        """Return the weighted mean loss of each over the rows that it judges on."""
        total, weight = np.zeros(len(self._order)), np.zeros(len(self._order))
        judged = [course.judged for course in self._courses]
        most = max(map(len, judged), default=0)
        for start in range(0, most, self._batch):
            some = [rows[start : start + self._batch] for rows in judged]
            rows = self._rows.batch(some, self._batch)
            real = rows["weight"].astype(np.float64)
            silent = rows | {"weight": np.zeros_like(rows["weight"])}
            losses = self._graph.losses(silent, self._parameters, self._zero)
            with np.errstate(invalid="ignore", over="ignore"):
                total += (real * losses.reshape(real.shape)).sum(axis=1)
            weight += real.sum(axis=1)
        return [t / w if w else 0.0 for t, w in zip(total.tolist(), weight.tolist(), strict=True)]


class _Rows:
    """The examples of all members, one after the other; a batch is cut out of them at once.

    After them comes a blank row, which stands in where a member has none to fill up with.
    """

    def __init__(self, examples: Sequence[Batch]) -> None:
        self._all = {name: _joined([getattr(one, name) for one in examples]) for name in _ROWS}
        sizes = [len(one.weight) for one in examples]
        self._blank = sum(sizes)
        self._offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)

    def batch(self, rows: Sequence[NDArray[np.intp]], size: int) -> dict[str, NDArray[Any]]:
        """Return some rows of the first members, ``[M, size, ...]``; the rest has weight 0."""
        index = np.empty((len(rows), size), np.intp)
        missing = np.zeros((len(rows), size), np.bool_)
        for member, some in enumerate(rows):
            count = len(some)
            index[member, :count] = some
            if count < size:
                index[member, count:] = some[0] if count else 0
                missing[member, count:] = True
        index += self._offsets[: len(rows), None]
        index[missing[:, 0]] = self._blank
        cut = {name: array[index] for name, array in self._all.items()}
        cut["weight"][missing] = 0.0
        return cut


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


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Put rows one after the other, and a blank one at the end."""
    return np.concatenate([*parts, np.zeros((1, *parts[0].shape[1:]), parts[0].dtype)])


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
