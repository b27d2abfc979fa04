"""Epochs over the training examples, stopped when the validation loss no longer falls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.arrays import Arrays
from headwater_models.fading import faded
from headwater_models.judging import losses
from headwater_models.manifest import Manifest
from headwater_models.offline.examples import Examples
from headwater_models.offline.grid import Places
from headwater_models.offline.recordings import Floats
from headwater_models.offline.split import Split
from headwater_models.schedule import rate
from headwater_models.session import Predictor, Trainer, initial_state
from headwater_models.statistics import solve

ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the training examples did; losses are those of :mod:`.judging`.

    ``number`` 0 is the model before any. ``train`` is the mean of ``train.onnx``'s own loss over
    the pass (NaN for number 0).
    """

    number: int
    train: float
    validation: float
    best: bool


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The weights of the best epoch, and the course of all.

    ``stopped`` says that it ended because nothing was gained any more.
    """

    weights: Arrays
    epochs: tuple[Epoch, ...]
    stopped: bool = False

    @property
    def best(self) -> Epoch:
        """The epoch that the weights are of."""
        return [epoch for epoch in self.epochs if epoch.best][-1]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Course:
    """How long to learn: at most ``epochs``, or until ``patience`` in a row brought nothing."""

    epochs: int = 50
    patience: int = 5


class Fitting:
    """One training run.

    Parameters
    ----------
    manifest
        Optimiser, batch, schedule and loss.
    infer, train
        The graphs.
    examples
        All windows.
    """

    def __init__(self, manifest: Manifest, infer: bytes, train: bytes, examples: Examples) -> None:
        self.manifest = manifest
        self.examples = examples
        self._predictor = Predictor(infer)
        self._trainer = Trainer(train)
        self._personal = {
            array.name
            for array in manifest.arrays
            if self._predictor.blends and array.merge == "local"
        }

    @property
    def learns(self) -> bool:
        """Whether anything is left to train, after all that is frozen or personal."""
        return bool(self.manifest.statistics) or any(
            array.trained and array.name not in self._personal for array in self.manifest.arrays
        )

    def run(
        self,
        start: Arrays,
        split: Split,
        course: Course,
        rng: np.random.Generator,
        told: Callable[[Epoch], None] | None = None,
    ) -> Fitted:
        """Fit from *start* on the training part; the validation part chooses the weights.

        The personal part of a blend stays as it is: a device adds its own to what is released.

        Parameters
        ----------
        start
            First weights; they are what comes out if no epoch is better.
        split
            Which examples are of which part.
        course
            When to stop.
        rng
            Draws the orders.
        told
            Called after each epoch.

        Raises
        ------
        UnsupportedError
            When the model diverges before it ever got better.
        """
        told = told or (lambda _: None)
        validation = split.validation
        first = Epoch(0, np.nan, self.loss(start, validation), best=True)
        told(first)
        epochs, best = [first], start
        lowest, stopped = first.validation, False
        passes = self._passes(start, split.train, course, rng)
        for number, (weights, trained) in enumerate(passes, 1):
            loss = self.loss(weights, validation)
            better = loss < lowest
            if better:
                lowest, best = loss, weights
            epochs.append(Epoch(number, trained, loss, better))
            told(epochs[-1])
            stopped = number - Fitted(best, tuple(epochs)).best.number >= course.patience
            if stopped:
                break
        if not np.isfinite(lowest):
            raise UnsupportedError(
                "The validation loss is not finite; take a smaller --learning-rate."
            )
        return Fitted(best, tuple(epochs), stopped)

    def predict(self, weights: Arrays, chosen: Places) -> Floats:
        """Return predictions ``[n, K]`` of examples."""
        parts = [
            self._predictor.run(self.examples.windows(rows), self.examples.times[rows], weights)
            for rows in _cut(chosen, ROWS_AT_ONCE)
        ]
        empty = np.zeros((0, self.manifest.outputs), np.float32)
        return np.concatenate([empty, *parts])

    def loss(self, weights: Arrays, chosen: Places) -> float:
        """Return the mean loss of examples with a label."""
        made = self.predict(weights, chosen)
        return float(losses(self.manifest, made, self.examples.labels[chosen, None]).mean())

    def _passes(
        self, start: Arrays, train: Places, course: Course, rng: np.random.Generator
    ) -> Iterator[tuple[Arrays, float]]:
        """Yield the weights after each pass, and its mean training loss."""
        if not self.learns:
            return
        if self.manifest.learner != "gradient":
            yield self._solved(start, train)
            return
        optimiser = self.manifest.optimiser
        weights, state, step = start, initial_state(self.manifest), 0
        personal = {name: start[name] for name in self._personal}
        for _ in range(course.epochs):
            total = 0.0
            for rows in _cut(rng.permutation(train), optimiser.batch):
                weights, state, loss = self._trainer.step(
                    self.examples.batch(rows, optimiser.batch),
                    weights,
                    state,
                    rate(optimiser.schedule, optimiser.learning_rate, step),
                )
                weights |= personal
                total += float(loss[: len(rows)].sum())
                step += 1
                state = faded(state, step)
            yield weights, total / len(train)

    def _solved(self, start: Arrays, train: Places) -> tuple[Arrays, float]:
        """Gather the statistics of all examples and solve the last layer from them."""
        state, total = initial_state(self.manifest), 0.0
        for rows in _cut(train, ROWS_AT_ONCE):
            _, state, loss = self._trainer.step(self.examples.batch(rows), start, state, 0.0)
            total += float(loss.sum())
        return start | solve(self.manifest, state), total / len(train)


def _cut(rows: Places, size: int) -> Iterator[Places]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
