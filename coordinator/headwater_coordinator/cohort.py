"""The cohort: what is usual among the updates of a fleet, and which one is out of line.

It judges updates that are sound in form and come from weights that learn by gradients. What it
knows of norms, examples, refusals and rates is restored from the books; the direction in which the
fleet moves is gathered anew after a restart. No I/O, no clock.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headwater import wire
from headwater.objects import Vector
from headwater_coordinator.firewall import norm
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


class _Newest:
    """The newest norms, and the one in the middle of them."""

    def __init__(self, norms: Iterable[float]) -> None:
        self._norms = deque(norms, KEPT_NORMS)
        self._sorted = sorted(self._norms)

    def __len__(self) -> int:
        return len(self._norms)

    def add(self, norm: float) -> None:
        if len(self._norms) == KEPT_NORMS:
            del self._sorted[bisect_left(self._sorted, self._norms[0])]
        self._norms.append(norm)
        insort(self._sorted, norm)

    @property
    def median(self) -> float:
        """0 where there are none."""
        middle, odd = divmod(len(self._sorted), 2)
        if odd:
            return self._sorted[middle]
        return (self._sorted[middle - 1] + self._sorted[middle]) / 2 if middle else 0.0


@dataclass(slots=True, eq=False)
class _Direction:
    """A running mean of accepted updates, none of which counts for more than the median norm."""

    seen: int = 0
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def follow(self, vector: Vector, share: float) -> None:
        step = vector.astype(np.float64) * share
        self.mean = step if not self.seen else _MEMORY * self.mean + (1 - _MEMORY) * step
        self.seen += 1

    def cosine(self, vector: Vector, size: float) -> float:
        length = norm(self.mean) * size
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
        self._norms = _Newest(past.norms)
        self._direction = _Direction()
        self._points = settings.least_cosine > -1
        self._measured: tuple[Vector | None, float] = None, 0.0

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
        conduct = self._past.of(device.node)
        conduct.arrives(now, self._settings.per_hour)
        if conduct.crowd > self._settings.per_hour:
            return (
                f"It is more than the {self._settings.per_hour} updates that a device may send "
                "in an hour."
            )
        wrong = self._examples(update, device, conduct)
        if wrong is not None or len(self._norms) < self._settings.least:
            return wrong
        return self._length(vector) or self._bearing(vector)

    def accepted(self, update: wire.Update, vector: Vector, node: str) -> float:
        """Take an accepted update into what is usual, and return its norm.

        Its device is in good standing again.
        """
        size = self.norm(vector)
        if self._points:
            usual = self._norms.median or size
            self._direction.follow(vector, min(1.0, usual / size) if size else 1.0)
        self._norms.add(size)
        conduct = self._past.of(node)
        conduct.examples = max(conduct.examples, update.examples)
        conduct.refusals = 0
        return size

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

    def norm(self, vector: Vector) -> float:
        """Return the norm of the update that is being judged; it is measured once."""
        if self._measured[0] is not vector:
            self._measured = vector, norm(vector)
        return self._measured[1]

    def _examples(self, update: wire.Update, device: Device, conduct: Conduct) -> str | None:
        said = max(device.records, device.examples, conduct.examples, _PLAUSIBLE_EXAMPLES)
        if update.examples <= self._settings.examples_multiple * said:
            return None
        return (
            f"It says that it learned from {update.examples:,} examples, and of its records "
            f"and earlier updates only that they are {said:,} at most; "
            f"{self._settings.examples_multiple:g} times as many are plausible."
        )

    def _length(self, vector: Vector) -> str | None:
        size, usual = self.norm(vector), self._norms.median
        if not usual or size <= self._settings.norm_multiple * usual:
            return None
        return (
            f"Its norm is {size / usual:,.3g} times the median of the last "
            f"{len(self._norms)} updates; at most {self._settings.norm_multiple:g} is allowed."
        )

    def _bearing(self, vector: Vector) -> str | None:
        if self._direction.seen < self._settings.least:
            return None
        cosine = self._direction.cosine(vector, self.norm(vector))
        if cosine >= self._settings.least_cosine:
            return None
        return (
            f"It points away from where the fleet moves: the cosine is {cosine:.2f}; "
            f"at least {self._settings.least_cosine:g} is allowed."
        )


def _moment(then: int, now: int) -> str:
    """Return a moment of the last day as a time, an older one with its date."""
    day, rest = divmod(then, _DAY_MS)
    clock = f"{rest // HOUR_MS:02}:{rest % HOUR_MS // 60_000:02} UTC"
    return clock if now - then < _DAY_MS else f"{np.datetime64(day, 'D')} {clock}"


def _ordinal(number: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    teen = 10 < number % 100 < 20
    return f"{number}{'th' if teen else endings.get(number % 10, 'th')}"
