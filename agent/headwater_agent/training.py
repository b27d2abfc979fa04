"""What a trainer does: read the examples, train or judge, write down what came of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from time import monotonic

import msgspec

from headwater import wire
from headwater.errors import BundleError, StorageError
from headwater.objects import Vector
from headwater_agent.agent_reader import AgentReader
from headwater_agent.answers import DeclinedError, judge_candidate, make_update
from headwater_agent.compressing import prepare, read_lost, write_lost
from headwater_agent.events import Batch, Refine, Version
from headwater_agent.exchange import ExchangeReader
from headwater_agent.learner import Learner, new_learner
from headwater_agent.outcome import write_outcome
from headwater_agent.refining import refine
from headwater_agent.releases import first_version
from headwater_agent.replay import Step, never
from headwater_agent.settings import AgentSettings
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.identity import version_id
from headwater_models.session import Predictor, Trainer
from headwater_models.weights import load_weights, save_weights


class Work:
    """What the trainer needs for any task of one device.

    Parameters
    ----------
    settings
        The agent's.

    Raises
    ------
    BundleError, StorageError
        When the model or the databases cannot be read.
    """

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._bundle = Bundle.load(settings.bundle, publisher=settings.trust.publisher or None)
        self._manifest = self._bundle.manifest
        self._exchange = ExchangeReader(settings.exchange_db)

    def do(self, name: str, sequence: int) -> wire.Reply:
        """Do a task and leave the outcome in the shared folder.

        Parameters
        ----------
        name
            The task's hash.
        sequence
            Number of the update.

        Raises
        ------
        StorageError
            When there is no such open task, or a file cannot be read or written.
        """
        stored = self._exchange.task(name)
        if stored is None or stored.state != "open":
            raise StorageError(f"{self._settings.exchange_db} holds no open task {name[:12]}.")
        task = wire.decode_task(stored.fields)
        reply: wire.Reply
        array: Vector | None = None
        try:
            if isinstance(task, wire.Train):
                reply, change = self._train(task, sequence)
                array = self._prepared(task, change)
            elif isinstance(task, wire.Evaluate):
                reply = self._evaluate(task)
            else:
                raise StorageError(f"Task {name[:12]} is not one that a trainer does.")
        except DeclinedError as declined:
            reply = wire.Declined(device=self._settings.device, task=name, reason=declined.reason)
        write_outcome(self._settings.share, reply, array)
        return reply

    def refine(self, version: str) -> bool:
        """Leave the personal model, learned from the stored examples on, for the agent.

        Returns
        -------
        bool
            False where there are too few examples, or nothing usable came of them.

        Raises
        ------
        StorageError
            When the version is not there, or a file cannot be read or written.
        """
        settings = self._settings.pipeline(self._manifest).learn
        try:
            weights = self._weights(self._bundle.model_id, version)
        except DeclinedError as declined:
            raise StorageError(
                f"Version {version[:12]} cannot be refined: {declined.reason}."
            ) from declined
        start = self._learner().personal.begin(Version(version, 0, weights))
        made = refine(
            Refine(version, start),
            manifest=self._manifest,
            trainer=Trainer(self._bundle.train),
            settings=settings,
            examples=self._examples(reserved=False),
        )
        if made is not None:
            save_weights(self._settings.refined, made)
        return made is not None

    def _train(self, task: wire.Train, sequence: int) -> tuple[wire.Reply, Vector]:
        if not self._settings.learn.enabled:
            raise DeclinedError("paused")
        return make_update(
            task,
            device=self._settings.device,
            sequence=sequence,
            manifest=self._manifest,
            trainer=self._trainer(),
            base=self._weights(task.model, task.base),
            learner=self._learner(),
            examples=self._examples(reserved=False, through=self._reach(sequence)),
            out_of_time=_clock(task.budget_ms),
        )

    def _prepared(self, task: wire.Train, change: Vector) -> Vector:
        """Return what is sent of a change, and keep what is lost by it."""
        folder, model = self._settings.refined.parent, self._bundle.model_id
        lost = read_lost(folder, model, len(change))
        sent, lost = prepare(task, change, self._manifest, lost)
        write_lost(folder, model, lost)
        return sent

    def _trainer(self) -> Step:
        """Return what takes the steps of an update: a river model where that can be shared."""
        graph = Trainer(self._bundle.train)
        learn = self._settings.learn
        if learn.river is None:
            return graph
        from headwater_agent.rivers.step import sharing_step  # noqa: PLC0415 - river is heavy

        return sharing_step(learn.river, self._bundle, graph)

    def _learner(self) -> Learner:
        """Return the learning state as the agent left it when the update was begun."""
        settings = self._settings.pipeline(self._manifest)
        learner = new_learner(
            self._manifest, first_version(self._bundle), settings.learn, settings.serve
        )
        with closing(AgentReader(self._settings.agent_db, self._manifest)) as reader:
            checkpoint = reader.checkpoint()
        if checkpoint is not None:
            learner.restore(checkpoint)
        return learner

    def _evaluate(self, task: wire.Evaluate) -> wire.Reply:
        return judge_candidate(
            task,
            device=self._settings.device,
            manifest=self._manifest,
            predictor=Predictor(self._bundle.infer),
            reserved=self._examples(reserved=True),
            learned=self._examples(reserved=False),
            candidate=self._weights(task.model, task.candidate),
            release=self._weights(task.model, task.release),
            local=self._learner().local(self._manifest),
        )

    def _reach(self, sequence: int) -> int | None:
        """Return the last example that the personal model had learned when the update was begun.

        Later ones stay out of the update, so that the agent can tell what it has not given yet.
        """
        with closing(AgentReader(self._settings.agent_db, self._manifest)) as reader:
            begun = reader.update(sequence)
        return begun.learned_through if begun is not None else None

    def _examples(self, *, reserved: bool, through: int | None = None) -> Batch:
        with closing(AgentReader(self._settings.agent_db, self._manifest)) as reader:
            return reader.examples(
                reserved=reserved, newest=self._settings.learn.buffer, through=through
            )

    def _weights(self, model: str, version: str) -> Arrays:
        """Return the weights of a version, proved by its name."""
        if model != self._bundle.model_id:
            raise DeclinedError("wrong-model")
        if version == self._bundle.version_id:
            return self._bundle.weights
        path = self._settings.exchange / "versions" / f"{version}.safetensors"
        if not path.exists():
            raise DeclinedError("unknown-base")
        try:
            weights = load_weights(path, self._manifest)
            name = version_id(self._manifest, model, weights)
        except BundleError as error:
            raise DeclinedError("bad-signature") from error
        if name != version:
            raise DeclinedError("bad-signature")
        return weights


def _clock(budget_ms: int | msgspec.UnsetType) -> Callable[[], bool]:
    """Return what says whether a budget that begins now is spent."""
    if budget_ms is msgspec.UNSET:
        return never
    end = monotonic() + budget_ms / 1000
    return lambda: monotonic() >= end
