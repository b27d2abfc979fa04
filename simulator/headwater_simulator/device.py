"""A device in this process: the agent's own cores, and nothing of its processes or files.

What it asks to be computed can be done at once, or by someone who computes for many devices:
:meth:`VirtualDevice.feeding` yields it, and :meth:`VirtualDevice.begin_update` names it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from functools import cached_property

import msgspec

from headwater import wire
from headwater.errors import UnsupportedError
from headwater.objects import Vector
from headwater_agent import events
from headwater_agent.answers import (
    DeclinedError,
    check_in,
    data_until,
    judge_candidate,
    make_update,
    offer_replayed,
    plan_replay,
    tell_update,
    worth_learning,
)
from headwater_agent.compressing import prepare
from headwater_agent.compute import Compute
from headwater_agent.pipeline import Pipeline, Saved
from headwater_agent.pipeline_settings import PipelineSettings
from headwater_agent.refining import refine
from headwater_agent.releases import first_version
from headwater_agent.replay import Replay, Replayed, Step
from headwater_models.arrays import Arrays, unpack
from headwater_models.bundle import Bundle
from headwater_models.session import Predictor, Trainer
from headwater_models.signing import VersionStatement, verify_version
from headwater_simulator.buffer import Buffer

Floats = events.Floats
Computing = Generator[events.Infer | events.Train, events.Inferred | events.Trained, None]
"""Work that yields what is to be computed, and is sent the answer."""


Made = tuple[wire.Update, Vector]
"""The answer to a task to train, and its vector as it is sent."""


class Begun(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A task that was taken up as the update of this number, and the training that it takes."""

    task: wire.Train
    sequence: int
    training: Replay


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
        self._learned = Buffer(buffer, bundle.manifest)
        self._reserved = Buffer(buffer, bundle.manifest)
        self._published: list[events.Prediction] = []
        self._checkpoint: events.Checkpoint | None = None
        self._standing: dict[str, bytes] = {}
        self._updates = 0
        self._lost: Floats | None = None
        self.sent_bytes = 0

    @cached_property
    def _compute(self) -> Compute:
        return Compute(self.bundle)

    @cached_property
    def _trainer(self) -> Trainer:
        return Trainer(self.bundle.train)

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.bundle.infer)

    def feeding(self, event: events.Event) -> Computing:
        """Take an event; yield each inference and step that follows from it, and be sent it."""
        yield from self._carried(self.pipeline.feed(event))

    def _carried(self, effects: Iterable[events.Effect]) -> Computing:
        for effect in effects:
            if isinstance(effect, events.Infer | events.Train):
                answer: events.Event | None = yield effect
            else:
                answer = self._do(effect)
            if answer is not None:
                yield from self._carried(self.pipeline.feed(answer))

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
            examples=self._learned.after(through),
            sequence=sequence,
        )
        self._work(self._carried(self.pipeline.restore(restored)))

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
        self._work(self.feeding(event))

    def _work(self, computing: Computing) -> None:
        """Compute at once what is asked for."""
        answer: events.Inferred | events.Trained | None = None
        while True:
            try:
                wanted = computing.send(answer) if answer is not None else next(computing)
            except StopIteration:
                return
            if isinstance(wanted, events.Infer):
                answer = self._compute.infer(wanted)
            else:
                answer = self._compute.train(wanted)

    def _do(self, effect: events.Effect) -> events.Event | None:
        match effect:
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
            examples=self._learned.batch(),
        )
        return events.Refined(effect.version, made)

    def begin_update(self, task: wire.Train, trainer: Step) -> Begun | Made:
        """Take up a task to train; what it takes is in what is returned.

        Parameters
        ----------
        task
            What is asked.
        trainer
            Takes the steps of what is not replayed.

        Raises
        ------
        DeclinedError
            When the device cannot.
        """
        release = self.pipeline.learner.version
        if task.base != release.name:
            raise DeclinedError("unknown-base")
        self._updates += 1
        self._feed(events.Taken(self._updates))
        learner, manifest = self.pipeline.learner, self.bundle.manifest
        examples = self._learned.batch(through=learner.learned_through)
        if manifest.statistics or learner.contribution is not None:
            reply, change = make_update(
                task,
                device=self.name,
                sequence=self._updates,
                manifest=manifest,
                trainer=trainer,
                learner=learner,
                base=release.weights,
                examples=examples,
            )
            return reply, self._sent(task, change)
        training = plan_replay(
            task,
            manifest,
            base=release.weights,
            start=learner.personal.begin(release),
            examples=worth_learning(manifest, examples),
        )
        return Begun(task, self._updates, training)

    def finish_update(self, begun: Begun, made: Replayed) -> Made:
        """Return the answer to a task whose training was done; raises as :meth:`begin_update`."""
        task, manifest = begun.task, self.bundle.manifest
        offered = offer_replayed(manifest, begun.training, made, begun.training.start)
        update, change = tell_update(
            task,
            offered,
            device=self.name,
            sequence=begun.sequence,
            until=data_until(manifest, begun.training.examples),
        )
        return update, self._sent(task, change)

    def judge(self, task: wire.Evaluate, candidate: Arrays, predictor: Predictor) -> wire.Reply:
        """Compare a candidate with the release on reserved rows; raises as the agent does."""
        release = self.pipeline.learner.version
        return judge_candidate(
            task,
            device=self.name,
            manifest=self.bundle.manifest,
            predictor=predictor,
            reserved=self.reserved,
            learned=self.learned,
            candidate=candidate,
            release=release.weights,
            local=self.pipeline.learner.local(self.bundle.manifest),
        )

    def take(self, version: events.Version, merged: int) -> None:
        """Take a release that contains this device's updates up to *merged*."""
        self._feed(events.Released(version, merged))

    @property
    def examples(self) -> int:
        """How many examples it has had."""
        return self.pipeline.examples.sequence

    @property
    def learned(self) -> events.Batch:
        """The newest examples that it learned from."""
        return self._learned.batch()

    @property
    def reserved(self) -> events.Batch:
        """The newest examples that it never learns from."""
        return self._reserved.batch()

    def _train(self, task: wire.Train) -> tuple[wire.Reply, Vector]:
        begun = self.begin_update(task, self._trainer)
        if isinstance(begun, Begun):
            return self.finish_update(begun, begun.training.run(self._trainer))
        return begun

    def _sent(self, task: wire.Train, change: Vector) -> Vector:
        sent, self._lost = prepare(task, change, self.bundle.manifest, self._lost)
        self.sent_bytes += sent.nbytes
        return sent

    def _evaluate(self, task: wire.Evaluate, vector: Floats) -> wire.Reply:
        weights = self.pipeline.learner.version.weights | unpack(self.bundle.manifest, vector)
        return self.judge(task, weights, self._predictor)

    def _receive(self, task: wire.Release, vector: Floats) -> wire.Received:
        trusted, _ = self.bundle.verify()
        statement: VersionStatement = verify_version(task.statement, trusted=trusted)
        weights = {**self.bundle.weights, **unpack(self.bundle.manifest, vector)}
        version = events.Version(task.version, statement.sequence, weights)
        self.take(version, task.merged)
        return wire.Received(device=self.name, version=task.version, accepted=True)
