"""A device in memory that can be killed at any moment, and a broker that sends again."""

from __future__ import annotations

from typing import Any

import numpy as np

from headwater_agent.events import (
    Arrived,
    Checkpoint,
    Effect,
    Event,
    Infer,
    Inferred,
    Label,
    Prediction,
    Publish,
    Record,
    Refuse,
    Store,
    Train,
    Trained,
)
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.pipeline import Pipeline, carry_out
from headwater_agent.pipeline_settings import LearnerSettings, PipelineSettings
from headwater_agent.settings import StoreSettings
from headwater_agent.store import Entry, MemoryStore
from headwater_models.manifest import Manifest
from tests.agent.model import MINUTE, arrived, version


class Mortal:
    """A device whose store commits in groups; what a crash loses, the broker sends again.

    The release predicts the last level, the personal model that and its first weight, or what
    ``personal`` says; a training step adds the mean error to the weight.
    """

    def __init__(self, model: Manifest, *, batch: int = 2, **chosen: Any) -> None:
        self.personal: float | None = None
        self.published: dict[int, Prediction] = {}
        self.checkpoints = self.refused = 0
        self._model = model
        learn = LearnerSettings(batch=batch)
        chosen = {"guard": GuardSettings(enabled=False), **chosen}
        self._settings = PipelineSettings(learn=learn, **chosen)
        late = self._settings.labels.late
        self.store = MemoryStore(model, StoreSettings(), late=late)
        self.start()

    def start(self) -> None:
        self.group: list[Entry] = []
        self.unacknowledged: list[Arrived] = []
        self.pipeline = Pipeline(self._model, version(), self._settings)
        carry_out(self.pipeline, self.pipeline.restore(self.store.load()), self.do)

    def receive(self, *items: Record | Label) -> None:
        """Take records and labels, in this order, as one batch."""
        self.feed(arrived(*items))

    def feed(self, event: Event) -> None:
        if isinstance(event, Arrived):
            self.unacknowledged.append(event)
        carry_out(self.pipeline, self.pipeline.feed(event), self.do)

    def commit(self) -> None:
        self.store.write(self.group)
        self.group, self.unacknowledged = [], []

    def die(self, *, backlog: bool = False) -> None:
        """Start again; the lost messages come one by one, or all at once."""
        lost = self.unacknowledged
        self.start()
        if backlog and lost:
            records = tuple(one for event in lost for one in event.records)
            self.feed(Arrived(records, tuple(one for event in lost for one in event.labels)))
        else:
            for event in lost:
                self.feed(event)

    def do(self, effect: Effect) -> Event | None:
        match effect:
            case Infer(windows, parameters):
                last = windows.values[:, -1, :1]
                own = parameters["personal"]["w"][0] if self.personal is None else self.personal
                return Inferred(windows, {"released": last, "personal": last + np.float32(own)})
            case Train(batch, parameters, state):
                for part, rate in effect.steps():
                    error = (part.label[:, 0] - part.window[:, -1, 0] - parameters["w"][0]).mean()
                    parameters = {"w": parameters["w"] + np.float32(error * rate)}
                return Trained(parameters, state, np.zeros(len(batch.weight), np.float32))
            case Publish(predictions):
                self.published |= {made.time // MINUTE: made for made in predictions}
            case Refuse():
                self.refused += 1
            case Store() | Checkpoint():
                self.checkpoints += isinstance(effect, Checkpoint)
                self.group.append(effect)
        return None
