"""Classification data that differ from device to device as much as one likes.

Of device k: ``u ~ N(0, alpha)``, ``W, b ~ N(u, 1)``, ``B ~ N(0, beta)``, ``v ~ N(B, 1)``,
``x ~ N(v, S)`` with ``S`` diagonal, its j-th entry ``j^-1.2``, and ``y = argmax(W x + b)``.
alpha and beta are deviations, as in the experiments of the paper. With ``iid`` all devices have
one ``W`` and ``b``, and ``v`` is 0. A device's data are made when they are asked for.

``u`` adds the same to all classes, so that labels do not depend on alpha: models differ between
devices by the unit deviation of ``W`` and ``b``. It is kept as it was published.

References
----------
Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020, section 5.1 and
appendix C.1.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from headwater_models.graphs.scaling import Scaling
from headwater_models.manifest import Channel
from headwater_simulator.scenario.settings import Synthetic
from headwater_simulator.sources.holding import GRID, RESERVE, hold, kept_back
from headwater_simulator.sources.source import Facts, Floats, Holding

REACH = 8.0
"""Deviations of an input that its sensor can report."""

DECAY = -1.2
"""How fast the variance of the inputs falls, as a power of their number."""

REMEMBERED = 1_024
"""Devices whose rows are kept in memory; those of others are drawn again."""

_EVERYONE = 2**32
"""In the place of a device's number: what all have in common."""

Numbers = NDArray[np.float64]


class SyntheticTables:
    """synthetic(alpha, beta).

    Parameters
    ----------
    settings
        How much devices differ, and how many rows they have.
    seed
        Of what is drawn.
    """

    def __init__(self, settings: Synthetic, *, seed: int) -> None:
        self.facts = _facts(settings)
        self._settings = settings
        self._seed = seed
        self._deviations = _deviations(settings.features)
        self._remembered = lru_cache(REMEMBERED)(self._made)

    def count(self, device: int) -> int:
        """Return how many rows a device learns from; nothing else of it is made for that."""
        rows = self._settings.rows or self._size(self._chance(device))
        return rows - kept_back(rows, self._settings.held)

    def holding(self, device: int) -> Holding:
        """Return what a device holds; the same each time."""
        return self._remembered(device)

    def _made(self, device: int) -> Holding:
        rng = self._chance(device)
        return hold(*self._drawn(rng), self._settings.held, rng)

    def _chance(self, device: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, device))

    def _drawn(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return the inputs ``[N, C]`` and the classes ``[N]`` of one device."""
        settings = self._settings
        rows = settings.rows or self._size(rng)
        weights, offsets = self._truth(rng)
        centre = self._centre(rng)
        noise = rng.standard_normal((rows, settings.features))
        inputs = centre + self._deviations * noise
        classes = np.argmax(inputs @ weights + offsets, axis=1)
        return inputs.astype(np.float32), classes.astype(np.float32)

    def _size(self, rng: np.random.Generator) -> int:
        settings = self._settings
        return settings.least + int(rng.lognormal(settings.mean_log, settings.sigma_log))

    def _truth(self, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
        settings = self._settings
        if settings.iid:
            rng = self._chance(_EVERYONE)
        mean = 0.0 if settings.iid else settings.alpha * rng.standard_normal()
        weights = rng.normal(mean, 1, (settings.features, settings.classes))
        return weights, rng.normal(mean, 1, settings.classes)

    def _centre(self, rng: np.random.Generator) -> Numbers:
        settings = self._settings
        if settings.iid:
            return np.zeros(settings.features)
        mean = settings.beta * rng.standard_normal()
        return rng.normal(mean, 1, settings.features)


def _deviations(features: int) -> Numbers:
    return np.asarray(np.arange(1, features + 1) ** (DECAY / 2))


def _facts(settings: Synthetic) -> Facts:
    between = 0.0 if settings.iid else settings.beta**2 + 1
    spreads = [math.hypot(math.sqrt(between), d) for d in _deviations(settings.features).tolist()]
    return Facts(
        task="classification",
        channels=tuple(
            Channel(name=f"x{number}", minimum=-REACH * spread, maximum=REACH * spread)
            for number, spread in enumerate(spreads, 1)
        ),
        grid=GRID,
        reserve=RESERVE,
        loss="cross_entropy",
        classes=tuple(map(str, range(settings.classes))),
        scaling=Scaling(mean=(0.0,) * settings.features, scale=(1.0,) * settings.features),
    )
