"""Names in the order of a key that changes: the first ones, or all up to a bound, cheaply."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Any)

_SLACK = 64


class Order(Generic[K]):
    """One key for each name; setting and removing some, and finding the first, are cheap.

    Names of equal keys come in the order in which they were set. They are kept together, so that
    what many devices have at one moment costs O(log n) once, and O(1) for each of them.

    Examples
    --------
    >>> order = Order[int]()
    >>> for name, key in [("c", 3), ("a", 1), ("b", 2)]:
    ...     order.set(name, key)
    >>> order.set("c", 0)
    >>> order.first(2), order.take(1), order.least
    (['c', 'a'], ['c', 'a'], 2)
    """

    def __init__(self) -> None:
        self._heap: list[K] = []
        self._names: dict[K, str | dict[str, None]] = {}
        self._keys: dict[str, K] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, name: str) -> bool:
        return name in self._keys

    def set(self, name: str, key: K) -> None:
        """Give a name its key, in the place of an earlier one."""
        self.set_all((name,), key)

    def set_all(self, names: Sequence[str], key: K) -> None:
        """Give different names, of which there is one at least, the same key."""
        if not self._keys.keys().isdisjoint(names):
            self.discard_all(names)
        self._keys.update(dict.fromkeys(names, key))
        there = self._names.get(key)
        if isinstance(there, dict):
            there.update(dict.fromkeys(names))
        elif there or len(names) > 1:
            self._names[key] = dict.fromkeys([there, *names] if there else names)
        else:
            self._names[key] = names[0]
        if there is None:
            self._push(key)

    def discard(self, name: str) -> None:
        """Remove a name; one that is not there is fine."""
        self.discard_all((name,))

    def discard_all(self, names: Iterable[str]) -> None:
        """Remove names; those that are not there are fine."""
        for name in names:
            key = self._keys.pop(name, None)
            if key is not None:
                there = self._names[key]
                if isinstance(there, dict):
                    del there[name]
                else:
                    self._names[key] = ""

    @property
    def least(self) -> K | None:
        """The smallest key; None when there is none."""
        while self._heap and not self._names[self._heap[0]]:
            del self._names[heapq.heappop(self._heap)]
        return self._heap[0] if self._heap else None

    def take(self, bound: K) -> list[str]:
        """Remove and return, in order, what has a key up to *bound*."""
        taken: list[str] = []
        while (least := self.least) is not None and least <= bound:
            taken += self._those(least)
            self._names[least] = ""
        for name in taken:
            del self._keys[name]
        return taken

    def first(self, count: int) -> list[str]:
        """Return the names of the smallest keys, at most *count*; they stay."""
        taken: list[K] = []
        found: list[str] = []
        while len(found) < count and (least := self.least) is not None:
            taken.append(heapq.heappop(self._heap))
            found += self._those(least)
        for key in taken:
            heapq.heappush(self._heap, key)
        return found[:count]

    def _push(self, key: K) -> None:
        """Take in a key that is new; those that nobody has any more go when they are many."""
        heapq.heappush(self._heap, key)
        if len(self._heap) > 2 * len(self._keys) + _SLACK:
            self._names = {key: names for key, names in self._names.items() if names}
            self._heap = sorted(self._names)

    def _those(self, key: K) -> list[str]:
        """Return the names of a key; a name alone takes a third of the memory of several."""
        names = self._names[key]
        return list(names) if isinstance(names, dict) else [names]
