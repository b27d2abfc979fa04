"""The wall clock, read at the edge only; cores take time as an argument."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return the wall clock as UTC milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
