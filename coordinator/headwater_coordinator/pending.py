"""Pending updates where they lie: in the books, read one at a time or in part."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from headwater_coordinator.state import Pending
from headwater_coordinator.strategies import About, Floats, Source, Updates

_FLOAT = 4


class _Books:
    """A :class:`.strategies.Source`: blobs of ``coordinator.db``, opened when first asked for.

    An open blob remembers where its pages are, so that a stretch costs what it is long.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        rows: Sequence[int],
        bases: Sequence[str],
        packed: Callable[[str], Floats],
        opened: ExitStack,
    ) -> None:
        self._connection = connection
        self._rows = rows
        self._bases = bases
        self._packed = packed
        self._opened = opened
        self._blobs: dict[int, sqlite3.Blob] = {}

    def vector(self, index: int) -> Floats:
        """Return an update."""
        with self._blob(index) as blob:
            return np.frombuffer(blob.read(), "<f4")

    def stretch(self, index: int, start: int, stop: int) -> Floats:
        """Return some coordinates of an update."""
        if index not in self._blobs:
            self._blobs[index] = self._opened.enter_context(self._blob(index))
        blob = self._blobs[index]
        blob.seek(_FLOAT * start)
        return np.frombuffer(blob.read(_FLOAT * (stop - start)), "<f4")

    def base(self, index: int) -> Floats:
        """Return the weights that an update started from."""
        return self._packed(self._bases[index])

    def _blob(self, index: int) -> sqlite3.Blob:
        return self._connection.blobopen("updates", "vector", self._rows[index], readonly=True)


@contextmanager
def reading(
    connection: sqlite3.Connection,
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
        row, loss = connection.execute(query, (update.node, update.sequence)).fetchone()
        rows.append(row)
        about.append(
            About(
                node=update.node,
                examples=update.weight,
                staleness=staleness(update.base),
                loss=loss,
            )
        )
    with ExitStack() as opened:
        bases = [update.base for update in ordered]
        source: Source = _Books(connection, rows, bases, packed, opened)
        yield Updates(size, about, source)
