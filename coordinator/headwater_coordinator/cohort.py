"""The cohort: what is usual among the updates of a fleet, and which one is out of line.

It judges updates that are sound in form and come from weights that learn by gradients. What it
knows of norms, examples, refusals and rates is restored from the books; the direction in which the
fleet moves is gathered anew after a restart. No I/O, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from headwater import wire
from headwater.objects import Vector
from headwater_coordinator.settings import Firewall
from headwater_coordinator.state import Conduct, Device, Past

HOUR_MS = 3_600_000
KEPT_NORMS = 200
"""Newest accepted updates whose norms are the cohort's."""

_PLAUSIBLE_EXAMPLES = 1_000
"""So many examples are taken from a device that has said nothing of its records yet."""

_MEMORY = 0.9
"""Share of the direction that stays with each update."""

_DAY_MS = 24 * HOUR_MS


@dataclass(slots=True, eq=False)
class _Direction:
    """A running mean of accepted updates, none of which counts for more than the median norm."""

    seen: int = 0
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def follow(self, vector: Vector, share: float) -> None:
        step = vector.astype(np.float64) * share
        self.mean = step if not self.seen else _MEMORY * self.mean + (1 - _MEMORY) * step
        self.seen += 1

    def cosine(self, vector: Vector) -> float:
        length = float(np.linalg.norm(self.mean)) * _norm(vector)
        return max(-1.0, float(self.mean @ vector) / length) if length else 1.0


class Cohort:
    """Judges one update by those before it.

    Parameters
    ----------
    settings
        From when on, and how far out of line an update may be.
    past
        What the books know; it is kept up to date here.
    """

    def __init__(self, settings: Firewall, past: Past) -> None:
        self._settings = settings
        self._past = past
        self._norms = deque(past.norms, KEPT_NORMS)
        self._direction = _Direction()

    def complaint(
        self, update: wire.Update, vector: Vector, device: Device, now: int
    ) -> str | None:
        """Return what about an update is out of line, as a sentence, or None.

        Parameters
        ----------
        update, vector
            Sound in form; the vector is the difference to its base, float32 ``[n]``.
        device
            Who sent it, as it last spoke of itself.
        now
            UTC milliseconds.
        """
        return next(self._complaints(update, vector, device, now), None)

    def accepted(self, update: wire.Update, vector: Vector, node: str) -> float:
        """Take an accepted update into what is usual, and return its norm.

        Its device is in good standing again.
        """
        norm = _norm(vector)
        usual = self._usual or norm
        self._direction.follow(vector, min(1.0, usual / norm) if norm else 1.0)
        self._norms.append(norm)
        conduct = self._past.of(node)
        conduct.examples = max(conduct.examples, update.examples)
        conduct.refusals = 0
        return norm

    def refused(self, node: str, reason: str, now: int) -> str:
        """Count a refused update; return the reason with how often it happened since when.

        Examples
        --------
        >>> from headwater_coordinator.settings import Firewall
        >>> cohort = Cohort(Firewall(), Past())
        >>> cohort.refused("a", "Too long.", 3 * 3_600_000)
        'Too long.'
        >>> cohort.refused("a", "Too long.", 9 * 3_600_000)
        'Too long; 2nd refusal since 03:00 UTC.'
        """
        conduct = self._past.of(node)
        if not conduct.refusals:
            conduct.refused_ms = now
        conduct.refusals += 1
        if conduct.refusals == 1:
            return reason
        since = _moment(conduct.refused_ms, now)
        return f"{reason.removesuffix('.')}; {_ordinal(conduct.refusals)} refusal since {since}."

    def _complaints(
        self, update: wire.Update, vector: Vector, device: Device, now: int
    ) -> Iterator[str]:
        conduct = self._past.of(device.node)
        conduct.arrives(now, self._settings.per_hour)
        if conduct.crowd > self._settings.per_hour:
            yield (
                f"It is more than the {self._settings.per_hour} updates that a device may send "
                "in an hour."
            )
        yield from self._examples(update, device, conduct)
        if len(self._norms) < self._settings.least:
            return
        norm, usual = _norm(vector), self._usual
        if usual and norm > self._settings.norm_multiple * usual:
            yield (
                f"Its norm is {norm / usual:,.3g} times the median of the last "
                f"{len(self._norms)} updates; at most {self._settings.norm_multiple:g} is allowed."
            )
        if self._direction.seen >= self._settings.least:
            cosine = self._direction.cosine(vector)
            if cosine < self._settings.least_cosine:
                yield (
                    f"It points away from where the fleet moves: the cosine is {cosine:.2f}; "
                    f"at least {self._settings.least_cosine:g} is allowed."
                )

    def _examples(self, update: wire.Update, device: Device, conduct: Conduct) -> Iterator[str]:
        said = max(device.records, device.examples, conduct.examples, _PLAUSIBLE_EXAMPLES)
        if update.examples > self._settings.examples_multiple * said:
            yield (
                f"It says that it learned from {update.examples:,} examples, and of its records "
                f"and earlier updates only that they are {said:,} at most; "
                f"{self._settings.examples_multiple:g} times as many are plausible."
            )

    @property
    def _usual(self) -> float:
        return median(self._norms) if self._norms else 0.0


def _norm(vector: Vector) -> float:
    return float(np.linalg.norm(vector.astype(np.float64)))


def _moment(then: int, now: int) -> str:
    """Return a moment of the last day as a time, an older one with its date."""
    day, rest = divmod(then, _DAY_MS)
    clock = f"{rest // HOUR_MS:02}:{rest % HOUR_MS // 60_000:02} UTC"
    return clock if now - then < _DAY_MS else f"{np.datetime64(day, 'D')} {clock}"


def _ordinal(number: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    teen = 10 < number % 100 < 20
    return f"{number}{'th' if teen else endings.get(number % 10, 'th')}"
