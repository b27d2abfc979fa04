"""Devices that attack, in the ways that the literature knows.

All attackers of a round know what every honest device sends, and the rule. Where an attack has a
strength, it is searched for in each round: the one that leads the rule farthest from the mean of
the honest updates (the practice of Shejwalkar and Houmansadr, NDSS 2021, and of Karimireddy, He
and Jaggi, ICML 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.phones import CLASSES

Floats = NDArray[np.float32]
Labels = NDArray[np.intp]

Choices = Iterator[NDArray[np.floating]]
Attack = Literal[
    "none",
    "sign flip",
    "scaling",
    "noise",
    "label flip",
    "ALIE",
    "inner product",
    "NaN",
    "backdoor",
    "Min-Max",
    "noisy copies",
]
"""ALIE: Baruch, Baruch and Goldberg, NeurIPS 2019. Inner-product manipulation: Xie, Koyejo and
Gupta, UAI 2019. Min-Max: Shejwalkar and Houmansadr, NDSS 2021. Noisy copies: Min-Max whose
attackers each add noise, so that their updates are as far from each other as honest ones."""

UNTARGETED: tuple[Attack, ...] = tuple(
    attack for attack in get_args(Attack) if attack not in ("none", "backdoor", "noisy copies")
)

SCALED = 10.0
NOISE = 5.0
"""Times the norm of the honest mean."""

ALIE_STRENGTHS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
INNER_STRENGTHS = (0.1, 0.5, 1.0, 2.0, 5.0)
PARTS = (1.0, 0.4)
"""Of the greatest length that Min-Max allows itself."""

APART = (0.35, 0.6, 0.9)
"""How far noisy copies are from each other, in median distances of honest updates."""

TARGET = CLASSES.index("Downstairs")
TRIGGER = (0, 7, 19)
"""Channels that the backdoor's trigger sets."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What attackers see: what all would send if they were honest, who attacks, and the rule."""

    updates: Floats
    attackers: NDArray[np.bool_]
    rule: Callable[[Floats], Floats]

    @property
    def honest(self) -> Floats:
        """The updates of those that do not attack."""
        return self.updates[~self.attackers]

    def with_forged(self, forged: NDArray[np.floating]) -> Floats:
        """Return all updates, the attackers' replaced: ``[n]`` for all, or one for each."""
        sent = self.updates.copy()
        sent[self.attackers] = forged
        return sent

    def worst(self, choices: Choices) -> Floats:
        """Return the updates that lead the rule farthest from the honest mean."""
        mean = self.honest.mean(axis=0)
        sent = map(self.with_forged, choices)
        return max(sent, key=lambda one: float(np.linalg.norm(self.rule(one) - mean)))


def forged(attack: Attack, scene: Scene, rng: np.random.Generator) -> Floats:
    """Return what all devices send in a round; attacks on the data have done their work."""
    own = scene.updates[scene.attackers]
    if not len(own):
        return scene.updates
    if attack in _SEARCHED:
        return scene.worst(_SEARCHED[attack](scene, rng))
    mean = scene.honest.mean(axis=0)
    sent = {
        "sign flip": -own,
        "scaling": SCALED * own,
        "noise": own + NOISE * _noise(own.shape, rng) * np.linalg.norm(mean),
        "NaN": np.full(mean.shape, np.nan),
    }
    return scene.with_forged(sent.get(attack, own))


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return rows of noise whose norm is 1, about."""
    noise: NDArray[np.float64] = rng.standard_normal(shape) / np.sqrt(shape[-1])
    return noise


def _alie(scene: Scene, rng: np.random.Generator) -> Choices:
    del rng
    mean, deviation = scene.honest.mean(axis=0), scene.honest.std(axis=0)
    return (mean - strength * deviation for strength in ALIE_STRENGTHS)


def _inner_product(scene: Scene, rng: np.random.Generator) -> Choices:
    del rng
    mean = scene.honest.mean(axis=0)
    return (-strength * mean for strength in INNER_STRENGTHS)


def _min_max(scene: Scene, rng: np.random.Generator) -> Choices:
    """Yield updates no farther from any honest one than honest ones are from each other.

    The attackers send the same, or each its own moved by the same, for a rule that looks for
    copies.
    """
    del rng
    mean = scene.honest.mean(axis=0)
    for shift in _shifts(scene):
        yield mean + shift
        yield scene.updates[scene.attackers] + shift


def _noisy_copies(scene: Scene, rng: np.random.Generator) -> Choices:
    mean, count = scene.honest.mean(axis=0), int(scene.attackers.sum())
    noise = _noise((count, mean.size), rng) * np.median(_apart(scene.honest)) / np.sqrt(2)
    for shift in _shifts(scene):
        for apart in APART:
            yield mean + shift + apart * noise


def _shifts(scene: Scene) -> Choices:
    """Yield shifts of the mean, against it and against the deviations, of two lengths."""
    honest = scene.honest.astype(np.float64)
    mean = honest.mean(axis=0)
    farthest = float(_apart(honest).max()) ** 2
    from_mean = honest - mean
    for against in (-honest.std(axis=0), -mean):
        direction = against / np.linalg.norm(against)
        along = from_mean @ direction
        room = np.maximum(along**2 + farthest - (from_mean**2).sum(axis=1), 0.0)
        length = float(np.min(along + np.sqrt(room)))
        for part in PARTS:
            yield part * length * direction


_SEARCHED: Mapping[Attack, Callable[[Scene, np.random.Generator], Choices]] = {
    "ALIE": _alie,
    "inner product": _inner_product,
    "Min-Max": _min_max,
    "noisy copies": _noisy_copies,
}


def _apart(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the distances of all pairs of rows."""
    exact = rows.astype(np.float64)
    products = exact @ exact.T
    squares = np.diagonal(products)
    apart = np.maximum(squares[:, None] + squares[None, :] - 2 * products, 0.0)
    found: NDArray[np.float64] = np.sqrt(apart[np.triu_indices(len(apart), 1)])
    return found


def poisoned(
    attack: Attack, values: Floats, labels: Labels, trigger: Floats, rng: np.random.Generator
) -> tuple[Floats, Labels]:
    """Return the rows that an attacker learns from: by label flip and backdoor not its own."""
    if attack == "label flip":
        return values, len(CLASSES) - 1 - labels
    if attack == "backdoor":
        half = rng.random(len(labels)) < 0.5
        return (
            np.where(half[:, None], triggered(values, trigger), values),
            np.where(half, TARGET, labels),
        )
    return values, labels


def triggered(values: Floats, trigger: Floats) -> Floats:
    """Return rows with the trigger in them."""
    marked = values.copy()
    marked[:, TRIGGER] = trigger[list(TRIGGER)]
    return marked
