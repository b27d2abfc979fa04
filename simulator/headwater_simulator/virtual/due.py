"""What is due at moments: added in any order, taken in theirs."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Generic, TypeVar

_Moved = TypeVar("_Moved", bound=tuple[Any, ...])


class Due(Generic[_Moved]):
    """Tuples that begin with their moment, each different before what cannot be compared.

    They are put in order once after some were added, however often some are taken.

    Examples
    --------
    >>> due = Due[tuple[int, str]]()
    >>> for one in [(20, "late"), (10, "soon"), (30, "last")]:
    ...     due.add(one)
    >>> due.next_ms, due.take(20), due.take(20), due.next_ms
    (10, [(10, 'soon'), (20, 'late')], [], 30)
    """

    def __init__(self) -> None:
        self._added: list[_Moved] = []
        self._latest_first: list[_Moved] = []
        self.add = self._added.append

    @property
    def next_ms(self) -> int | None:
        """The moment of what is due first; None where there is nothing."""
        self._order()
        return self._latest_first[-1][0] if self._latest_first else None

    def take(self, now: int) -> list[_Moved]:
        """Remove and return, in order, what is due by a moment."""
        self._order()
        waiting = bisect_left(self._latest_first, -now, key=lambda one: -one[0])
        taken = self._latest_first[waiting:]
        del self._latest_first[waiting:]
        taken.reverse()
        return taken

    def _order(self) -> None:
        if self._added:
            self._latest_first += self._added
            self._added.clear()
            self._latest_first.sort(reverse=True)
