"""Replay: epochs over stored examples, from a released version to what it would be after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headwater_agent.events import Batch, Floats
from headwater_models.arrays import Arrays

LOSS_ROWS = 2_048
"""The losses before and after are means over at most this many examples, drawn once."""


class Step(Protocol):
    """One optimiser step; see :meth:`headwater_models.session.Trainer.step`."""

    def step(
        self, batch: Batch, parameters: Arrays, state: Arrays, learning_rate: float
    ) -> tuple[Arrays, Arrays, Floats]:
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


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """What a replay made: the weights, how many examples it used, and their mean losses."""

    weights: Arrays
    examples: int
    loss_before: float
    loss_after: float


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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Replay:
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
        Of the generator that draws the orders, or the generator.
    hold
        What keeps the weights near to a version, if anything.
    """

    start: Arrays
    state: Arrays
    examples: Batch
    epochs: int
    batch: int
    learning_rate: float
    seed: int | np.random.Generator
    hold: Hold | None = None

    def course(self) -> Course:
        """Draw the rows of all steps."""
        rng = np.random.default_rng(self.seed)
        usable = usable_rows(self.examples)
        judged = np.sort(rng.permutation(usable)[:LOSS_ROWS])
        passes = [rng.permutation(usable) for _ in range(self.epochs)]
        return Course(
            judged, [rows for one in passes for rows in cut(one, self.batch)], len(usable)
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
        for rows in course.steps:
            step = take(self.examples, rows, self.batch)
            weights, moving, _ = trainer.step(step, weights, moving, self.learning_rate)
            weights = weights if self.hold is None else self.hold.pull(weights, self.learning_rate)
            learned += len(rows)
            if out_of_time():
                break
        after = self._loss(trainer, weights, course)
        return Replayed(weights, min(learned, course.usable), before, after)

    def _loss(self, trainer: Step, weights: Arrays, course: Course) -> float:
        model = weights, self.state
        return mean_loss(trainer, model, self.examples, course.judged, self.batch)


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
