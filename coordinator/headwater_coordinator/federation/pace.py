"""Pace: when devices come, so that a small fleet meets and a large one does not throng.

After Bonawitz et al., Towards Federated Learning at Scale: System Design, SysML 2019, §2.3.
"""

from __future__ import annotations

import numpy as np

BURST = 100
"""So many devices may be turned to at once; the rate holds from there on."""

LONGEST = 86_400_000
"""Milliseconds that a device may be told to stay away."""


class Pace:
    """When a device is turned to, or told to come back.

    Parameters
    ----------
    arrivals
        Devices per second, in the long run.
    interval
        Milliseconds between two check-ins of a device, as long as the fleet is small enough.
    rng
        Source of the places within a window.
    """

    def __init__(self, arrivals: float, interval: int, rng: np.random.Generator) -> None:
        self._gap = 1000.0 / arrivals
        self._interval = interval
        self._rng = rng
        self._full = 0.0

    def slot(self, now: int) -> int:
        """Take the next free moment, UTC milliseconds: at once for a burst, then one by one.

        The generic cell rate algorithm (ITU-T I.371).

        Examples
        --------
        >>> pace = Pace(10.0, 60_000, np.random.default_rng(0))
        >>> [pace.slot(0) for _ in range(BURST + 3)][-3:]
        [100, 200, 300]
        """
        self._full = max(self._full, float(now))
        slot = max(float(now), self._full - (BURST - 1) * self._gap)
        self._full += self._gap
        return int(slot)

    def poll(self, devices: int) -> int:
        """Return how often each of so many devices may look for messages, milliseconds.

        At most a day, which is the longest that a device can be told.
        """
        return min(int(devices * self._gap), LONGEST)

    def returns(self, now: int, devices: int) -> int:
        """Say when one of so many devices shall check in again, UTC milliseconds.

        Devices come at multiples of an interval, each at a moment of its own within a window as
        long as all of them take at the given rate. A small fleet's window is short, so that who
        comes meets enough others for a round. For a large one the interval grows until the window
        fills it, and arrivals are spread evenly.
        """
        window = devices * self._gap
        interval = max(float(self._interval), window)
        start = np.ceil((now + interval / 2) / interval) * interval
        return int(start + self._rng.uniform(0.0, window))
