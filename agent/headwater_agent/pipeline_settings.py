"""What an owner decides about one model on one device."""

from __future__ import annotations

import msgspec

from headwater_agent.learner import LearnerSettings
from headwater_agent.served import ServeSettings
from headwater_agent.settings import AgentSettings
from headwater_models.manifest import Manifest


class LabelRules(msgspec.Struct, frozen=True, kw_only=True):
    """How labels from outside find their predictions; milliseconds of event time.

    ``late`` is how long after the time that a prediction speaks of its label, or a correction,
    may come; ``tolerance`` how far a label's time may be off. Without ``outside`` only the future
    of the stream gives labels.
    """

    outside: bool = False
    late: int = 0
    tolerance: int = 0


class PipelineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner decides about one model on one device."""

    learn: LearnerSettings = LearnerSettings()
    serve: ServeSettings = ServeSettings()
    labels: LabelRules = LabelRules()


def pipeline_settings(settings: AgentSettings, manifest: Manifest) -> PipelineSettings:
    """Return what the agent's settings say, with the model's defaults where they say nothing."""
    learn, labels, optimiser = settings.learn, settings.labels, manifest.optimiser
    return PipelineSettings(
        learn=LearnerSettings(
            enabled=learn.enabled,
            batch=learn.batch or optimiser.batch,
            learning_rate=learn.learning_rate or optimiser.learning_rate,
            schedule=optimiser.schedule,
            training=learn.training,
        ),
        serve=settings.serve,
        labels=LabelRules(outside=True, late=int(labels.late), tolerance=int(labels.tolerance))
        if labels
        else LabelRules(),
    )
