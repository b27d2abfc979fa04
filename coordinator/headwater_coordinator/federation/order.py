"""Names in the order of a key that changes: the first ones, or all up to a bound, cheaply."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Any)

_SLACK = 64


class Order(Generic[K]):
    """One key for each name; setting, removing and finding the first cost O(log n).

    Names of equal keys come in the order in which they were set.

    Examples
    --------
    >>> order = Order[int]()
    >>> for name, key in [("c", 3), ("a", 1), ("b", 2)]:
    ...     order.set(name, key)
    >>> order.set("c", 0)
    >>> order.first(2), list(order.until(1)), order.least
    (['c', 'a'], ['c', 'a'], 2)
    """

    def __init__(self) -> None:
        self._heap: list[tuple[K, int, str]] = []
        self._live: dict[str, tuple[K, int, str]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, name: str) -> bool:
        return name in self._live

    def set(self, name: str, key: K) -> None:
        """Give a name its key, in the place of an earlier one."""
        self._count += 1
        entry = self._live[name] = (key, self._count, name)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._live) + _SLACK:
            self._heap = sorted(self._live.values())

    def discard(self, name: str) -> None:
        """Remove a name; one that is not there is fine."""
        self._live.pop(name, None)

    @property
    def least(self) -> K | None:
        """The smallest key; None when there is none."""
        self._clean()
        return self._heap[0][0] if self._heap else None

    def until(self, bound: K) -> Iterator[str]:
        """Remove and yield, in order, what has a key up to *bound*.

        A name that is set meanwhile, within the bound, comes too.
        """
        while self._heap and self._heap[0][0] <= bound:
            entry = heapq.heappop(self._heap)
            name = entry[2]
            if self._live.get(name) is entry:
                del self._live[name]
                yield name

    def first(self, count: int) -> list[str]:
        """Return the names of the smallest keys, at most *count*; they stay."""
        taken: list[tuple[K, int, str]] = []
        while len(taken) < count:
            self._clean()
            if not self._heap:
                break
            taken.append(heapq.heappop(self._heap))
        for entry in taken:
            heapq.heappush(self._heap, entry)
        return [name for _, _, name in taken]

    def _clean(self) -> None:
        """Drop from the front what was removed or set again."""
        while self._heap and self._live.get(self._heap[0][2]) is not self._heap[0]:
            heapq.heappop(self._heap)
