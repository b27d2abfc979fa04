"""The way between devices and coordinator: when a message comes, how often, whether at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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


REMEMBERED = 4_096
"""Delays of which the fate of a message that comes once is kept."""

MANY = 10
"""From so many messages on it takes less time to draw for all of them at once."""


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

    def up(self, links: Sequence[Link], sizes: Sequence[int]) -> Iterable[Sequence[Fate]]:
        """Say what becomes of each message of devices: it comes once, twice or never.

        Parameters
        ----------
        links
            That the messages take, in the order in which they are sent.
        sizes
            Bytes of each.
        """
        self.traffic.up += sum(sizes)
        return self._fates(links, sizes, attrgetter("up"))

    def down(self, links: Sequence[Link], sizes: Sequence[int]) -> Iterable[Sequence[Fate]]:
        """Say what becomes of each message to a device, from when the device looks for it."""
        self.traffic.down += sum(sizes)
        return self._fates(links, sizes, attrgetter("down"))

    def _fates(
        self, links: Sequence[Link], sizes: Sequence[int], rate: Callable[[Link], float]
    ) -> Iterable[Sequence[Fate]]:
        """Draw for each in turn; at once, and the same, where many come, and all of them once."""
        self.traffic.messages += len(links)
        if len(links) >= MANY and links.count(links[0]) == len(links) and not _rough(links[0]):
            return self._once_each(links[0], sizes, rate(links[0]))
        kinds = dict(zip(map(id, links), links, strict=True))
        if len(links) < MANY or any(map(_rough, kinds.values())):
            return [
                self._fate_of(link, size, rate(link))
                for link, size in zip(links, sizes, strict=True)
            ]
        told = [(float(link.latency), link.jitter, rate(link)) for link in kinds.values()]
        places = {kind: place for place, kind in enumerate(kinds)}
        which = [places[kind] for kind in map(id, links)]
        delays, jitters, speeds = np.array(told).T.take(which, axis=1)
        if jitters.any():
            delays[jitters > 0] *= self._rng.lognormal(0.0, jitters[jitters > 0])
        spent = 1000.0 * np.array(sizes, np.float64)
        delays += np.divide(spent, speeds, out=np.zeros_like(spent), where=speeds > 0)
        return _rounded(delays)

    def _once_each(
        self, link: Link, sizes: Sequence[int], speed: float
    ) -> Iterable[Sequence[Fate]]:
        """Draw for all that take one link."""
        delays = np.full(len(sizes), float(link.latency))
        if link.jitter:
            delays *= self._rng.lognormal(0.0, link.jitter, len(sizes))
        if speed:
            delays += 1000.0 * np.array(sizes, np.float64) / speed
        return _rounded(delays)

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


def _rough(link: Link) -> bool:
    """Say whether messages may be lost, come twice, or overtake others."""
    return bool(link.loss or link.duplication or link.reordering)


def _rounded(delays: NDArray[np.float64]) -> Iterable[Sequence[Fate]]:
    """Return what becomes of messages that come once each, after so long."""
    whole: list[int] = np.rint(delays).astype(np.int64).tolist()
    return map(_once, whole)


@lru_cache(REMEMBERED)
def _once(delay: int) -> tuple[Fate]:
    """Return what becomes of a message that comes once, and keeps its place."""
    return (Fate(delay, held=False),)
