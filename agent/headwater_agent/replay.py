"""Replay: epochs over stored examples, from a released version to what it would be after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Batch, Floats
from headwater_models.arrays import Arrays, State
from headwater_models.fading import faded

LOSS_ROWS = 2_048
"""The losses before and after are means over at most this many examples, drawn once."""


_MOST = 2**64 - 1
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

Seeds = NDArray[np.uint64]
Places = NDArray[np.intp]


class Step(Protocol):
    """One optimiser step; see :meth:`headwater_models.session.Trainer.step`."""

    def step(
        self, batch: Batch, parameters: Arrays, state: State, learning_rate: float
    ) -> tuple[Arrays, State, Floats]:
        """Return new parameters, new state, and the loss of each row before the step."""


@dataclass(frozen=True, slots=True, eq=False)
class Hold:
    """A proximal term: half the squared distance to *base* times *mu*, beside the loss.

    After each step of rate r the arrays of the base are pulled to it by the share
    r mu / (1 + r mu): the proximal operator of the term, which for any mu leads to where loss and
    term are smallest together, and never beyond the base (FedProx: Li et al., MLSys 2020; the
    operator: Parikh and Boyd, Proximal Algorithms, 2014). It stands outside of the optimiser, as
    the weight decay of AdamW does, so that Adam's scaling does not bend it.
    """

    base: Arrays
    mu: float

    def pull(self, weights: Arrays, rate: float) -> Arrays:
        """Return weights after a step of this rate, pulled to the base."""
        share = np.float32(rate * self.mu / (1.0 + rate * self.mu))
        return weights | {
            name: weights[name] + share * (base - weights[name]) for name, base in self.base.items()
        }


def never() -> bool:
    """Say that there is time."""
    return False


class Replayed(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What a replay made: the weights, how many examples it used, and their mean losses.

    ``change`` is the packed difference of the shared arrays to the start, float32 ``[n]``, where it
    is known already; then there may be no weights. ``finite`` says that it is known to be so.
    """

    weights: Arrays
    examples: int
    loss_before: float
    loss_after: float
    change: Floats | None = None
    finite: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Which rows a replay goes through.

    Attributes
    ----------
    judged
        Those whose mean loss is told, before and after.
    steps
        Those of each step, at most a batch.
    usable
        How many rows can be learned from.
    """

    judged: NDArray[np.intp]
    steps: Sequence[NDArray[np.intp]]

    usable: int


class Replay(msgspec.Struct, frozen=True, eq=False, kw_only=True, gc=False):
    """A training from a released version for some epochs, each in a new order.

    All that it depends on is in it, so it may be done later, elsewhere, or for many devices at
    once.

    Parameters
    ----------
    start
        Parameters of the released version; they are not changed.
    state
        The optimiser's arrays at zero; they are not changed.
    examples
        Their weights count. Rows whose label is not finite, or whose weight is not above zero,
        are left out.
    epochs
        Passes over the examples.
    batch
        Rows of each step. The last of an epoch is filled up with rows of weight zero, so that
        every step has the same shape.
    learning_rate
        Of each step.
    seed
        Of the orders (:func:`orders`), or a generator of it.
    hold
        What keeps the weights near to a version, if anything.
    usable
        How many rows can be learned from, where that is known already.
    """

    start: Arrays
    state: Arrays
    examples: Batch
    epochs: int
    batch: int
    learning_rate: float
    seed: int | np.random.Generator
    hold: Hold | None = None
    usable: int | None = None

    @property
    def key(self) -> int:
        """The seed of its orders, in 64 bits."""
        if isinstance(self.seed, int):
            return self.seed & _MOST
        return int(self.seed.integers(_MOST, dtype=np.uint64, endpoint=True))

    def course(self) -> Course:
        """Draw the rows of all steps."""
        usable = usable_rows(self.examples)
        keys, counts = np.array([self.key], np.uint64), np.array([len(usable)])
        drawn = [usable[orders(keys, counts, one)[0]] for one in range(self.epochs + 1)]
        judged = np.sort(drawn[0][:LOSS_ROWS])
        return Course(
            judged, [rows for one in drawn[1:] for rows in cut(one, self.batch)], len(usable)
        )

    def run(self, trainer: Step, out_of_time: Callable[[], bool] = never) -> Replayed:
        """Train; losses are in the loss of ``train.onnx``, and 0 where there are no examples.

        Parameters
        ----------
        trainer
            Takes the steps.
        out_of_time
            Asked after each step; then it ends, and only the examples that it came to are counted.
        """
        course = self.course()
        weights, moving, learned = self.start, self.state, 0
        before = self._loss(trainer, weights, course)
        for number, rows in enumerate(course.steps, 1):
            step = take(self.examples, rows, self.batch)
            weights, moving, _ = trainer.step(step, weights, moving, self.learning_rate)
            moving = faded(moving, number)
            weights = weights if self.hold is None else self.hold.pull(weights, self.learning_rate)
            learned += len(rows)
            if out_of_time():
                break
        after = self._loss(trainer, weights, course)
        return Replayed(weights, min(learned, course.usable), before, after)

    def _loss(self, trainer: Step, weights: Arrays, course: Course) -> float:
        model = weights, self.state
        return mean_loss(trainer, model, self.examples, course.judged, self.batch)


def orders(keys: Seeds, counts: Places, number: int | Places) -> Places:
    """Return in which order each of many replays goes through its rows in a pass.

    The places of a pass are sorted by the outputs of SplitMix64 [1]_, one for each place, which go
    on from pass to pass. So an order depends on nothing but its seed, and those of a thousand
    devices are drawn at once.

    Parameters
    ----------
    keys
        The seed of each, uint64 ``[M]``.
    counts
        How many rows each has, ``[M]``.
    number
        Of the pass, from 0 on; the same for all, or ``[M]``.

    Returns
    -------
    numpy.ndarray
        ``[M, N]``, N being the largest count; of each row only the first ``counts`` mean anything.

    References
    ----------
    .. [1] Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    places = np.arange(int(counts.max(initial=0)))
    begun = (counts * number + 1).astype(np.uint64)
    drawn = keys[:, None] + (begun[:, None] + places.astype(np.uint64)) * _GAMMA
    drawn = (drawn ^ (drawn >> np.uint64(30))) * _MIX[0]
    drawn = (drawn ^ (drawn >> np.uint64(27))) * _MIX[1]
    drawn ^= drawn >> np.uint64(31)
    drawn[places >= counts[:, None]] = _MOST
    return np.argsort(drawn, axis=1)


