"""The time that goes with what has none of its own: that of the wall clock, but never back.

A wall clock is set back: by a person, by a time service, by a restart where the device has no clock
of its own. Records would come before those that are there already, and be refused until it has
caught up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

WORTH_SAYING_MS = 1_000
"""From which lead over the wall clock on it is said."""

_log = logging.getLogger(__name__)


class SteadyClock:
    """Tell the wall clock's time, and where that was set back, go on by the monotonic clock.

    Parameters
    ----------
    wall_ms
        The wall clock, UTC milliseconds.
    monotonic_s
        The monotonic clock, seconds.
    """

    def __init__(self, wall_ms: Callable[[], int], monotonic_s: Callable[[], float]) -> None:
        self._wall_ms = wall_ms
        self._monotonic_s = monotonic_s
        self._offset = -(2**62)
        self._said = False

    def not_before(self, time: int) -> None:
        """Go on from a time, UTC milliseconds, if the wall clock is not there yet."""
        self._offset = max(self._offset, time - round(1000 * self._monotonic_s()))

    def now_ms(self) -> int:
        """Return the time, UTC milliseconds: at least as late as any before."""
        wall = self._wall_ms()
        # The later of the two: a pause between them never counts as an advance.
        elapsed = round(1000 * self._monotonic_s())
        lead = self._offset + elapsed - wall
        if lead <= 0:
            self._offset, self._said = wall - elapsed, False
        elif lead > WORTH_SAYING_MS and not self._said:
            self._said = True
            _log.warning(
                "the clock was set back by %d s; records without a time of their own go on as if "
                "it had not been",
                lead // 1000,
            )
        return self._offset + elapsed
