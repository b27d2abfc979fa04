"""Pauses between attempts, as a generator of seconds."""

from __future__ import annotations

from collections.abc import Iterator


def delays(first: float = 0.5, most: float = 30.0) -> Iterator[float]:
    """Yield pauses that double up to the longest one.

    Examples
    --------
    >>> from itertools import islice
    >>> list(islice(delays(1.0, 5.0), 4))
    [1.0, 2.0, 4.0, 5.0]
    """
    pause = first
    while True:
        yield min(pause, most)
        pause = min(2 * pause, most)
