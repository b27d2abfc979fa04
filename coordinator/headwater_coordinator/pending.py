"""Pending updates where they lie: in the books, read one at a time or in part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from headwater_coordinator.engines import Blobs, Engine
from headwater_coordinator.state import Pending
from headwater_coordinator.strategies import About, Floats, Source, Updates

_FLOAT = 4


class _Books:
    """A :class:`.strategies.Source`: vectors in the books."""

    def __init__(
        self, vectors: Blobs, bases: Sequence[str], packed: Callable[[str], Floats]
    ) -> None:
        self._vectors = vectors
        self._bases = bases
        self._packed = packed

    def vector(self, index: int) -> Floats:
        """Return an update."""
        return np.frombuffer(self._vectors.whole(index), "<f4")

    def stretch(self, index: int, start: int, stop: int) -> Floats:
        """Return some coordinates of an update."""
        return np.frombuffer(self._vectors.part(index, _FLOAT * start, _FLOAT * stop), "<f4")

    def base(self, index: int) -> Floats:
        """Return the weights that an update started from."""
        return self._packed(self._bases[index])


@contextmanager
def reading(
    engine: Engine,
    updates: Sequence[Pending],
    size: int,
    *,
    staleness: Callable[[str], int],
    packed: Callable[[str], Floats],
) -> Iterator[Updates]:
    """Read pending updates, in the order of their devices' keys; write nothing meanwhile.

    Parameters
    ----------
    updates
        What is merged.
    size
        Length of each vector.
    staleness
        How many releases ago a version was the release.
    packed
        The packed weights of a version.
    """
    query = "SELECT id, loss_before FROM updates WHERE node = ? AND sequence = ?"
    ordered = sorted(updates, key=lambda update: update.node)
    rows, about = [], []
    for update in ordered:
        ((row, loss),) = engine.execute(query, (update.node, update.sequence))
        rows.append(row)
        about.append(
            About(
                node=update.node,
                examples=update.weight,
                staleness=staleness(update.base),
                loss=loss,
            )
        )
    with engine.blobs("updates", "vector", rows) as vectors:
        source: Source = _Books(vectors, [update.base for update in ordered], packed)
        yield Updates(size, about, source)
