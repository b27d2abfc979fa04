"""The updates of one merge, read one at a time or a stretch of coordinates at a time.

Every rule is built from what stands here, so that the memory of a merge grows with the model and
not with the number of devices: a weighted sum (a few vectors at a time), stretches of coordinates
(as many as fit into :data:`BUDGET`), and the inner products of all pairs (summed over stretches).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]

BUDGET = 8 * 2**20
"""Bytes of float32 that a stretch of all updates takes, about."""

BLOCK_BUDGET = 2 * 2**20
"""Bytes that a block of whole updates takes at most, where it is more than one."""

_LEAST_STRETCH = 256
_BLOCK = 64
"""So many updates at most are added up in float32 before they are added to the sum in float64."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an update beside its vector.

    ``examples`` is what counts for the device, after the cap; ``staleness`` is how many releases
    ago its base was the release; ``loss`` is the device's loss on its base, as it says.
    """

    node: str
    examples: int
    staleness: int = 0
    loss: float = 0.0


class Source(Protocol):
    """Where the vectors lie."""

    def vector(self, index: int) -> Floats:
        """Return an update, the difference to its base: float32 ``[size]``."""

    def stretch(self, index: int, start: int, stop: int) -> Floats:
        """Return some coordinates of an update: float32 ``[stop - start]``."""

    def base(self, index: int) -> Floats:
        """Return the weights that an update started from: float32 ``[size]``."""


class MemorySource:
    """Vectors that are in memory anyway.

    Parameters
    ----------
    vectors
        Each float32 ``[size]``.
    bases
        What each update started from, where a rule asks for it.
    """

    def __init__(self, vectors: Sequence[Floats], bases: Sequence[Floats] = ()) -> None:
        self._vectors = vectors
        self._bases = bases

    def vector(self, index: int) -> Floats:
        """Return an update."""
        return self._vectors[index]

    def stretch(self, index: int, start: int, stop: int) -> Floats:
        """Return some coordinates of an update."""
        return self._vectors[index][start:stop]

    def base(self, index: int) -> Floats:
        """Return the weights that an update started from."""
        return self._bases[index]


class Updates:
    """The updates of one merge.

    Parameters
    ----------
    size
        Length of each vector.
    about
        One for each update, in the order in which they are merged. The order is the caller's to
        fix, so that the result depends on the updates alone.
    source
        Where their vectors lie.
    """

    def __init__(self, size: int, about: Sequence[About], source: Source) -> None:
        self.size = size
        self.about = tuple(about)
        self.source = source

    def __len__(self) -> int:
        return len(self.about)

    @property
    def examples(self) -> Numbers:
        """How many examples count for each, float64 ``[N]``."""
        return np.array([one.examples for one in self.about], np.float64)

    def combined(self, weights: Numbers) -> Numbers:
        """Return the weighted sum of the updates, float64 ``[size]``; weights are ``[N]``.

        An update whose weight is 0 is not read.
        """
        total = np.zeros(self.size, np.float64)
        fit = max(1, min(_BLOCK, len(self), BLOCK_BUDGET // (4 * max(self.size, 1))))
        rows = np.empty((fit, self.size), np.float32)
        for block in _cut(np.flatnonzero(weights), fit):
            for row, index in zip(rows, block.tolist(), strict=False):
                row[:] = self.source.vector(index)
            total += weights[block].astype(np.float32) @ rows[: len(block)]
        return total

    def mean(self, weights: Numbers) -> Numbers:
        """Return the weighted mean of the updates, float64 ``[size]``."""
        mean: Numbers = self.combined(weights) / weights.sum()
        return mean

    def squares(self) -> Numbers:
        """Return the squared Euclidean norm of each update, float64 ``[N]``."""
        vectors = (self.source.vector(i).astype(np.float64) for i in range(len(self)))
        return np.array([vector @ vector for vector in vectors])

    def stretches(self) -> Iterator[tuple[slice, Floats]]:
        """Yield coordinates and what all updates have there, float32 ``[N, coordinates]``."""
        width = max(_LEAST_STRETCH, BUDGET // (4 * max(len(self), 1)))
        for start in range(0, self.size, width):
            stop = min(start + width, self.size)
            rows = np.empty((len(self), stop - start), np.float32)
            for index, row in enumerate(rows):
                row[:] = self.source.stretch(index, start, stop)
            yield slice(start, stop), rows

    def products(self) -> Numbers:
        """Return the inner products of all pairs, float64 ``[N, N]``, summed in float64."""
        found = np.zeros((len(self), len(self)))
        for _, rows in self.stretches():
            exact = rows.astype(np.float64)
            found += exact @ exact.T
        return found


class Mixed(Updates):
    """Updates each of which is a weighted sum of others; nothing is made before it is asked for.

    Parameters
    ----------
    updates
        What is mixed.
    shares
        ``[N, N]``: a row for each mixed update, with the weight of each update in it.
    products
        The inner products of the updates that are mixed.
    """

    def __init__(self, updates: Updates, shares: Numbers, products: Numbers) -> None:
        super().__init__(updates.size, updates.about, updates.source)
        self._updates = updates
        self._shares = shares
        self._products = products

    def combined(self, weights: Numbers) -> Numbers:
        """Return the weighted sum of the mixed updates."""
        return self._updates.combined(weights @ self._shares)

    def squares(self) -> Numbers:
        """Return the squared norm of each mixed update."""
        return np.diagonal(self.products()).copy()

    def stretches(self) -> Iterator[tuple[slice, Floats]]:
        """Yield stretches of the mixed updates."""
        shares = self._shares.astype(np.float32)
        for where, rows in self._updates.stretches():
            yield where, shares @ rows

    def products(self) -> Numbers:
        """Return the inner products of the mixed updates."""
        found: Numbers = self._shares @ self._products @ self._shares.T
        return found


def distances(products: Numbers) -> Numbers:
    """Return the squared distances ``[N, N]`` that follow from all inner products.

    Examples
    --------
    >>> distances(np.array([[0.0, 0.0], [0.0, 9.0]])).tolist()
    [[0.0, 9.0], [9.0, 0.0]]
    """
    squares = np.diagonal(products)
    apart = np.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0)
    np.fill_diagonal(apart, 0.0)
    return apart


def _cut(indices: NDArray[np.intp], length: int) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(indices), length):
        yield indices[start : start + length]
