"""The WISDM case: what 36 phones learn of their users' activities, together and each for itself.

Each user's rows are split at random, 70 % to learn from and 30 % to be scored on. A phone streams
the rows that it learns from, each with its label, into the agent's core. The coordinator's core
holds rounds; each candidate passes firewall and gate before it is released. Then every phone
refines its personal model from the last release on its own rows. Nothing but messages of the
product goes from a phone to the coordinator. Ahead of that, and outside of the protocol, the
channels and their scales are chosen from what phones say in :class:`.phones.Summary`.

The rows come in random order, so none follows from the one before it, and the guard, which judges
just that, is off.

The settings were chosen with ``--validate``, which splits the 70 % once more, 75 to 25, and leaves
the other 30 % alone. The seed makes the split, so what one seed leaves alone another may learn
from or have validated on: a spread over seeds is of splits too, and not of independent data.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import phones
from benchmarks.phones import CHANNELS, CLASSES, Summary, User
from benchmarks.report import FEDERATED, Figure, Report, report, spread
from headwater.settings import Duration
from headwater_agent.events import Batch, Label, Record
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.pipeline_settings import (
    LabelRules,
    LearnerSettings,
    PipelineSettings,
    RefineSettings,
)
from headwater_agent.replay import Replay
from headwater_coordinator.home import Home
from headwater_coordinator.initialise import Wishes, initialise
from headwater_coordinator.settings import Gate, Rounds, Settings, Updates
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.graphs.scaling import Scaling
from headwater_models.manifest import Grid, Optimiser, Reserve
from headwater_models.session import Predictor, Trainer, initial_state
from headwater_models.statistics.moments import Moments, variances
from headwater_simulator.device import VirtualDevice
from headwater_simulator.fleet import VirtualFleet

SECOND = 1_000
WINDOW = Duration(10 * SECOND)
HOUR = Duration(3_600 * SECOND)

LEARNED = 0.7
VALIDATED = 0.75
"""Shares of rows that are learned from: of a user's, and with ``--validate`` of those again."""

THRESHOLD = 0.8
"""Of Fisher's ratio; see :func:`.phones.telling`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """How rows in one place are learned."""

    epochs: int
    batch: int
    learning_rate: float


HIDDEN = (64, 64)
RESERVE = Reserve(share=0.1, block=Duration(20 * WINDOW))
POOLED = Taught(epochs=100, batch=64, learning_rate=0.3)
ALONE = Taught(epochs=200, batch=32, learning_rate=0.3)
"""How the peers learn."""

LABELS = LabelRules(outside=True, late=int(WINDOW))
UNGUARDED = GuardSettings(enabled=False)
QUIET = PipelineSettings(
    learn=LearnerSettings(batch=1, learning_rate=0.01), labels=LABELS, guard=UNGUARDED
)
REFINING = PipelineSettings(
    learn=LearnerSettings(
        batch=1, learning_rate=0.01, refine=RefineSettings(epochs=100, batch=32, learning_rate=0.1)
    ),
    labels=LABELS,
    guard=UNGUARDED,
)
"""The owner's settings during the rounds, and after them."""

