"""Carries out what a core asks to be computed, with a river model as the personal one."""

from __future__ import annotations

import numpy as np

from headwater_agent.compute import Compute
from headwater_agent.events import BranchName, Infer, Inferred, Train, Trained
from headwater_agent.replay import Step
from headwater_agent.rivers.personal import RiverPersonal
from headwater_agent.rivers.settings import RiverSettings
from headwater_agent.rivers.step import STATE, Examples, RiverStep
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle


class RiverCompute(Compute):
    """The sessions of a bundle, and a river model that learns on it.

    One that federates takes the training graph's place; its predictions are the bundle's. One that
    stays on the device predicts beside the bundle, while the training graph goes on making the
    contribution for the fleet.

    Parameters
    ----------
    bundle
        The model, with the weights of the release to start from.
    settings
        The river model.
    examples
        Reads the buffered examples that the checkpoint has learned already.
    threads
        Threads within one operator.

    Raises
    ------
    SettingsError
        When the settings describe no model for this bundle.
    """

    def __init__(
        self, bundle: Bundle, settings: RiverSettings, examples: Examples, threads: int = 1
    ) -> None:
        super().__init__(bundle, threads)
        self.river = RiverPersonal(settings, bundle.manifest, self._predictor, bundle.weights)
        self._examples = examples
        self._personal = RiverStep(self.river, self._trainer, examples)
        self._steps: dict[BranchName, Step] = {
            "personal": self._personal,
            "contribution": self._trainer,
        }
        if self.river.federates:
            beside = RiverPersonal(settings, bundle.manifest, self._predictor, bundle.weights)
            self._steps["contribution"] = RiverStep(beside, self._trainer, examples)

    def resume(self, parameters: Arrays, state: Arrays) -> None:
        """Go on with the personal model of a checkpoint, before the first prediction.

        One that is new on this device learns the buffered examples first. Where the model
        federates, nothing has to be done: parameters and state are all there is of it.
        """
        if self.river.federates:
            return
        self.river.rebase(parameters)
        if STATE in state:
            self._personal.resume(state)
        else:
            self.river.relearn(self._examples(), "it is new here")

    def infer(self, effect: Infer) -> Inferred:
        """Predict; where the river model has nothing to say, it repeats the release."""
        if self.river.federates or "personal" not in effect.parameters:
            return super().infer(effect)
        windows = effect.windows
        released = effect.parameters["released"]
        outputs = self._one_by_one(Infer(windows, {"released": released})).outputs
        own = self.river.predict(windows.values, windows.times)
        silent = ~np.isfinite(own).all(axis=1, keepdims=True)
        return Inferred(windows, outputs | {"personal": np.where(silent, outputs["released"], own)})

    def train(self, effect: Train) -> Trained:
        """Take steps of a branch."""
        step, losses = self._steps[effect.branch], []
        parameters, state = effect.parameters, effect.state
        for batch, rate in effect.steps():
            parameters, state, loss = step.step(batch, parameters, state, rate)
            losses.append(loss)
        return Trained(parameters, state, np.concatenate(losses))
