"""A device in this process: the agent's own cores, and nothing of its processes or files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

from headwater import wire
from headwater.errors import UnsupportedError
from headwater.objects import Vector
from headwater_agent import events
from headwater_agent.answers import DeclinedError, check_in, judge_candidate, make_update
from headwater_agent.compressing import prepare
from headwater_agent.compute import Compute
from headwater_agent.pipeline import Pipeline, Saved, carry_out
from headwater_agent.pipeline_settings import PipelineSettings
from headwater_agent.refining import refine
from headwater_agent.releases import first_version
from headwater_models.arrays import unpack
from headwater_models.bundle import Bundle
from headwater_models.session import Predictor, Trainer
from headwater_models.signing import VersionStatement, verify_version

Floats = events.Floats


class VirtualDevice:
    """An agent without processes, files or a broker.

    Parameters
    ----------
    name
        As it calls itself.
    bundle
        The signed model.
    settings
        How its personal model learns, and what it serves.
    buffer
        Newest examples, of those learned from and of the reserved ones each, that it keeps.

    Attributes
    ----------
    pipeline
        The agent's core, with its scores.
    bundle
        The model that it was given.
    """

    def __init__(self, name: str, bundle: Bundle, settings: PipelineSettings, buffer: int) -> None:
        self.name = name
        self._settings = settings
        self.pipeline = Pipeline(bundle.manifest, first_version(bundle), settings)
        self.bundle = bundle
        self._trusted, _ = bundle.verify()
        self._compute = Compute(bundle)
        self._trainer = Trainer(bundle.train)
        self._predictor = Predictor(bundle.infer)
        self._learned: deque[events.Example] = deque(maxlen=buffer)
        self._reserved: deque[events.Example] = deque(maxlen=buffer)
        self._published: list[events.Prediction] = []
        self._checkpoint: events.Checkpoint | None = None
        self._standing: dict[str, bytes] = {}
        self._updates = 0
        self._lost: Floats | None = None
        self.sent_bytes = 0

    def arrived(
        self, records: Sequence[events.Record], labels: Sequence[events.Label] = ()
    ) -> list[events.Prediction]:
        """Take records and labels as one batch, do what follows, and return what is predicted."""
        self._published = []
        self._feed(events.Arrived(tuple(records), tuple(labels)))
        return self._published

    def restart(self, settings: PipelineSettings) -> None:
        """Start again with these settings, from the last checkpoint and the examples after it.

        Windows begin anew, and labels of earlier predictions find nothing.
        """
        saved = self._checkpoint
        through = saved.learned_through if saved else 0
        sequence, version = self.pipeline.examples.sequence, first_version(self.bundle)
        self._settings = settings
        self.pipeline = Pipeline(self.bundle.manifest, version, settings)
        restored = Saved(
            checkpoint=saved.state if saved else None,
            standing=list(self._standing.items()),
            examples=[e for e in self._learned if e.sequence > through],
            sequence=sequence,
        )
        carry_out(self.pipeline, self.pipeline.restore(restored), self._do)

    def answer(self, task: wire.Task, vector: Floats | None) -> tuple[wire.Reply, Vector | None]:
        """Do a task of the coordinator at once.

        Parameters
        ----------
        task
            What is asked.
        vector
            The packed weights of the version that the task is about, where it brings one.

        Returns
        -------
        tuple
            The reply, and the packed difference of an update, as it is sent.
        """
        try:
            match task:
                case wire.CheckIn():
                    said = check_in(self.pipeline, device=self.name, model=self.bundle.model_id)
                    return said, None
                case wire.Train():
                    return self._train(task)
                case wire.Evaluate() if vector is not None:
                    return self._evaluate(task, vector), None
                case wire.Release() if vector is not None:
                    return self._receive(task, vector), None
        except DeclinedError as declined:
            name = getattr(task, "task", "")
            return wire.Declined(device=self.name, task=name, reason=declined.reason), None
        raise UnsupportedError(f"A {type(task).__name__} must bring the weights that it is about.")

    def _feed(self, event: events.Event) -> None:
        carry_out(self.pipeline, self.pipeline.feed(event), self._do)

    def _do(self, effect: events.Effect) -> events.Event | None:
        match effect:
            case events.Infer():
                return self._compute.infer(effect)
            case events.Train():
                return self._compute.train(effect)
            case events.Refine():
                return self._refine(effect)
            case events.Publish(predictions):
                self._published.extend(predictions)
            case events.Store(examples=examples, standing=standing):
                self._standing.update(standing)
                for example in examples:
                    (self._reserved if example.reserved else self._learned).append(example)
            case events.Checkpoint():
                self._checkpoint = effect
        return None

    def _refine(self, effect: events.Refine) -> events.Refined:
        made = refine(
            effect,
            manifest=self.bundle.manifest,
            trainer=self._trainer,
            settings=self._settings.learn,
            examples=self._batch(self._learned),
        )
        return events.Refined(effect.version, made)

    def _train(self, task: wire.Train) -> tuple[wire.Reply, Vector]:
        release = self.pipeline.learner.version
        if task.base != release.name:
            raise DeclinedError("unknown-base")
        self._updates += 1
        self._feed(events.Taken(self._updates))
        learner = self.pipeline.learner
        reply, change = make_update(
            task,
            device=self.name,
            sequence=self._updates,
            manifest=self.bundle.manifest,
            trainer=self._trainer,
            learner=learner,
            base=release.weights,
            examples=self._batch(e for e in self._learned if e.sequence <= learner.learned_through),
        )
        sent, self._lost = prepare(task, change, self.bundle.manifest, self._lost)
        self.sent_bytes += sent.nbytes
        return reply, sent

    def _evaluate(self, task: wire.Evaluate, vector: Floats) -> wire.Reply:
        release = self.pipeline.learner.version
        return judge_candidate(
            task,
            device=self.name,
            manifest=self.bundle.manifest,
            predictor=self._predictor,
            reserved=self._batch(self._reserved),
            learned=self._batch(self._learned),
            candidate={**release.weights, **unpack(self.bundle.manifest, vector)},
            release=release.weights,
            local=self.pipeline.learner.local(self.bundle.manifest),
        )

    def _receive(self, task: wire.Release, vector: Floats) -> wire.Received:
        statement: VersionStatement = verify_version(task.statement, trusted=self._trusted)
        weights = {**self.bundle.weights, **unpack(self.bundle.manifest, vector)}
        version = events.Version(task.version, statement.sequence, weights)
        self._feed(events.Released(version, task.merged))
        return wire.Received(device=self.name, version=task.version, accepted=True)

    def _batch(self, chosen: Iterable[events.Example]) -> events.Batch:
        examples = list(chosen)
        shape = (len(examples), self.bundle.manifest.window, len(self.bundle.manifest.channels))
        windows = [example.window for example in examples]
        return events.Batch(
            window=np.array(windows, np.float32).reshape(shape),
            time=np.array([example.time for example in examples], np.int64),
            label=np.array([example.label for example in examples], np.float32).reshape(-1, 1),
            weight=np.ones(len(examples), np.float32),
        )
