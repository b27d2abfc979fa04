"""Whether a server that runs still answers: a bounded patience, which grows when used up."""

from __future__ import annotations

MISSES = 4
"""Questions in a row without an answer after which a server hangs."""

MOST = 16 * MISSES
"""The longest patience."""

STEADY = 120
"""Answers in a row after which the patience is as short again as at first."""


class Pulse:
    """Counts what became of small questions.

    They are counted, and not timed, so that whoever was asleep itself blames nobody. A server that
    was started again and hangs once more is given twice as long, so that one that is only too busy
    is not kept from its work for ever.

    Examples
    --------
    >>> pulse = Pulse()
    >>> for _ in range(MISSES):
    ...     pulse.missed()
    >>> pulse.hangs
    True
    """

    def __init__(self) -> None:
        self._missed = 0
        self._answers = 0
        self._patience = MISSES

    @property
    def hangs(self) -> bool:
        """Whether the patience is used up."""
        return self._missed >= self._patience

    def answered(self) -> None:
        """Take note of an answer."""
        self._missed = 0
        self._answers += 1
        if self._answers >= STEADY:
            self._patience = MISSES

    def missed(self) -> None:
        """Take note that no answer came."""
        self._missed += 1
        self._answers = 0

    def begin_anew(self) -> None:
        """Take note that the server was started again because it hung."""
        self._missed = self._answers = 0
        self._patience = min(2 * self._patience, MOST)
