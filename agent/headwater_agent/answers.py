"""What a device answers to the coordinator's tasks, from its model and its examples alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater import wire
from headwater.objects import Vector
from headwater_agent.blocks import block_end
from headwater_agent.evaluation import evaluate
from headwater_agent.events import Batch, Version
from headwater_agent.gathering import Offer, offer
from headwater_agent.learner import Learner
from headwater_agent.pipeline import Pipeline
from headwater_agent.replay import (
    LOSS_ROWS,
    Hold,
    Replay,
    Replayed,
    Step,
    mean_loss,
    never,
    usable_rows,
)
from headwater_agent.sync import Branch
from headwater_models.arrays import Arrays, State, pack
from headwater_models.manifest import Manifest
from headwater_models.session import Predictor, initial_state

MIN_EXAMPLES = 50
"""With fewer examples an update would say too much about each of them."""

MIN_ROWS = 20
"""With fewer reserved rows a mean loss would say too much about each of them."""

Reason = Literal[
    "unknown-base", "wrong-model", "too-few-examples", "bad-signature", "failed", "paused"
]


class DeclinedError(Exception):
    """The device will not do the task; ``reason`` is the word that the coordinator is told."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


def check_in(pipeline: Pipeline, *, device: str, model: str) -> wire.CheckedIn:
    """Say who the device is, what it runs, and how much it has seen."""
    learner = pipeline.learner
    return wire.CheckedIn(
        device=device,
        model=model,
        version=learner.version.name,
        sequence=learner.version.sequence,
        records=pipeline.records,
        examples=pipeline.examples.sequence,
        scored=learner.score.labels,
        loss_baseline=learner.score.baseline,
        loss_released=learner.score.released,
        loss_personal=learner.score.personal,
        alarms=pipeline.watch.alarms,
        retrain=pipeline.watch.retrain,
    )


def make_update(
    task: wire.Train,
    *,
    device: str,
    sequence: int,
    manifest: Manifest,
    trainer: Step,
    learner: Learner,
    base: Arrays,
    examples: Batch,
    out_of_time: Callable[[], bool] = never,
) -> tuple[wire.Update, Vector]:
    """Say what this device has learned on top of the released version *base*.

    In ``replay`` training the examples are replayed from the base, with the arrays that stay on
    the device as the personal model has them; the same task over the same examples gives the
    same. In ``stream`` training it is the contribution as it was when it was taken. Of a model
    that is solved from statistics it is all that was gathered, in either.

    Parameters
    ----------
    sequence
        Under which the learner remembers itself.
    learner
        Of this device.
    examples
        The newest ones that the learner had learned when the update was begun.
    out_of_time
        Whether the task's budget is spent; a replay that is cut short gives what it came to.

    Returns
    -------
    tuple
        The update, and the packed difference to the base, or the packed statistics.

    Raises
    ------
    DeclinedError
        When there are too few examples, or what comes out is not finite.
    """
    examples = worth_learning(manifest, examples)
    if manifest.statistics:
        personal = learner.personal
        made = offer_gathered(manifest, personal.parameters, personal.state, base)
    elif learner.contribution is None:
        start = learner.personal.begin(Version(task.base, 0, base))
        training = plan_replay(task, manifest, base=base, start=start, examples=examples)
        replayed = training.run(trainer, out_of_time)
        made = offer_replayed(manifest, training, replayed, base)
    else:
        if learner.version.name != task.base:
            raise DeclinedError("unknown-base")
        contributed = _contributed(
            task,
            sequence,
            manifest=manifest,
            trainer=trainer,
            contribution=learner.contribution,
            examples=examples,
        )
        made = _difference(manifest, contributed, base)
    until = data_until(manifest, examples)
    return tell_update(task, made, device=device, sequence=sequence, until=until)


def plan_replay(
    task: wire.Train,
    manifest: Manifest,
    *,
    base: Arrays,
    start: Arrays,
    examples: Batch,
    usable: int | None = None,
) -> Replay:
    """Return the training that a task asks for.

    Parameters
    ----------
    base
        The released version that the update is to start from.
    start
        The same, with the arrays that stay on the device as the personal model has them.
    examples
        Those that are :func:`worth_learning`.
    usable
        How many of them can be learned from, where that is known already.

    Raises
    ------
    DeclinedError
        When there are too few examples.
    """
    if len(examples.label) < MIN_EXAMPLES:
        raise DeclinedError("too-few-examples")
    return Replay(
        start=start,
        state=initial_state(manifest),
        examples=examples,
        epochs=task.epochs,
        batch=task.batch,
        learning_rate=task.learning_rate,
        seed=int(task.task, 16),
        hold=_hold(task, manifest, base),
        usable=usable,
    )


def offer_replayed(manifest: Manifest, training: Replay, made: Replayed, base: Arrays) -> Offer:
    """Return what a training offers the fleet: the difference to the version it started from.

    Raises
    ------
    DeclinedError
        When it was cut short and saw too few examples.
    """
    few = made.examples < MIN_EXAMPLES
    if few and made.examples < len(usable_rows(training.examples)):
        raise DeclinedError("too-few-examples")
    return _difference(manifest, made, base)


def tell_update(
    task: wire.Train, made: Offer, *, device: str, sequence: int, until: int
) -> tuple[wire.Update, Vector]:
    """Return the answer to a task, and its vector; *until* is of :func:`data_until`.

    Raises
    ------
    DeclinedError
        When what came out is not finite.
    """
    judged = math.isfinite(made.loss_before) and math.isfinite(made.loss_after)
    if not (judged and (made.finite or _finite(made.vector))):
        raise DeclinedError("failed")
    update = wire.Update(
        task=task.task,
        device=device,
        model=task.model,
        base=task.base,
        sequence=sequence,
        examples=made.examples,
        loss_before=made.loss_before,
        loss_after=made.loss_after,
        data_until_ms=until,
    )
    return update, made.vector


