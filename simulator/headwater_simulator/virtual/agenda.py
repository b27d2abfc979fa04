"""What is to happen, in the order of the virtual clock; at one moment, in the order planned."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

Happening = Callable[[], None]


class Agenda:
    """The future.

    Examples
    --------
    >>> agenda, said = Agenda(), []
    >>> agenda.at(20, lambda: said.append("later"))
    >>> agenda.last_at(10, lambda: said.append("last"))
    >>> agenda.at(10, lambda: said.append("sooner"))
    >>> agenda.go_on(until=100)
    False
    >>> said, agenda.now
    (['sooner', 'last', 'later'], 20)

    Attributes
    ----------
    now
        The moment that it is.
    over
        Whether nothing more happens.
    """

    def __init__(self) -> None:
        self.now, self.over = 0, False
        self._planned = 0
        self._future: list[tuple[int, bool, int, Happening]] = []

    def at(self, time: int, happening: Happening) -> None:
        """Plan something for a moment; for now, where that is over."""
        self._planned += 1
        heappush(self._future, (max(time, self.now), False, self._planned, happening))

    def last_at(self, time: int, happening: Happening) -> None:
        """Plan something for a moment, when all else of that moment has happened."""
        self._planned += 1
        heappush(self._future, (max(time, self.now), True, self._planned, happening))

    def go_on(self, until: int, most: int = 1_000) -> bool:
        """Move the clock from thing to thing up to a moment and let each happen.

        Parameters
        ----------
        until
            The moment.
        most
            How many things may happen.

        Returns
        -------
        bool
            Whether so many happened that there may be more.
        """
        future = self._future
        for _ in range(most):
            if self.over or not future or future[0][0] > until:
                return False
            self.now, _, _, happening = heappop(future)
            happening()
        return True
