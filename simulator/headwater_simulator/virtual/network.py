"""The way between devices and coordinator: when a message comes, how often, whether at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater_simulator.scenario.settings import Link


@dataclass(slots=True)
class Traffic:
    """What went over a network: messages sent, lost and repeated, and bytes in each direction."""

    messages: int = 0
    lost: int = 0
    repeated: int = 0
    up: int = 0
    down: int = 0


@dataclass(frozen=True, slots=True)
class Fate:
    """After how many milliseconds a message comes, and whether others may overtake it."""

    delay: int
    held: bool


class Network:
    """Draws the fate of each message.

    Parameters
    ----------
    rng
        Of all draws.

    Attributes
    ----------
    traffic
        What went over it so far. A message counts as sent where it is lost.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.traffic = Traffic()

    def up(self, link: Link, size: int) -> list[Fate]:
        """Return what becomes of a device's message: it comes once, twice or never."""
        self.traffic.up += size
        return self._fates(link, size, link.up)

    def down(self, link: Link, size: int) -> list[Fate]:
        """Return what becomes of a message to a device, from when the device looks for it."""
        self.traffic.down += size
        return self._fates(link, size, link.down)

    def _fates(self, link: Link, size: int, rate: float) -> list[Fate]:
        traffic, rng = self.traffic, self._rng
        traffic.messages += 1
        if link.loss and rng.random() < link.loss:
            traffic.lost += 1
            return []
        fates = [self._fate(link, size, rate)]
        if link.duplication and rng.random() < link.duplication:
            traffic.repeated += 1
            fates.append(self._fate(link, size, rate))
        return fates

    def _fate(self, link: Link, size: int, rate: float) -> Fate:
        rng, delay = self._rng, float(link.latency)
        if link.jitter:
            delay *= float(rng.lognormal(0.0, link.jitter))
        if rate:
            delay += 1000.0 * size / rate
        held = bool(link.reordering) and rng.random() < link.reordering
        return Fate(round(delay + (link.held if held else 0)), held)