BUFFER = 1_000
ROUNDS = Rounds(
    min_devices=2,
    pause=HOUR,
    check_in=HOUR,
    deadline=Duration(60 * SECOND),
    message_ttl=HOUR,
    epochs=2,
    batch=64,
    learning_rate=0.5,
)
AS_THEY_ARE = Updates()
GATE = Gate(deadline=Duration(60 * SECOND), tolerance=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How much is run; ``validate`` splits what is learned from once more.

    ``folds`` is into how many groups users are dealt out, for the accuracy on users that took no
    part.
    """

    validate: bool = False
    rounds: int = 100
    folds: int = 3


QUICK = Case(rounds=2, folds=2)
QUICK_USERS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of one seed: shares of rows whose activity was named right, and what led to them.

    ``personal`` and ``released`` are what the federation made, ``unseen`` is a release for users
    that took no part in it. ``pooled`` is the same network taught with all users' rows in one
    place, ``local`` with each user's alone. The ``plain`` ones know all 43 features.
    """

    rows: int
    channels: int
    releases: int
    personal: float
    released: float
    pooled: float
    local: float
    unseen: float
    plain_pooled: float
    plain_local: float
    plain_released: float


class Model:
    """The classifier over some channels, not trained yet."""

    def __init__(self, channels: Sequence[int], moments: Moments, rng: np.random.Generator) -> None:
        self.channels = list(channels)
        mean, scale = moments[1], np.sqrt(variances(moments))
        built = build(
            ModelSpec(
                kind="mlp",
                name="activity",
                task="classification",
                channels=tuple(CHANNELS[i] for i in channels),
                grid=Grid(period=WINDOW, max_gap=WINDOW),
                window=1,
                classes=CLASSES,
                loss="cross_entropy",
                optimiser=Optimiser(name="sgd", learning_rate=0.5, batch=64),
                reserve=RESERVE,
                hidden=HIDDEN,
                scaling=Scaling(
                    mean=tuple(float(mean[i]) for i in channels),
                    scale=tuple(float(scale[i]) or 1.0 for i in channels),
                ),
            ),
            rng,
        )
        self.bundle = Bundle(
            manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
        )
        self._predictor = Predictor(built.infer)
        self._trainer = Trainer(built.train)

    def right(self, user: User, weights: Arrays) -> int:
        """Count the rows whose activity is named right."""
        window = user.values[:, None, self.channels]
        odds = self._predictor.run(window, np.zeros(len(window), np.int64), weights)
        return int((odds.argmax(axis=1) == user.labels).sum())

    def learn(self, users: Sequence[User], how: Taught, rng: np.random.Generator) -> Arrays:
        """Learn the rows of users as if they lay in one place."""
        values = np.concatenate([user.values for user in users])[:, None, self.channels]
        labels = np.concatenate([user.labels for user in users]).astype(np.float32)
        made = Replay(
            start=self.bundle.weights,
            state=initial_state(self.bundle.manifest),
            examples=Batch(
                window=values,
                time=np.zeros(len(labels), np.int64),
                label=labels[:, None],
                weight=np.ones(len(labels), np.float32),
            ),
            epochs=how.epochs,
            batch=how.batch,
            learning_rate=how.learning_rate,
            seed=rng,
        ).run(self._trainer)
        return made.weights


def run(users: Sequence[User], case: Case, seed: int) -> Outcome:
    """Split, federate, refine and score; the seed decides splits, first weights and orders."""
    rng = np.random.default_rng(seed)
    learn, score = divide(users, case, rng)
    model, plain = chosen(learn, rng), everything(learn, rng)
    devices, releases = federate(model, learn, case.rounds, rng)
    plainly, _ = federate(plain, learn, case.rounds, rng)
    for device in devices:
        device.restart(REFINING)
    rows = sum(len(user.labels) for user in score)

    def accuracy(of: Model, weights: Sequence[Arrays]) -> float:
        pairs = zip(score, weights, strict=True)
        return sum(of.right(user, each) for user, each in pairs) / rows

    def pooled(of: Model) -> list[Arrays]:
        return [of.learn(learn, POOLED, rng)] * len(learn)

    def local(of: Model) -> list[Arrays]:
        return [of.learn([user], ALONE, rng) for user in learn]

    return Outcome(
        rows=rows,
        channels=len(model.channels),
        releases=releases,
        personal=accuracy(model, [d.pipeline.learner.personal.parameters for d in devices]),
        released=accuracy(model, [d.pipeline.learner.version.weights for d in devices]),
        pooled=accuracy(model, pooled(model)),
        local=accuracy(model, local(model)),
        unseen=_unseen(learn, score, case, rng) / rows,
        plain_pooled=accuracy(plain, pooled(plain)),
        plain_local=accuracy(plain, local(plain)),
        plain_released=accuracy(plain, [d.pipeline.learner.version.weights for d in plainly]),
    )


def summary(outcomes: Sequence[Outcome]) -> Report:
    """Put the figures together: means over seeds with their spread."""
    names = {
        "accuracy_personal": "personal",
        "accuracy_global": "released",
        "accuracy_pooled": "pooled",
        "accuracy_local": "local",
        "accuracy_unseen": "unseen",
        "accuracy_pooled_43": "plain_pooled",
        "accuracy_local_43": "plain_local",
        "accuracy_fedavg_43": "plain_released",
        "channels": "channels",
        "releases": "releases",
    }
    figures: dict[str, float | Figure] = {}
    for figure, name in names.items():
        figures |= spread(figure, [float(getattr(outcome, name)) for outcome in outcomes])
    figures |= {"rows": float(outcomes[0].rows), "seeds": float(len(outcomes))}
    return report("accuracy wisdm", FEDERATED, figures)


def divide(
    users: Sequence[User], case: Case, rng: np.random.Generator
) -> tuple[list[User], list[User]]:
    """Return what each user learns from and what it is scored on."""
    pairs = [phones.split(user, LEARNED, rng) for user in users]
    if case.validate:
        pairs = [phones.split(learn, VALIDATED, rng) for learn, _ in pairs]
    return [learn for learn, _ in pairs], [score for _, score in pairs]


def chosen(users: Sequence[User], rng: np.random.Generator) -> Model:
    """Build the model over the channels that tell activities apart."""
    summaries = _summaries(users)
    return Model(phones.telling(summaries, THRESHOLD), phones.merged(summaries), rng)


def everything(users: Sequence[User], rng: np.random.Generator) -> Model:
    """Build the model over all channels."""
    return Model(range(len(CHANNELS)), phones.merged(_summaries(users)), rng)


def federate(
    model: Model,
    users: Sequence[User],
    rounds: int,
    rng: np.random.Generator,
    update: Updates = AS_THEY_ARE,
) -> tuple[list[VirtualDevice], int]:
    """Let each user's device learn and take part in rounds; return them, and releases made."""
    with tempfile.TemporaryDirectory() as folder:
        model.bundle.save(Path(folder) / "model")
        home = Home(Path(folder) / "coordinator")
        signed = initialise(home, Wishes(bundle=Path(folder) / "model"), 0)
        devices = [VirtualDevice(user.name, signed, QUIET, BUFFER) for user in users]
        for device, user in zip(devices, users, strict=True):
            _stream(device, model, user)
        settings = Settings(federation=ROUNDS, gate=GATE, update=update)
        with VirtualFleet(home, settings, devices, rng) as fleet:
            for hour in range(1, rounds + 1):
                fleet.settle(hour * int(HOUR))
            releases = fleet.status().releases
    return devices, releases


def _summaries(users: Sequence[User]) -> list[Summary]:
    return [summary for summary in map(phones.summarise, users) if summary is not None]


def _unseen(
    learn: Sequence[User], score: Sequence[User], case: Case, rng: np.random.Generator
) -> int:
    """Count the rows named right by a federation that their user took no part in."""
    right = 0
    for held_out in phones.folds(len(learn), case.folds, rng):
        others = [user for i, user in enumerate(learn) if i not in held_out]
        model = chosen(others, rng)
        devices, _ = federate(model, others, case.rounds, rng)
        released = devices[0].pipeline.learner.version.weights
        right += sum(model.right(score[i], released) for i in held_out)
    return right


def _stream(device: VirtualDevice, model: Model, user: User) -> None:
    """Feed a user's rows as one message each, every 10 s, with the label right behind it."""
    spoken = np.ones(len(model.channels), np.bool_)
    for i, values in enumerate(user.values[:, model.channels]):
        time = i * int(WINDOW)
        label = Label(value=float(user.labels[i]), stream=user.name, time=time)
        device.arrived([Record(user.name, time, values, spoken)], [label])
