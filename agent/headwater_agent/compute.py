"""Carries out what a core asks to be computed, at once, on this device's processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from headwater_agent.events import Batch, Floats, Infer, Inferred, Model, Train, Trained
from headwater_agent.rivers.settings import RiverSettings
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.session import Bound, Predictor
from headwater_models.stacked import StackedPredictor
from headwater_models.stepping import Stepper

_MEMBERS: Mapping[Model, int] = {"released": 0, "personal": 1}


class Compute:
    """The sessions of a model.

    Released and personal predict in one call where the bundle has the stacked graph for it.

    Parameters
    ----------
    bundle
        The model; what it predicts with comes with each call.
    threads
        Threads within one operator.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self._bundle, self._threads = bundle, threads
        self._trainer = Stepper(bundle.train, threads)
        self._both: StackedPredictor | None = None
        if bundle.stacked is not None:
            members = [bundle.weights] * len(_MEMBERS)
            self._both = StackedPredictor(bundle.stacked, members, threads)
        self._held: dict[Model, Arrays] = {}
        self._bound: dict[Model, tuple[Arrays, Bound]] = {}

    def resume(self, parameters: Arrays, state: Arrays) -> None:
        """Go on with the personal model of a checkpoint; the graphs hold nothing of it."""

    def infer(self, effect: Infer) -> Inferred:
        """Run the model once for each set of parameters."""
        if self._both is None:
            return self._one_by_one(effect)
        for model, parameters in effect.parameters.items():
            if self._held.get(model) is not parameters:
                self._both.put(_MEMBERS[model], parameters)
                self._held[model] = parameters
        windows = effect.windows
        made = self._both(windows.values, windows.times)
        outputs: dict[Model, Floats] = {}
        for model in effect.parameters:
            outputs[model] = made[_MEMBERS[model]]
        return Inferred(windows, outputs)

    def train(self, effect: Train) -> Trained:
        """Take optimiser steps."""
        return Trained(
            *self._trainer.steps(
                effect.batch, effect.parameters, effect.state, effect.learning_rates
            )
        )

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self._bundle.infer, self._threads)

    def _one_by_one(self, effect: Infer) -> Inferred:
        windows = effect.windows
        outputs: dict[Model, Floats] = {
            model: self._bind(model, parameters)(windows.values, windows.times)
            for model, parameters in effect.parameters.items()
        }
        return Inferred(windows, outputs)

    def _bind(self, model: Model, parameters: Arrays) -> Bound:
        """Keep the parameters bound for as long as they are the same arrays."""
        known = self._bound.get(model)
        if known is None or known[0] is not parameters:
            known = self._bound[model] = (parameters, self._predictor.bind(parameters))
        return known[1]


def make_compute(
    bundle: Bundle, river: RiverSettings | None, learned: Callable[[], list[Batch]]
) -> Compute:
    """Return what computes for a model; river, which is heavy, is imported only where it learns.

    Parameters
    ----------
    bundle
        The model.
    river
        The personal model, where it is one of river's.
    learned
        Gives the stored examples that it had learned before a restart.
    """
    if river is None:
        return Compute(bundle)
    from headwater_agent.rivers.compute import RiverCompute  # noqa: PLC0415 - river is heavy

    return RiverCompute(bundle, river, learned)
