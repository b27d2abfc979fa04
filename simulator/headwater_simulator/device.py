"""A device in this process: the agent's own cores, and nothing of its processes or files."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal

import numpy as np

from headwater import wire
from headwater.errors import UnsupportedError
from headwater_agent import events
from headwater_agent.blocks import ReservedBlocks
from headwater_agent.compute import Compute
from headwater_agent.evaluation import evaluate
from headwater_agent.learner import LearnerSettings
from headwater_agent.pipeline import Pipeline, carry_out
from headwater_agent.releases import first_version
from headwater_agent.replay import replay
from headwater_agent.training import MIN_EXAMPLES, MIN_ROWS
from headwater_models.arrays import pack, unpack
from headwater_models.bundle import Bundle
from headwater_models.session import Predictor, Trainer, initial_state
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
    learn
        How its personal model learns.
    buffer
        Newest examples, of those learned from and of the reserved ones each, that it keeps.

    Attributes
    ----------
    pipeline
        The agent's core, with its scores.
    """

    def __init__(self, name: str, bundle: Bundle, learn: LearnerSettings, buffer: int) -> None:
        self.name = name
        self.pipeline = Pipeline(bundle.manifest, first_version(bundle), learn)
        self._bundle = bundle
        self._trusted, _ = bundle.verify()
        self._compute = Compute(bundle)
        self._trainer = Trainer(bundle.train)
        self._predictor = Predictor(bundle.infer)
        self._learned: deque[events.Example] = deque(maxlen=buffer)
        self._reserved: deque[events.Example] = deque(maxlen=buffer)
        self._updates = 0

    def arrived(self, records: Sequence[events.Record]) -> None:
        """Take records as one batch; what follows from them is done on return."""
        self._feed(events.Arrived(tuple(records)))

    def answer(self, task: wire.Task, vector: Floats | None) -> tuple[wire.Reply, Floats | None]:
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
            The reply, and the packed difference of an update.
        """
        match task:
            case wire.CheckIn():
                return self._checked_in(), None
            case wire.Train():
                return self._train(task)
            case wire.Evaluate() if vector is not None:
                return self._evaluate(task, vector), None
            case wire.Release() if vector is not None:
                return self._receive(task, vector), None
        raise UnsupportedError(f"A {type(task).__name__} must bring the weights that it is about.")

    def _feed(self, event: events.Event) -> None:
        carry_out(self.pipeline, self.pipeline.feed(event), self._do)

    def _do(self, effect: events.Effect) -> events.Event | None:
        match effect:
            case events.Infer():
                return self._compute.infer(effect)
            case events.Train():
                return self._compute.train(effect)
            case events.Store(examples=examples):
                for example in examples:
                    (self._reserved if example.reserved else self._learned).append(example)
        return None

    def _checked_in(self) -> wire.CheckedIn:
        learner = self.pipeline.learner
        return wire.CheckedIn(
            device=self.name,
            model=self._bundle.model_id,
            version=learner.version.name,
            sequence=learner.version.sequence,
            records=self.pipeline.records,
            examples=self.pipeline.sequence,
            scored=learner.score.labels,
            loss_baseline=learner.score.baseline,
            loss_released=learner.score.released,
            loss_personal=learner.score.personal,
        )

    def _train(self, task: wire.Train) -> tuple[wire.Reply, Floats | None]:
        manifest, release = self._bundle.manifest, self.pipeline.learner.version
        if task.base != release.name:
            return self._declined(task.task, "unknown-base"), None
        if len(self._learned) < MIN_EXAMPLES:
            return self._declined(task.task, "too-few-examples"), None
        self._updates += 1
        self._feed(events.Taken(self._updates))
        made = replay(
            self._trainer,
            release.weights,
            initial_state(manifest),
            _batch(self._learned),
            epochs=task.epochs,
            batch=task.batch,
            learning_rate=task.learning_rate,
            rng=np.random.default_rng(int(task.task, 16)),
        )
        reply = wire.Update(
            task=task.task,
            device=self.name,
            model=task.model,
            base=task.base,
            sequence=self._updates,
            examples=made.examples,
            loss_before=made.loss_before,
            loss_after=made.loss_after,
            data_until_ms=ReservedBlocks(manifest).block_end(self._learned[-1].time),
        )
        return reply, pack(manifest, made.weights) - pack(manifest, release.weights)

    def _evaluate(self, task: wire.Evaluate, vector: Floats) -> wire.Reply:
        manifest, release = self._bundle.manifest, self.pipeline.learner.version
        if len(self._reserved) < MIN_ROWS:
            return self._declined(task.task, "too-few-examples")
        judged = evaluate(
            self._predictor,
            manifest,
            _batch(self._reserved),
            candidate={**release.weights, **unpack(manifest, vector)},
            release=release.weights,
            learned=np.array([example.label[0] for example in self._learned], np.float32),
        )
        return wire.Evaluated(
            task=task.task,
            device=self.name,
            candidate=task.candidate,
            release=task.release,
            rows=judged.rows,
            loss_candidate=judged.candidate,
            loss_release=judged.release,
            loss_baseline=judged.baseline,
            difference_mean=judged.difference_mean,
            difference_m2=judged.difference_m2,
        )

    def _receive(self, task: wire.Release, vector: Floats) -> wire.Received:
        statement: VersionStatement = verify_version(task.statement, trusted=self._trusted)
        weights = {**self._bundle.weights, **unpack(self._bundle.manifest, vector)}
        version = events.Version(task.version, statement.sequence, weights)
        self._feed(events.Released(version, task.merged))
        return wire.Received(device=self.name, version=task.version, accepted=True)

    def _declined(
        self, task: str, reason: Literal["unknown-base", "too-few-examples"]
    ) -> wire.Declined:
        return wire.Declined(device=self.name, task=task, reason=reason)


def _batch(examples: Sequence[events.Example] | deque[events.Example]) -> events.Batch:
    return events.Batch(
        window=np.stack([example.window for example in examples]),
        time=np.array([example.time for example in examples], np.int64),
        label=np.stack([example.label for example in examples]),
        weight=np.ones(len(examples), np.float32),
    )
