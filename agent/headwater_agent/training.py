"""One task of the coordinator, done: read the examples, train or judge, write the outcome."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from typing import Literal

import numpy as np

from headwater import wire
from headwater.errors import BundleError, StorageError
from headwater_agent.agent_reader import AgentReader
from headwater_agent.blocks import ReservedBlocks
from headwater_agent.evaluation import evaluate
from headwater_agent.events import Batch, Floats
from headwater_agent.exchange import ExchangeReader
from headwater_agent.outcome import write_outcome
from headwater_agent.replay import replay
from headwater_agent.settings import AgentSettings
from headwater_models.arrays import Arrays, pack
from headwater_models.bundle import Bundle
from headwater_models.identity import version_id
from headwater_models.session import Predictor, Trainer, initial_state
from headwater_models.weights import load_weights

MIN_EXAMPLES = 50
"""With fewer examples an update would say too much about each of them."""

MIN_ROWS = 20
"""With fewer reserved rows a mean loss would say too much about each of them."""


Reason = Literal[
    "unknown-base", "wrong-model", "too-few-examples", "bad-signature", "failed", "paused"
]


class _Declined(Exception):  # noqa: N818 - not an error: an answer
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


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
        array: Floats | None = None
        try:
            if isinstance(task, wire.Train):
                reply, array = self._train(task, sequence)
            elif isinstance(task, wire.Evaluate):
                reply = self._evaluate(task)
            else:
                raise StorageError(f"Task {name[:12]} is not one that a trainer does.")
        except _Declined as declined:
            reply = wire.Declined(device=self._settings.device, task=name, reason=declined.reason)
        write_outcome(self._settings.share, reply, array)
        return reply

    def _train(self, task: wire.Train, sequence: int) -> tuple[wire.Reply, Floats]:
        if not self._settings.learn.enabled:
            raise _Declined("paused")
        base = self._weights(task.model, task.base)
        examples = self._examples(reserved=False, through=self._reach(sequence))
        if len(examples.label) < MIN_EXAMPLES:
            raise _Declined("too-few-examples")
        made = replay(
            Trainer(self._bundle.train),
            base,
            initial_state(self._manifest),
            examples,
            epochs=task.epochs,
            batch=task.batch,
            learning_rate=task.learning_rate,
            rng=np.random.default_rng(int(task.task, 16)),
        )
        with np.errstate(invalid="ignore", over="ignore"):
            change = pack(self._manifest, made.weights) - pack(self._manifest, base)
        figures = (made.loss_before, made.loss_after)
        if not (np.isfinite(change).all() and np.isfinite(figures).all()):
            raise _Declined("failed")
        reply = wire.Update(
            task=task.task,
            device=self._settings.device,
            model=task.model,
            base=task.base,
            sequence=sequence,
            examples=made.examples,
            loss_before=made.loss_before,
            loss_after=made.loss_after,
            data_until_ms=ReservedBlocks(self._manifest).block_end(int(examples.time.max())),
        )
        return reply, change

    def _evaluate(self, task: wire.Evaluate) -> wire.Reply:
        candidate = self._weights(task.model, task.candidate)
        release = self._weights(task.model, task.release)
        judged = evaluate(
            Predictor(self._bundle.infer),
            self._manifest,
            self._examples(reserved=True),
            candidate=candidate,
            release=release,
            learned=self._examples(reserved=False).label[:, 0],
        )
        if judged.rows < MIN_ROWS:
            raise _Declined("too-few-examples")
        if not np.isfinite(dataclasses.astuple(judged)).all():
            raise _Declined("failed")
        return wire.Evaluated(
            task=task.task,
            device=self._settings.device,
            candidate=task.candidate,
            release=task.release,
            rows=judged.rows,
            loss_candidate=judged.candidate,
            loss_release=judged.release,
            loss_baseline=judged.baseline,
            difference_mean=judged.difference_mean,
            difference_m2=judged.difference_m2,
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
            raise _Declined("wrong-model")
        if version == self._bundle.version_id:
            return self._bundle.weights
        path = self._settings.exchange / "versions" / f"{version}.safetensors"
        if not path.exists():
            raise _Declined("unknown-base")
        try:
            weights = load_weights(path, self._manifest)
            name = version_id(self._manifest, model, weights)
        except BundleError as error:
            raise _Declined("bad-signature") from error
        if name != version:
            raise _Declined("bad-signature")
        return weights
