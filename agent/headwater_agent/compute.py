"""Carries out what a core asks to be computed, at once, on this device's processor."""

from __future__ import annotations

from collections.abc import Callable

from headwater_agent.events import Batch, Infer, Inferred, Model, Train, Trained, Version
from headwater_agent.rivers.settings import RiverSettings
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.session import Bound, Predictor, Trainer


class Compute:
    """The two sessions of a model.

    Parameters
    ----------
    bundle
        The model; its weights are not used.
    threads
        Threads within one operator.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self._predictor = Predictor(bundle.infer, threads)
        self._trainer = Trainer(bundle.train, threads)
        self._bound: dict[Model, tuple[Arrays, Bound]] = {}

    def resume(self, parameters: Arrays, state: Arrays) -> None:
        """Go on with the personal model of a checkpoint; the graphs hold nothing of it."""

    def infer(self, effect: Infer) -> Inferred:
        """Run the model once for each set of parameters."""
        windows = effect.windows
        return Inferred(
            windows,
            {
                model: self._bind(model, parameters)(windows.values, windows.times)
                for model, parameters in effect.parameters.items()
            },
        )

    def train(self, effect: Train) -> Trained:
        """Take one optimiser step."""
        parameters, state, losses = self._trainer.step(
            effect.batch, effect.parameters, effect.state, effect.learning_rate
        )
        return Trained(parameters, state, losses)

    def warm(self, version: Version, infer: Infer) -> Inferred:
        """Bind a version's weights before it serves, and run it once."""
        self._bound["released"] = (version.weights, self._predictor.bind(version.weights))
        return self.infer(infer)

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
