"""When what came is settled, and how long learning may keep predictions waiting.

To settle takes longer than to predict. Right behind messages there is the most time until the next
ones come, so that is when it is done; a stream that pauses is waited for no longer than half as
long again.
"""

from __future__ import annotations

SETTLE_S = 0.5
"""How long predictions wait to be settled: many together cost much less than each alone."""

PATIENCE = 1.5
"""How many times as long may be waited for messages to settle behind."""

MOST = 250
"""Messages that are settled together at most, unless more come at once: others wait meanwhile."""

RECENT = 0.2
"""Weight of the newest step in what a step is taken to last."""


class Pace:
    """Keep both in hand; times are seconds of a monotonic clock.

    Parameters
    ----------
    every_s
        How long what came waits to be settled, as long as more comes.
    messages
        How many messages may, which may be changed; :data:`MOST` at most.
    budget_s
        How long learning may go on between two looks at the streams.
    """

    def __init__(self, *, every_s: float, messages: int, budget_s: float) -> None:
        self._every_s = every_s
        self.messages = messages
        self._budget_s = budget_s
        self._waiting = 0
        self._since = 0.0
        self._step_s = 0.0

    def arrived(self, messages: int, now: float) -> None:
        """Count messages that came."""
        if not self._waiting:
            self._since = now
        self._waiting += messages

    def settles(self, now: float, *, fresh: bool) -> bool:
        """Say whether it is time to settle what came; if so, it counts as settled.

        Parameters
        ----------
        now
            The time.
        fresh
            Whether messages came just now.
        """
        waited = now - self._since
        due = self._waiting > 0 and (
            self._waiting >= min(self.messages, MOST)
            or waited >= PATIENCE * self._every_s
            or (fresh and waited >= self._every_s)
        )
        if due:
            self._waiting = 0
        return due

    def rest(self, now: float) -> float:
        """Return how long what came may still wait, from 0; endless where nothing waits."""
        if not self._waiting:
            return float("inf")
        return max(0.0, self._since + PATIENCE * self._every_s - now)

    @property
    def batches(self) -> int:
        """How many batches may be learned now: as many as fit the budget, at least one."""
        return max(1, int(self._budget_s / self._step_s)) if self._step_s else 1

    def learned(self, batches: int, seconds: float) -> None:
        """Take how long it took to learn some batches."""
        if batches:
            newest = seconds / batches
            share = RECENT if self._step_s else 1.0
            self._step_s += share * (newest - self._step_s)