def usable_rows(examples: Batch) -> NDArray[np.intp]:
    """Return the rows that can be learned from: a finite label, and a weight above zero."""
    return np.flatnonzero(np.isfinite(examples.label[:, 0]) & (examples.weight > 0))


def mean_loss(
    trainer: Step,
    model: tuple[Arrays, Arrays],
    examples: Batch,
    rows: NDArray[np.intp],
    batch: int,
) -> float:
    """Return the weighted mean loss of some rows in the loss of ``train.onnx``.

    Parameters
    ----------
    model
        Parameters and optimiser state; a step of weight zero and rate zero changes nothing.
    rows
        Indices of the examples.
    batch
        Rows at a time.
    """
    total = weight = 0.0
    for some in cut(rows, batch):
        step = take(examples, some, batch)
        real = step.weight.astype(np.float64)
        silent = Batch(step.window, step.time, step.label, np.zeros_like(step.weight))
        _, _, losses = trainer.step(silent, *model, 0.0)
        with np.errstate(invalid="ignore", over="ignore"):  # a model that diverged shows it here
            total += float(real @ losses.reshape(-1).astype(np.float64))
        weight += float(real.sum())
    return total / weight if weight else 0.0


def cut(rows: NDArray[np.intp], batch: int) -> Iterator[NDArray[np.intp]]:
    """Yield the rows a batch at a time."""
    for start in range(0, len(rows), batch):
        yield rows[start : start + batch]


def take(examples: Batch, rows: NDArray[np.intp], batch: int) -> Batch:
    """Return the rows as a batch of full length; what fills it up repeats one, weightless."""
    filled = np.concatenate([rows, np.full(batch - len(rows), rows[0])])
    weight = np.zeros(batch, np.float32)
    weight[: len(rows)] = examples.weight[rows]
    return Batch(examples.window[filled], examples.time[filled], examples.label[filled], weight)
