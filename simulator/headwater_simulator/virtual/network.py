"""The way between devices and coordinator: when a message comes, how often, whether at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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


class Fate(NamedTuple):
    """After how many milliseconds a message comes, and whether others may overtake it."""

    delay: int
    held: bool


MANY = 10
"""From so many messages on it takes less time to draw for all of them at once."""

Sent = tuple[Link, int]
"""A message: the link that it takes, and its bytes."""


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

    def up(self, messages: Sequence[Sent]) -> Iterator[list[Fate]]:
        """Yield what becomes of each message of devices: it comes once, twice or never."""
        self.traffic.up += sum(size for _, size in messages)
        return self._fates(messages, [link.up for link, _ in messages])

    def down(self, messages: Sequence[Sent]) -> Iterator[list[Fate]]:
        """Yield what becomes of each message to a device, from when the device looks for it."""
        self.traffic.down += sum(size for _, size in messages)
        return self._fates(messages, [link.down for link, _ in messages])

    def _fates(self, messages: Sequence[Sent], rates: list[float]) -> Iterator[list[Fate]]:
        """Draw for each in turn; at once, and the same, where many come, and all of them once."""
        self.traffic.messages += len(messages)
        links = [link for link, _ in messages]
        few = len(messages) < MANY
        if few or any(link.loss or link.duplication or link.reordering for link in links):
            for (link, size), rate in zip(messages, rates, strict=True):
                yield self._fate_of(link, size, rate)
            return
        delays = np.array([float(link.latency) for link in links])
        jitters = np.array([link.jitter for link in links])
        if jitters.any():
            delays[jitters > 0] *= self._rng.lognormal(0.0, jitters[jitters > 0])
        speeds = np.array(rates)
        sizes = np.array([float(size) for _, size in messages])
        delays += np.divide(1000.0 * sizes, speeds, out=np.zeros_like(sizes), where=speeds > 0)
        for delay in np.rint(delays).astype(np.int64).tolist():
            yield [Fate(delay, held=False)]

    def _fate_of(self, link: Link, size: int, rate: float) -> list[Fate]:
        traffic, rng = self.traffic, self._rng
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
