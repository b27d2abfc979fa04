"""What an owner decides about one model on one device."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headwater_agent.drift_settings import DriftSettings
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.silence import StreamsSettings
from headwater_agent.threshold_settings import ThresholdSettings
from headwater_models.manifest import Schedule


class RefineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the personal model also learns the stored examples in epochs.

    It is begun from each release, and again after ``every`` further examples, with ``epochs``
    passes over the newest of the buffer (0: never). ``batch`` and ``learning_rate`` default to the
    learner's.
    """

    epochs: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    every: Annotated[int, msgspec.Meta(ge=1, le=2**31)] = 1_000
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=10)] | None = None


class LearnerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a device learns: batch size, learning rate and its schedule, or not at all.

    With ``training`` ``stream`` a second set of weights, the contribution, learns beside the
    personal model and is what the fleet gets; with ``replay`` the trainer makes it from the
    stored examples when it is asked for.
    """

    enabled: bool = True
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 16
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=10)] = 1e-3
    schedule: Schedule = Schedule()
    training: Literal["replay", "stream"] = "replay"
    refine: RefineSettings = RefineSettings()


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether and when the personal model is published.

    ``clip`` is the largest loss that one prediction counts with, in the target's unit (classes:
    1); 0 takes a twentieth of a forecast channel's range. ``excess`` bounds what serving the
    personal model may cost above the release over the whole stream, in multiples of ``clip``.
    ``alpha`` is the probability with which a personal model that is no better is promoted all the
    same, or one that is no worse is reset.
    """

    personal: bool = True
    clip: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    excess: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    alpha: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.05


class LabelRules(msgspec.Struct, frozen=True, kw_only=True):
    """How labels from outside find their predictions; milliseconds of event time.

    ``late`` is how long after the time that a prediction speaks of its label, or a correction,
    may come; ``tolerance`` how far off the nearest prediction may be where none speaks of the row
    that a label's time falls into. Without ``outside`` only the future of the stream gives labels.
    """

    outside: bool = False
    late: int = 0
    tolerance: int = 0


class PipelineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner decides about one model on one device."""

    learn: LearnerSettings = LearnerSettings()
    serve: ServeSettings = ServeSettings()
    labels: LabelRules = LabelRules()
    guard: GuardSettings = GuardSettings()
    anomaly: ThresholdSettings = ThresholdSettings()
    drift: DriftSettings = DriftSettings(enabled=False)
    streams: StreamsSettings = StreamsSettings()
