"""Whether the system clock was set: a device without a clock of its own starts with a wrong one.

A Raspberry Pi wakes up at the time of its last shutdown, or in 1970, and jumps when a time service
has reached its servers. Each of these then tells the kernel so (ntpd, busybox, systemd-timesyncd,
chrony with ``rtcsync``), and anyone may ask the kernel.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from headwater.clock import now_ms
from headwater_agent.steady import SteadyClock

ClockRule = Literal["synchronised", "trusted"]
"""Whether to wait for the kernel's word, or to take the clock as it is."""

TIMESYNCD = Path("/run/systemd/timesync/synchronized")
"""Made by systemd-timesyncd once it has set the clock; gone at the next boot."""

_STA_UNSYNC = 0x40


class _Timex(ctypes.Structure):
    """The beginning of ``struct timex``, with room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def _ask_kernel(timex: _Timex) -> int:
    return int(ctypes.CDLL(None).adjtimex(ctypes.byref(timex)))


def clock_was_set(
    mark: Path = TIMESYNCD, adjtimex: Callable[[_Timex], int] = _ask_kernel
) -> bool | None:
    """Say whether a time service keeps the clock right.

    Parameters
    ----------
    mark
        That of systemd-timesyncd.
    adjtimex
        Asks the kernel, as adjtimex(2) does; negative where that is refused.

    Returns
    -------
    bool or None
        None where the kernel does not say, because a sandbox forbids the question.

    Notes
    -----
    The kernel takes its word back nine hours after it last heard from a time service, so that
    this also turns false on a device whose network is long away; see :class:`Clock`.
    """
    if mark.exists():
        return True
    found = _Timex()
    if adjtimex(found) < 0:
        return None
    return not found.status & _STA_UNSYNC


class Clock:
    """Whether this process may go by the wall clock: from the first time on that it was right.

    Parameters
    ----------
    rule
        ``trusted`` where no time service runs.
    was_set
        As :func:`clock_was_set`.

    Attributes
    ----------
    steady
        The time for what has none of its own.
    """

    def __init__(self, rule: ClockRule, was_set: Callable[[], bool | None] = clock_was_set) -> None:
        self.steady = SteadyClock(now_ms, time.monotonic)
        self._was_set = was_set
        self._right = rule == "trusted"

    @property
    def is_right(self) -> bool:
        """Whether the clock was set since, or before, this process started."""
        return self.complaint() is None

    def complaint(self) -> str | None:
        """Say in a sentence why the clock is not to be trusted yet; None when it is."""
        if self._right:
            return None
        said = self._was_set()
        if said is None:
            return (
                "this process may not ask the kernel whether the clock is synchronised "
                '(adjtimex); allow it, or write clock = "trusted"'
            )
        self._right = said
        if said:
            return None
        return 'the clock is not synchronised yet; where no time service runs, clock = "trusted"'
