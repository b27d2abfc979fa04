"""What a learner of statistics is: what it gathers, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from headwater_models.arrays import Arrays, Statistics
from headwater_models.manifest import Manifest

Numbers = NDArray[np.float64]

MIN_CLASS = 10
"""A class with fewer examples than this stays on the device: its sums would say too much about
each of them."""

LARGEST_SQUARE = 1e8
"""Features are of the order of one; a mean square above this is no measurement."""

ROUNDING = 1e-9
"""Share of a figure by which the order of its summation may move it."""


class Learner(Protocol):
    """One kind of head that is solved from statistics.

    The laws, each with a test of its name: statistics of two sets merged are those of the set of
    both; the head depends on nothing else; around a start it is the start until there is data.
    """

    @property
    def merge(self) -> Literal["sum", "moments"]:
        """By which rule what is gathered merges."""

    def features(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return how many features statistics of these shapes are of; 0 where they are others."""

    def statistics(self, features: int, outputs: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what is gathered, by name."""

    def head(self, features: int, outputs: int, *, classifies: bool) -> dict[str, Numbers]:
        """Return a head that knows nothing: what it is before there is data."""

    def count(self, statistics: Statistics) -> float:
        """Return how many examples, by weight, the statistics hold."""

    def classes(self, manifest: Manifest, statistics: Statistics) -> Numbers:
        """Return the examples of each class, ``[K]``; of a regression, none, ``[0]``."""

    def solve(
        self, manifest: Manifest, statistics: Statistics, start: Mapping[str, Numbers] | None
    ) -> dict[str, Numbers]:
        """Return the head; see :func:`headwater_models.statistics.solve`."""

    def loss(self, statistics: Statistics, head: Mapping[str, Numbers]) -> float:
        """Return the mean loss that the learner makes small, over all examples gathered."""

    def complaints(self, manifest: Manifest, statistics: Statistics) -> Iterator[str]:
        """Yield, as sentences, what shows that no examples can have led to these statistics."""


def exact(arrays: Arrays) -> dict[str, Numbers]:
    """Return arrays in float64."""
    return {name: array.astype(np.float64) for name, array in arrays.items()}
