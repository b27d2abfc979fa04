"""Quantiles of a channel within a stated relative error, from counts in geometric bins.

DDSketch (Masson, Rim and Lee, *DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
Relative-Error Guarantees*, VLDB 2019) by its authors' package. Its bins are fixed by the error
alone, so that sketches merge exactly, and it keeps no value.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from ddsketch.ddsketch import BaseDDSketch
from ddsketch.mapping import LogarithmicMapping
from ddsketch.store import DenseStore
from numpy.typing import NDArray

from headwater.errors import PeerError
from headwater_models.manifest import Channel
from headwater_models.statistics.summary import Count, finite, read, refuse_others

ACCURACY = 0.01
"""Largest relative error of a quantile."""

DEPTH = 1e6
"""Values this many times nearer to zero than the largest possible one count as zero."""

_Filled = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
_Bins = Annotated[dict[int, _Filled], msgspec.Meta(max_length=4_096)]


class _Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reach: Annotated[float, msgspec.Meta(ge=1e-300, le=1e300)]
    accuracy: Annotated[float, msgspec.Meta(ge=0.005, le=0.5)]
    zeros: Count
    positive: _Bins
    negative: _Bins


class QuantileSketch:
    """A :class:`.summary.Summary` that answers for quantiles.

    An answer lies within *accuracy* times the true value of it, or, where that is smaller than
    *reach* / :data:`DEPTH`, is zero.

    Parameters
    ----------
    reach
        The largest absolute value; what lies beyond counts as that.
    accuracy
        Largest relative error, from 0.005 to 0.5.

    Examples
    --------
    >>> sketch = QuantileSketch(1000.0)
    >>> sketch.add(np.arange(1.0, 102.0))
    >>> abs(sketch.quantile(0.5) - 51) <= 0.51
    True
    """

    def __init__(self, reach: float, accuracy: float = ACCURACY) -> None:
        self._reach, self._accuracy = reach, accuracy
        self._mapping = LogarithmicMapping(accuracy)
        self._positive, self._negative, self._zeros = DenseStore(), DenseStore(), 0

    @classmethod
    def of(cls, channel: Channel) -> QuantileSketch:
        """Return an empty one for a channel's range."""
        return cls(max(abs(channel.minimum), abs(channel.maximum)))

    @property
    def count(self) -> int:
        """How many values it is of."""
        return int(self._positive.count + self._negative.count) + self._zeros

    def add(self, values: NDArray[np.floating]) -> None:
        """Take values of any shape; what is not finite is passed over."""
        there = np.clip(finite(values), -self._reach, self._reach)
        small = np.abs(there) < self._reach / DEPTH
        self._zeros += int(small.sum())
        for value in there[~small].tolist():
            store = self._positive if value > 0 else self._negative
            store.add(self._mapping.key(abs(value)))

    def merge(self, other: QuantileSketch) -> None:
        """Take all values of another one.

        Raises
        ------
        UnsupportedError
            When it was made for another channel or accuracy.
        """
        refuse_others(self._made_for(), other._made_for(), "quantile sketch")
        self._positive.merge(other._positive)
        self._negative.merge(other._negative)
        self._zeros += other._zeros

    def quantile(self, level: float) -> float | None:
        """Return the value below which a share *level* of the values lies; None of nothing."""
        stores = self._positive, self._negative
        answer = BaseDDSketch(self._mapping, *stores, self._zeros).get_quantile_value(level)
        return None if answer is None else float(answer)

    def encode(self) -> bytes:
        """Return bytes that :meth:`decode` reads."""
        bins = _filled(self._positive), _filled(self._negative)
        return msgspec.json.encode(_Saved(*self._made_for(), self._zeros, *bins))

    @classmethod
    def decode(cls, data: bytes) -> QuantileSketch:
        """Read what :meth:`encode` wrote.

        Raises
        ------
        PeerError
            When it is anything else, or has bins that no value within its reach falls into.
        """
        saved = read(data, _Saved, "quantile sketch")
        sketch = cls(saved.reach, saved.accuracy)
        sketch._zeros = saved.zeros
        lowest, highest = (sketch._mapping.key(x) for x in (saved.reach / DEPTH, saved.reach))
        for store, bins in ((sketch._positive, saved.positive), (sketch._negative, saved.negative)):
            if bins and not (lowest <= min(bins) and max(bins) <= highest):
                raise PeerError(f"A quantile sketch has bins beyond its reach {saved.reach}.")
            for key in sorted(bins):
                store.add(key, bins[key])
        return sketch

    def _made_for(self) -> tuple[float, float]:
        return self._reach, self._accuracy


def _filled(store: DenseStore) -> dict[int, int]:
    return {store.offset + at: int(count) for at, count in enumerate(store.bins) if count}
