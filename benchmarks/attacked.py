"""A fleet of fifty devices on WISDM, some of which attack; the rounds of one run.

The rows of all users are dealt out to the devices, at random or, per activity, by shares drawn from
a Dirichlet distribution. All devices train in one call of the product's own training graph, stacked
over devices. Nothing of network, books or gate takes part: a round is training, attack, firewall
and strategy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.attackers import TARGET, Attack, Scene, forged, poisoned, triggered
from benchmarks.phones import CHANNELS, CLASSES, User
from headwater import wire
from headwater.errors import UnsupportedError
from headwater.settings import Duration
from headwater_coordinator.cohort import Cohort
from headwater_coordinator.firewall import Expected, complaint, malformation
from headwater_coordinator.settings import Firewall
from headwater_coordinator.state import Device, Past
from headwater_coordinator.strategies import About, Merged, State, Strategy, Updates, choose
from headwater_coordinator.strategies.updates import MemorySource
from headwater_models.arrays import Arrays, pack, unpack
from headwater_models.graphs.builders import Built, ModelSpec, build
from headwater_models.graphs.scaling import Scaling
from headwater_models.graphs.stack import stack
from headwater_models.manifest import Grid, Optimiser, Reserve
from headwater_models.session import OpenGraph, Predictor, initial_state

Floats = NDArray[np.float32]
Labels = NDArray[np.intp]

DEVICES = 50
LEARNED = 0.7
FEWEST = 8
"""Rows that a device has at least."""

HIDDEN = (32,)
EPOCHS, BATCH, RATE = 2, 32, 0.2
WINDOW = Duration(10_000)
NAME = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Defence:
    """A strategy by its settings, and whether the firewall stands before it."""

    name: str
    strategy: tuple[tuple[str, object], ...]
    firewall: Firewall | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is run: ``share`` of the devices attack; without ``alpha`` rows are dealt at random."""

    seed: int
    defence: Defence
    attack: Attack = "none"
    share: float = 0.0
    alpha: float | None = None
    rounds: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it, as shares.

    ``backdoor`` is of the scored rows that bear the trigger and are of another activity, those
    named as the attacker wants; ``flagged`` and ``false_flags`` are the attackers' and the honest
    devices' updates that the firewall refused, ``voteless`` and ``false_voteless`` those that
    passed it and that the strategy left out.
    """

    accuracy: float
    backdoor: float
    flagged: float
    false_flags: float
    voteless: float
    false_voteless: float


@dataclass(slots=True, eq=False)
class _Gate:
    """The firewall in front of a strategy, and what it refused."""

    model: Built
    settings: Firewall | None
    sequence: int = 0
    refused: list[NDArray[np.bool_]] = field(default_factory=list)
    cohort: Cohort = field(init=False)

    def __post_init__(self) -> None:
        self.cohort = Cohort(self.settings or Firewall(), Past())

    def pass_through(self, vectors: Floats, counts: Sequence[int]) -> NDArray[np.intp]:
        """Return the indices of the updates that are accepted."""
        self.sequence += 1
        if self.settings is None:
            return np.arange(len(vectors))
        refused = np.array(
            [self._refuses(i, vector, counts[i]) for i, vector in enumerate(vectors)]
        )
        self.refused.append(refused)
        return np.flatnonzero(~refused)

    def _refuses(self, index: int, vector: Floats, examples: int) -> bool:
        node = f"{index:02}"
        task = wire.Train(task=NAME, model=NAME, base=NAME, round=self.sequence)
        update = wire.Update(
            task=NAME,
            device=node,
            model=NAME,
            base=NAME,
            sequence=self.sequence,
            examples=examples,
            loss_before=1.0,
            loss_after=1.0,
            data_until_ms=0,
        )
        expected = Expected(
            node=node,
            device=node,
            taken=self.sequence - 1,
            model=NAME,
            manifest=self.model.manifest,
            owner=lambda name: name,
        )
        device, now = Device(node, node, examples=examples), self.sequence * 3_600_000
        if complaint(task, update, vector, expected) is not None:
            return True
        if malformation(update, vector, self.model.manifest) is not None:
            return True
        if self.cohort.complaint(update, vector, device, now) is not None:
            return True
        self.cohort.accepted(update, vector, node)
        return False


class Fleet:
    """Devices with their rows, and the model that they train.

    Parameters
    ----------
    users
        Whose rows are dealt out.
    run
        How.
    rng
        Decides who gets what, the first weights, and all orders.
    """

    def __init__(self, users: Sequence[User], run: Run, rng: np.random.Generator) -> None:
        values = np.concatenate([user.values for user in users])
        labels = np.concatenate([user.labels for user in users])
        order = rng.permutation(len(labels))
        cut = round(LEARNED * len(order))
        learn, score = order[:cut], order[cut:]
        self.values, self.labels = values[score], labels[score]
        mean, scale = np.nanmean(values[learn], axis=0), np.nanstd(values[learn], axis=0)
        scale[scale < 1e-6] = 1.0
        self.trigger = (mean + 4.0 * scale).astype(np.float32)
        self.model = _model(mean, scale, rng)
        parts = dealt(labels, learn, run.alpha, rng)
        self.attackers = np.zeros(DEVICES, np.bool_)
        self.attackers[rng.permutation(DEVICES)[: round(run.share * DEVICES)]] = True
        rows = [(values[part], labels[part]) for part in parts]
        for index in np.flatnonzero(self.attackers):
            rows[index] = poisoned(run.attack, *rows[index], self.trigger, rng)
        self.counts = [len(part) for part in parts]
        self._stacked(rows)
        own = ["window", "label", "weight", *self.model.weights]
        own += list(initial_state(self.model.manifest))
        self._train = OpenGraph(
            "train.onnx", stack(self.model.train, own), 1, windows=("[M, N, T, C]",)
        )
        self._predictor = Predictor(self.model.infer)

    def _stacked(self, rows: Sequence[tuple[Floats, Labels]]) -> None:
        longest = max(self.counts)
        self._windows = np.full((DEVICES, longest, 1, len(CHANNELS)), np.nan, np.float32)
        self._labels = np.full((DEVICES, longest, 1), np.nan, np.float32)
        self._weights = np.zeros((DEVICES, longest), np.float32)
        for index, (values, labels) in enumerate(rows):
            self._windows[index, : len(labels), 0] = values
            self._labels[index, : len(labels), 0] = labels
            self._weights[index, : len(labels)] = 1.0

    def updates(self, release: Arrays, rng: np.random.Generator) -> Floats:
        """Let all devices train from the release; return their updates, float32 ``[N, n]``."""
        starts = release | initial_state(self.model.manifest)
        held = {name: np.repeat(array[None], DEVICES, axis=0) for name, array in starts.items()}
        made = [f"new.{name}" for name in held]
        for _ in range(EPOCHS):
            order = np.argsort(rng.random(self._weights.shape) + (self._weights == 0), axis=1)
            for start in range(0, order.shape[1], BATCH):
                batch = self._batch(order[:, start : start + BATCH])
                found = self._train.run({**batch, **held, "learning_rate": RATE}, made)
                held = dict(zip(held, found, strict=True))
        base = pack(self.model.manifest, release)
        packed = [
            pack(self.model.manifest, {name: held[name][i] for name in release})
            for i in range(DEVICES)
        ]
        return np.asarray(np.stack(packed) - base, np.float32)

    def _batch(self, rows: NDArray[np.intp]) -> dict[str, NDArray[np.generic]]:
        device = np.arange(DEVICES)[:, None]
        return {
            "window": self._windows[device, rows],
            "time": np.zeros(rows.shape[1], np.int64),
            "label": self._labels[device, rows],
            "weight": self._weights[device, rows],
        }

    def named(self, values: Floats, weights: Arrays) -> Labels:
        """Return the activity that a model gives each row."""
        odds = self._predictor.run(values[:, None], np.zeros(len(values), np.int64), weights)
        named: Labels = odds.argmax(axis=1)
        return named


def play(users: Sequence[User], run: Run) -> Outcome:
    """Hold the rounds of a run and score the model that is left."""
    rng = np.random.default_rng(run.seed)
    fleet = Fleet(users, run, rng)
    strategy = choose(dict(run.defence.strategy), source=run.defence.name)
    gate = _Gate(fleet.model, run.defence.firewall)
    release = fleet.model.weights
    state: State = {}
    voteless = np.zeros((run.rounds, DEVICES), np.bool_)
    for number in range(run.rounds):
        honest = fleet.updates(release, rng)
        everyone = np.arange(DEVICES)
        rule = partial(_step, strategy, state, who=everyone, counts=fleet.counts)
        scene = Scene(honest, fleet.attackers, rule)
        sent = forged(run.attack, scene, rng)
        passed = gate.pass_through(sent, fleet.counts)
        merged = _merged(strategy, state, sent[passed], who=passed, counts=fleet.counts)
        state = merged.state
        voteless[number, [int(node) for node in merged.voteless]] = True
        moved = pack(fleet.model.manifest, release) + merged.vector
        release = release | unpack(fleet.model.manifest, moved.astype(np.float32))
    return _scored(fleet, release, gate, voteless)


def _step(
    strategy: Strategy,
    state: State,
    vectors: Floats,
    *,
    who: NDArray[np.intp],
    counts: Sequence[int],
) -> Floats:
    """Return where a merge would lead; the state stays what it is."""
    return _merged(strategy, state, vectors, who=who, counts=counts).vector


def _merged(
    strategy: Strategy,
    state: State,
    vectors: Floats,
    *,
    who: NDArray[np.intp],
    counts: Sequence[int],
) -> Merged:
    """Return how a strategy moves the release; not at all where no finite weights follow."""
    about = [About(node=f"{i:02}", examples=counts[i]) for i in who]
    nowhere = np.zeros(vectors.shape[1], np.float32)
    updates = Updates(vectors.shape[1], about, MemorySource(list(vectors)))
    try:
        return strategy.merge(nowhere, updates, state)
    except UnsupportedError:
        return Merged(nowhere, state)


def _scored(fleet: Fleet, release: Arrays, gate: _Gate, voteless: NDArray[np.bool_]) -> Outcome:
    right = fleet.named(fleet.values, release) == fleet.labels
    others = fleet.labels != TARGET
    led = fleet.named(triggered(fleet.values[others], fleet.trigger), release) == TARGET
    refused = np.array(gate.refused or [np.zeros(DEVICES, np.bool_)])
    attackers = fleet.attackers
    return Outcome(
        accuracy=float(right.mean()),
        backdoor=float(led.mean()),
        flagged=_share(refused[:, attackers]),
        false_flags=_share(refused[:, ~attackers]),
        voteless=_share(voteless[:, attackers]),
        false_voteless=_share(voteless[:, ~attackers]),
    )


def _share(marked: NDArray[np.bool_]) -> float:
    return float(marked.mean()) if marked.size else 0.0


def dealt(
    labels: Labels, rows: NDArray[np.intp], alpha: float | None, rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Deal rows out to the devices; each has at least :data:`FEWEST`."""
    if alpha is None:
        return np.array_split(rng.permutation(rows), DEVICES)
    parts: list[list[int]] = [[] for _ in range(DEVICES)]
    for activity in range(len(CLASSES)):
        of_it = rng.permutation(rows[labels[rows] == activity])
        shares = rng.dirichlet(np.full(DEVICES, alpha))
        cuts = (np.cumsum(shares)[:-1] * len(of_it)).astype(int)
        for part, some in zip(parts, np.split(of_it, cuts), strict=True):
            part.extend(some.tolist())
    for part in parts:
        while len(part) < FEWEST:
            part.append(max(parts, key=len).pop())
    return [np.array(part) for part in parts]


def _model(
    mean: NDArray[np.floating], scale: NDArray[np.floating], rng: np.random.Generator
) -> Built:
    return build(
        ModelSpec(
            kind="mlp",
            name="activity",
            task="classification",
            channels=CHANNELS,
            grid=Grid(period=WINDOW, max_gap=WINDOW),
            window=1,
            classes=CLASSES,
            loss="cross_entropy",
            optimiser=Optimiser(name="sgd", learning_rate=RATE, batch=BATCH),
            reserve=Reserve(share=0.1, block=Duration(20 * WINDOW)),
            hidden=HIDDEN,
            scaling=Scaling(
                mean=tuple(float(value) for value in mean),
                scale=tuple(float(value) for value in scale),
            ),
        ),
        rng,
    )
