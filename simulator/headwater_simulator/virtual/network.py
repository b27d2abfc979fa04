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

    def up(self, link: Link, size: int) -> list[int]:
        """Return after how many milliseconds a device's message comes: once, twice or never."""
        self.traffic.up += size
        return self._fates(link, size, link.up)

    def down(self, link: Link, size: int, poll_ms: int) -> list[int]:
        """Return after how many milliseconds a device has a message, which it must look for."""
        self.traffic.down += size
        waits = int(self._rng.random() * max(int(link.poll), poll_ms))
        return [waits + delay for delay in self._fates(link, size, link.down)]

    def _fates(self, link: Link, size: int, rate: float) -> list[int]:
        traffic, rng = self.traffic, self._rng
        traffic.messages += 1
        if link.loss and rng.random() < link.loss:
            traffic.lost += 1
            return []
        delays = [self._delay(link, size, rate)]
        if link.duplication and rng.random() < link.duplication:
            traffic.repeated += 1
            delays.append(self._delay(link, size, rate))
        return delays

    def _delay(self, link: Link, size: int, rate: float) -> int:
        rng, delay = self._rng, float(link.latency)
        if link.jitter:
            delay *= float(rng.lognormal(0.0, link.jitter))
        if rate:
            delay += 1000.0 * size / rate
        if link.reordering and rng.random() < link.reordering:
            delay += link.held
        return round(delay)
