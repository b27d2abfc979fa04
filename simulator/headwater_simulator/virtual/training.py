"""Training of many devices: those that go together are done in one call."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple
from weakref import WeakSet

import msgspec
import numpy as np

from headwater.errors import UnsupportedError
from headwater_agent.events import Batch, Floats, Train, Trained
from headwater_agent.replay import Replay, Replayed
from headwater_agent.stacking import join
from headwater_models.arrays import Arrays
from headwater_models.graphs.replaying import replay_many
from headwater_models.graphs.serialisation import decode
from headwater_models.graphs.stack import stack
from headwater_models.session import OpenGraph, Trainer
from headwater_simulator.virtual.cohort import Cohort, alike, stacked
from headwater_simulator.virtual.rows import usable_counts

MEMBERS = 128
"""Devices in one call at most: what is computed for them then stays in the processor's cache."""

WINDOWS_BYTES = 2**22
"""Bytes of the windows of one call at most, but for a device that has more by itself."""

AHEAD = 4
"""Calls that are laid out before their results are needed; the others' rows are not copied yet."""

Promise = Callable[[], Replayed]
"""Returns what a training comes to, and waits for it where need be."""


class Single(NamedTuple):
    """One step that a device is to take."""

    batch: Batch
    rate: float
    parameters: Arrays
    state: Arrays


Stepped = tuple[Arrays, Arrays, Floats]
"""New parameters, new state, and each row's loss before the step."""


class Job(msgspec.Struct, eq=False, gc=False):
    """A training that a device has begun; it comes to ``steps`` steps at most (None: to all)."""

    replay: Replay
    steps: int | None = None


@dataclass(slots=True)
class Tally:
    """How many computations were done for many devices in one call, and how many one by one."""

    stacked: int = 0
    looped: int = 0


