"""Names in the order of a key that changes: the first ones, or all up to a bound, cheaply."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Any)

_SLACK = 64


class Order(Generic[K]):
    """One key for each name; setting and removing one, and finding the first, are cheap.

    Names of equal keys come in the order in which they were set. They are kept together, so that
    what many devices have at one moment costs O(log n) once, and O(1) for each of them.

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
        self._heap: list[K] = []
        self._names: dict[K, dict[str, None]] = {}
        self._keys: dict[str, K] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, name: str) -> bool:
        return name in self._keys

    def set(self, name: str, key: K) -> None:
        """Give a name its key, in the place of an earlier one."""
        if name in self._keys:
            self.discard(name)
        self._keys[name] = key
        names = self._names.get(key)
        if names is not None:
            names[name] = None
            return
        self._names[key] = {name: None}
        heapq.heappush(self._heap, key)
        if len(self._heap) > 2 * len(self._keys) + _SLACK:
            self._names = {key: names for key, names in self._names.items() if names}
            self._heap = sorted(self._names)

    def discard(self, name: str) -> None:
        """Remove a name; one that is not there is fine."""
        key = self._keys.pop(name, None)
        if key is not None:
            del self._names[key][name]

    @property
    def least(self) -> K | None:
        """The smallest key; None when there is none."""
        while self._heap and not self._names[self._heap[0]]:
            del self._names[heapq.heappop(self._heap)]
        return self._heap[0] if self._heap else None

    def until(self, bound: K) -> Iterator[str]:
        """Remove and yield, in order, what has a key up to *bound*.

        A name that is set meanwhile, within the bound, comes too.
        """
        while (least := self.least) is not None and least <= bound:
            for name in list(self._names[least]):
                if self._keys.get(name) == least:
                    self.discard(name)
                    yield name

    def first(self, count: int) -> list[str]:
        """Return the names of the smallest keys, at most *count*; they stay."""
        taken: list[K] = []
        found: list[str] = []
        while len(found) < count and (least := self.least) is not None:
            taken.append(heapq.heappop(self._heap))
            found += islice(self._names[least], count - len(found))
        for key in taken:
            heapq.heappush(self._heap, key)
        return found
