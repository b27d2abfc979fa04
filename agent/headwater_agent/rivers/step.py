"""Training steps by a river model, where a bundle's training graph would take them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from headwater_agent.events import Batch, Floats
from headwater_agent.replay import Step
from headwater_agent.rivers.personal import RiverPersonal
from headwater_agent.rivers.settings import RiverSettings
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.session import Predictor

STATE = "river"
"""The array among the optimiser's that holds the river model's own state."""

Examples = Callable[[], Iterable[Batch]]
"""Reads the buffered examples that were learned already, in their order."""


class RiverStep:
    """Steps from given parameters and state to new ones, one line of them at a time.

    What the river model knows beside the bundle's arrays goes along in the state, so that it is
    checkpointed, reset and gone on from wherever that is.

    Parameters
    ----------
    river
        The model, of this object's own.
    graph
        The bundle's training graph. It judges rows, so that losses are comparable; it changes
        nothing.
    examples
        For a model that has to be learned again.
    """

    def __init__(self, river: RiverPersonal, graph: Step, examples: Examples) -> None:
        self._river = river
        self._graph = graph
        self._examples = examples
        self._last: Floats | None = None

    def step(
        self, batch: Batch, parameters: Arrays, state: Arrays, learning_rate: float
    ) -> tuple[Arrays, Arrays, Floats]:
        """Learn a batch; see :meth:`headwater_models.session.Trainer.step`.

        The rate is that of the model's own optimiser; with a *learning_rate* of 0 nothing is
        learned. A model that stays on the device leaves the parameters as they are.
        """
        silent = Batch(batch.window, batch.time, batch.label, np.zeros_like(batch.weight))
        graphs_own = {name: array for name, array in state.items() if name != STATE}
        _, _, losses = self._graph.step(silent, parameters, graphs_own, 0.0)
        if learning_rate <= 0:
            return parameters, state, losses
        self.resume(state)
        if not self._river.rebase(parameters):
            self._river.relearn(self._examples())
        self._river.learn(batch)
        self._last = _as_floats(self._river.save())
        learned = self._river.weights() if self._river.federates else None
        return learned or parameters, state | {STATE: self._last}, losses

    def resume(self, state: Arrays) -> None:
        """Go on from a state that the last step did not make; start anew from a reset one."""
        saved = state.get(STATE)
        if saved is self._last:
            return
        if saved is None:
            self._river.relearn(())
        else:
            self._river.resume(saved_river(state), self._examples())
        self._last = saved


def sharing_step(settings: RiverSettings, bundle: Bundle, graph: Step) -> Step:
    """Return what makes an update for the fleet: the river model where it can be averaged.

    Parameters
    ----------
    graph
        The bundle's training graph, which makes it where the river model stays on the device.
    """
    river = RiverPersonal(settings, bundle.manifest, Predictor(bundle.infer), bundle.weights)
    return RiverStep(river, graph, lambda: ()) if river.federates else graph


def saved_river(state: Arrays) -> bytes | None:
    """Return what :meth:`RiverPersonal.save` gave to the last step, if anything."""
    saved = state.get(STATE, np.zeros(0, np.float32))
    return saved.astype(np.uint8).tobytes() or None


def _as_floats(saved: bytes | None) -> Floats:
    """Return bytes as the numbers that all arrays of a state are."""
    return np.frombuffer(saved or b"", np.uint8).astype(np.float32)