def data_until(manifest: Manifest, examples: Batch) -> int:
    """Return when the block ends that the newest example lies in.

    Raises
    ------
    DeclinedError
        When there are none.
    """
    if not len(examples.time):
        raise DeclinedError("too-few-examples")
    return block_end(manifest, examples.time.item(examples.time.argmax()))


def _finite(vector: Vector) -> bool:
    """Say whether all values are finite; where the sum of their squares is, they are.

    ``vdot`` warns of no overflow.
    """
    return math.isfinite(np.vdot(vector, vector)) or bool(np.isfinite(vector).all())


def _difference(manifest: Manifest, made: Replayed, base: Arrays) -> Offer:
    change = made.change
    if change is None:
        with np.errstate(invalid="ignore", over="ignore"):
            change = pack(manifest, made.weights) - pack(manifest, base)
    return Offer(change, made.examples, made.loss_before, made.loss_after, made.finite)


def offer_gathered(
    manifest: Manifest, parameters: Arrays, statistics: State, base: Arrays
) -> Offer:
    """Return what there is to offer of statistics; parameters as of :func:`.gathering.offer`.

    Raises
    ------
    DeclinedError
        When they are of another backbone, of too few examples, or nothing follows from them.
    """
    made = offer(manifest, parameters, statistics, base)
    if isinstance(made, str):
        raise DeclinedError(made)
    if made.examples < MIN_EXAMPLES:
        raise DeclinedError("too-few-examples")
    return made


def _hold(task: wire.Train, manifest: Manifest, base: Arrays) -> Hold | None:
    """Return what keeps the arrays that are shared near to the base, if the task asks for it."""
    if task.proximal_mu is msgspec.UNSET:
        return None
    held = (array.name for array in manifest.shared if array.trained)
    return Hold({name: base[name] for name in held}, task.proximal_mu)


def _contributed(
    task: wire.Train,
    sequence: int,
    *,
    manifest: Manifest,
    trainer: Step,
    contribution: Branch,
    examples: Batch,
) -> Replayed:
    """Return the contribution; its losses are those of the newest examples."""
    taken = contribution.taken.get(sequence)
    count = contribution.examples_taken(sequence)
    if taken is None or count < MIN_EXAMPLES or not len(examples.label):
        raise DeclinedError("too-few-examples")
    rows = usable_rows(examples)[-LOSS_ROWS:]
    state = initial_state(manifest)
    before, after = (
        mean_loss(trainer, (weights, state), examples, rows, task.batch)
        for weights in (contribution.anchor, taken)
    )
    return Replayed(taken, count, before, after)


def worth_learning(manifest: Manifest, examples: Batch) -> Batch:
    """Give no weight to windows that a label calls anomalous, where normal ones are learned."""
    if manifest.task != "anomaly":
        return examples
    normal = (examples.label[:, 0] == 0).astype(np.float32)
    return dataclasses.replace(examples, weight=examples.weight * normal)


def judge_candidate(
    task: wire.Evaluate,
    *,
    device: str,
    manifest: Manifest,
    predictor: Predictor,
    reserved: Batch,
    learned: Batch,
    candidate: Arrays,
    release: Arrays,
    local: Arrays,
) -> wire.Evaluated:
    """Compare candidate, release and baseline on reserved examples, and on newer ones.

    Where no array stays on the device, what it has learned from since the data of both versions
    is as new to them as what is reserved.

    Parameters
    ----------
    local
        The arrays that stay on the device, as the personal model has them. Both versions are
        judged with them where neither predicts without; a blend's released part does.
    learned
        The examples learned from here: newer ones, and labels for the baselines that need them.

    Raises
    ------
    DeclinedError
        When there are too few reserved rows, or a loss is not finite.
    """
    own = {} if predictor.blends else local
    if not own:
        reserved = _joined(reserved, learned, _newer(task, manifest, learned))
    judged = evaluate(
        predictor,
        manifest,
        reserved,
        candidate=candidate | own,
        release=release | own,
        learned=learned.label[:, 0],
    )
    if judged.rows < MIN_ROWS:
        raise DeclinedError("too-few-examples")
    if not np.isfinite(dataclasses.astuple(judged)).all():
        raise DeclinedError("failed")
    return wire.Evaluated(
        task=task.task,
        device=device,
        candidate=task.candidate,
        release=task.release,
        rows=judged.rows,
        loss_candidate=judged.candidate,
        loss_release=judged.release,
        loss_baseline=judged.baseline,
        difference_mean=judged.difference_mean,
        difference_m2=judged.difference_m2,
    )


def _newer(task: wire.Evaluate, manifest: Manifest, learned: Batch) -> NDArray[np.bool_]:
    """Say, ``[N]``, of which examples neither version has learned, nor from what they overlap."""
    if task.after_ms is msgspec.UNSET:
        return np.zeros(len(learned.time), np.bool_)
    embargo = manifest.window * manifest.grid.period + manifest.horizon
    return learned.time - embargo > task.after_ms


def _joined(reserved: Batch, learned: Batch, newer: NDArray[np.bool_]) -> Batch:
    pairs = (
        (getattr(reserved, f.name), getattr(learned, f.name)) for f in dataclasses.fields(Batch)
    )
    return Batch(*(np.concatenate([kept, other[newer]]) for kept, other in pairs))