def all_processors() -> ThreadPoolExecutor:
    """Return threads, one for each processor, to make calls of graphs on while Python goes on."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)), "training")


def promised(made: Sequence[Replayed]) -> list[Promise]:
    """Return promises that are kept already."""
    return [partial(made.__getitem__, i) for i in range(len(made))]


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

    Attributes
    ----------
    alone
        The graph of one device.
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
        self._train, self._tally, self._threads = train, tally, threads
        self._shared, self._one_by_one = tuple(shared), one_by_one
        self.alone = Trainer(train, threads)
        self._replays: dict[tuple[tuple[str, ...], ...], OpenGraph | None] = {}

    def replay(self, jobs: Sequence[Job]) -> list[Replayed]:
        """Do trainings; the results are in the order of the jobs."""
        with all_processors() as pool:
            return [promise() for promise in self.begin(jobs, Line(pool), whole=True)]

    def begin(self, jobs: Sequence[Job], line: Line, *, whole: bool = False) -> list[Promise]:
        """Begin trainings; the promises are in the order of the jobs.

        Which go together follows from the jobs alone, so that results are the same on any number
        of threads.

        Parameters
        ----------
        jobs
            Those whose results are needed first come first.
        line
            Makes the calls.
        whole
            Whether the weights are wanted, too, where the change of those shared is told.
        """
        if not jobs:
            return []
        found: dict[int, Promise] = {}
        counts = usable_counts([job.replay for job in jobs])
        steps = list(map(_steps, jobs, counts.tolist()))
        for places in _alike(map(_kind, jobs, steps)):
            for some in _calls(places, jobs):
                replays, taken = [jobs[i].replay for i in some], np.array([steps[i] for i in some])
                graph = self._whole(replays)
                if graph is None:
                    self._tally.looped += len(some)
                    made = promised([_alone(jobs[i], self.alone) for i in some])
                    found |= zip(some, made, strict=True)
                    continue
                self._tally.stacked += len(some)
                cohort = Cohort(replays, counts[some], taken, graph, whole=whole)
                found |= zip(some, line.join(cohort), strict=True)
        return [found[i] for i in range(len(jobs))]

    def train(self, wanted: Sequence[Train]) -> list[Trained]:
        """Take the steps of each, the first ones together, then the second ones, and so on.

        The results are in the order of what is wanted.
        """
        courses = [list(one.steps()) for one in wanted]
        now = [(one.parameters, one.state) for one in wanted]
        losses: list[list[Floats]] = [[] for _ in wanted]
        for number in range(max(map(len, courses), default=0)):
            places = [i for i, course in enumerate(courses) if number < len(course)]
            steps = [Single(*courses[i][number], *now[i]) for i in places]
            for i, (parameters, state, loss) in zip(places, self._step(steps), strict=True):
                now[i] = parameters, state
                losses[i].append(loss)
        return [Trained(*one, join(own)) for one, own in zip(now, losses, strict=True)]

    def _step(self, steps: Sequence[Single]) -> list[Stepped]:
        found: dict[int, Stepped] = {}
        for places in _alike([(len(one.batch.weight), one.rate) for one in steps]):
            if self._stacked is None or len(places) == 1:
                self._count(len(places))
                found |= {i: self._taken(steps[i]) for i in places}
                continue
            for some in _cut(places, MEMBERS):
                self._tally.stacked += len(some)
                together = self._together(self._stacked, [steps[i] for i in some])
                found |= zip(some, together, strict=True)
        return [found[i] for i in range(len(steps))]

    def _count(self, alone: int) -> None:
        if self._stacked is None:
            self._tally.looped += alone
        else:
            self._tally.stacked += alone

    def _taken(self, step: Single) -> Stepped:
        return self.alone.step(step.batch, step.parameters, step.state, step.rate)

    def _together(self, graph: OpenGraph, steps: Sequence[Single]) -> Iterator[Stepped]:
        names, outputs = ("window", "time", "label", "weight"), list(graph.outputs)
        parameters = stacked([one.parameters for one in steps])
        feeds = {
            **{name: np.stack([getattr(one.batch, name) for one in steps]) for name in names},
            **parameters,
            **stacked([one.state for one in steps]),
            "learning_rate": steps[0].rate,
        }
        new = dict(zip(outputs, graph.run(feeds, outputs), strict=True))
        for i, one in enumerate(steps):
            yield (
                {name: new.get(f"new.{name}", parameters[name])[i] for name in one.parameters},
                {name: new[f"new.{name}"][i] for name in one.state},
                new["loss"][i],
            )

    @cached_property
    def _stacked(self) -> OpenGraph | None:
        """The graph of single steps; None where an operator cannot be stacked."""
        own = decode(self._train).inputs.keys() - {"learning_rate"}
        return self._open(lambda: stack(self._train, own), "[M, N, T, C]")

    def _whole(self, replays: Sequence[Replay]) -> OpenGraph | None:
        """Return the graph of whole replays; None where an operator cannot be stacked."""
        start, hold = replays[0].start, replays[0].hold
        held = () if hold is None else tuple(hold.base)
        same = tuple(start) if alike(replays) else ()
        if (held, same) not in self._replays:
            self._replays[held, same] = self._open(
                lambda: replay_many(self._train, packed=self._shared, held=held, alike=same),
                "[R, T, C]",
            )
        return self._replays[held, same]

    def _open(self, made: Callable[[], bytes], windows: str) -> OpenGraph | None:
        if self._one_by_one:
            return None
        try:
            graph = made()
        except UnsupportedError:
            return None
        return OpenGraph("train.onnx", graph, self._threads, windows=(windows,), keep=True)


class Line:
    """Cohorts in the order in which they are begun: a few before their results are needed.

    Parameters
    ----------
    pool
        Makes their calls.
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._waiting: deque[Cohort] = deque()
        self._begun = WeakSet[Cohort]()

    def join(self, cohort: Cohort) -> list[Promise]:
        """Let a cohort wait for its turn; return the promise of each of its trainings."""
        self._waiting.append(cohort)
        self._move()
        return [partial(self._made, cohort, i) for i in range(cohort.size)]

    def _move(self) -> None:
        """Begin the next ones."""
        while len(self._begun) < AHEAD and self._waiting:
            self._begin(self._waiting.popleft())

    def _begin(self, cohort: Cohort) -> None:
        if cohort.begin(self._pool):
            self._begun.add(cohort)

    def _made(self, cohort: Cohort, place: int) -> Replayed:
        if not cohort.made:
            self._begin(cohort)
            self._begun.discard(cohort)
            self._move()
            cohort.read()
        return cohort.made[place]


def _alone(job: Job, trainer: Trainer) -> Replayed:
    """Do a training by itself, in as many steps."""
    if job.steps is None:
        return job.replay.run(trainer)
    left = iter(range(job.steps - 1, -1, -1))
    return job.replay.run(trainer, lambda: next(left) == 0)


def _kind(job: Job, steps: int) -> tuple[int, float, float | None, int]:
    """Return what trainings that are done together have in common.

    None takes more than twice the steps of another, in which it would take part without a row.
    """
    replay = job.replay
    mu = None if replay.hold is None else replay.hold.mu
    return replay.batch, replay.learning_rate, mu, steps.bit_length()


def _steps(job: Job, rows: int) -> int:
    """Return how many steps a training comes to with so many rows to learn from."""
    replay = job.replay
    steps = -(-rows // replay.batch) * replay.epochs
    return steps if job.steps is None else min(steps, job.steps)


def _alike(kinds: Iterable[Any]) -> Iterable[list[int]]:
    """Return the places of equal kinds, in the order in which each kind comes first."""
    places: defaultdict[Any, list[int]] = defaultdict(list)
    for place, kind in enumerate(kinds):
        places[kind].append(place)
    return places.values()


def _calls(places: Sequence[int], jobs: Sequence[Job]) -> Iterator[list[int]]:
    """Cut trainings into calls."""
    some: list[int] = []
    taken = 0
    for place in places:
        size = jobs[place].replay.examples.window.nbytes
        if some and (len(some) == MEMBERS or taken + size > WINDOWS_BYTES):
            yield some
            some, taken = [], 0
        some.append(place)
        taken += size
    yield some


def _cut(places: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(places), size):
        yield places[start : start + size]
