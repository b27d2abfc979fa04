"""When the federation client may run: the clock is right, the hour is one, the owner allows it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from headwater_agent.federation_settings import Federation
from headwater_agent.hook import refusal_of
from headwater_agent.schedule import within
from headwater_agent.settings import PASSWORD_VARIABLE
from headwater_agent.synchronised import Clock

ASKED_EVERY_S = 60.0
"""The owner's command is run no more often than this; in between, its last answer holds."""


class Allowance:
    """Why the federation client may not run now, or None; cheap to call often.

    Parameters
    ----------
    settings
        The hours and the owner's command.
    clock
        Whether the wall clock is right; hours and signatures go by it.
    now
        Local time, as :func:`time.localtime`.
    monotonic
        Seconds.
    paused
        Whether the owner paused it; asked first, so that nothing else is.
    """

    def __init__(
        self,
        settings: Federation,
        clock: Clock,
        now: Callable[[], time.struct_time] = time.localtime,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._now = now
        self._monotonic = monotonic
        self._paused = paused
        self._asked: float | None = None
        self._answer: str | None = None

    def __call__(self) -> str | None:
        """Return the reason for a refusal, or None."""
        if self._paused():
            return "the owner paused it (headwater agent resume)"
        return self._clock.complaint() or self._outside() or self._refused()

    def _outside(self) -> str | None:
        hours, now = self._settings.hours, self._now()
        if within(hours, 60 * now.tm_hour + now.tm_min):
            return None
        return f"only at {', '.join(hours)} (local time)"

    def _refused(self) -> str | None:
        """Ask the owner's command, unless it answered just now."""
        if not self._settings.allow:
            return None
        now = self._monotonic()
        if self._asked is None or now - self._asked >= ASKED_EVERY_S:
            environ = {k: v for k, v in os.environ.items() if k != PASSWORD_VARIABLE}
            timeout_s = self._settings.allow_timeout / 1000
            self._answer = refusal_of(self._settings.allow, timeout_s, environ)
            self._asked = self._monotonic()
        return self._answer
