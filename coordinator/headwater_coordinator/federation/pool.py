"""A set of names from which a sample costs as much as the sample."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class Pool:
    """Names, each once; adding and removing one costs the same however many there are.

    Examples
    --------
    >>> pool = Pool()
    >>> for name in "abc":
    ...     pool.add(name)
    >>> pool.discard_all(["b"])
    >>> sorted(pool.sample(5, np.random.default_rng(0)))
    ['a', 'c']
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def add(self, name: str) -> None:
        """Add a name; one that is there stays."""
        if name not in self._places:
            self._places[name] = len(self._names)
            self._names.append(name)

    def discard_all(self, names: Iterable[str]) -> None:
        """Remove names; those that are not there are fine. The last one takes the place of each."""
        for name in names:
            place = self._places.pop(name, None)
            if place is not None:
                last = self._names.pop()
                if last != name:
                    self._names[place] = last
                    self._places[last] = place

    def sample(self, count: int, rng: np.random.Generator) -> list[str]:
        """Draw *count* different names, or all of them, each set as likely as any other."""
        count = min(count, len(self._names))
        if count == 0:
            return []
        places = rng.choice(len(self._names), size=count, replace=False)
        return [self._names[int(place)] for place in places]
