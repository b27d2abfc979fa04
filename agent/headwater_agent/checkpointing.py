"""When what was learned is stored: seldom, for it is much to write, and flash wears."""

from __future__ import annotations

from math import inf

SHORTEST_S, LONGEST_S = 10.0, 60.0
"""Seconds between two checkpoints."""

MANY = 5_000
"""Examples from which on a crash should not repeat more, so that a start takes no longer for it."""


class Checkpointing:
    """Say when a checkpoint is due; times are seconds of a monotonic clock.

    Parameters
    ----------
    through
        The newest example that was learned and is stored as such.
    """

    def __init__(self, through: int) -> None:
        self._through = through
        self._stored_s = -inf

    def due(self, now: float, through: int) -> bool:
        """Say whether it is time for a checkpoint; if so, it counts as made.

        Parameters
        ----------
        now
            The time.
        through
            The newest example that was learned.
        """
        waited = now - self._stored_s
        many = through - self._through >= MANY
        due = waited >= LONGEST_S or (many and waited >= SHORTEST_S)
        if due:
            self._stored_s, self._through = now, through
        return due
