"""The personal model learned from stored examples in epochs, from a release on."""

from __future__ import annotations

import numpy as np

from headwater_agent.answers import worth_learning
from headwater_agent.events import Batch, Refine
from headwater_agent.learner import MIN_REFINED
from headwater_agent.pipeline_settings import LearnerSettings
from headwater_agent.replay import Replay, Step
from headwater_models.arrays import Arrays
from headwater_models.manifest import Manifest
from headwater_models.session import initial_state


def refine(
    effect: Refine,
    *,
    manifest: Manifest,
    trainer: Step,
    settings: LearnerSettings,
    examples: Batch,
) -> Arrays | None:
    """Learn the examples as :class:`.RefineSettings` says.

    Parameters
    ----------
    effect
        Where to begin.
    examples
        The newest ones that may be learned from.

    Returns
    -------
    dict or None
        The personal model, or None where there are too few examples or it diverges.
    """
    if len(examples.label) < MIN_REFINED:
        return None
    how = settings.refine
    made = Replay(
        start=effect.start,
        state=initial_state(manifest),
        examples=worth_learning(manifest, examples),
        epochs=how.epochs,
        batch=how.batch or settings.batch,
        learning_rate=how.learning_rate or settings.learning_rate,
        seed=int(effect.version[:16], 16),
    ).run(trainer)
    finite = all(np.isfinite(array).all() for array in made.weights.values())
    return made.weights if finite else None
