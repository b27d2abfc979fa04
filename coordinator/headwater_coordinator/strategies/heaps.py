"""Heaps: devices that are like each other, and like nobody else, in what they want of a model.

Honest devices differ in all directions, for their data do. Attackers who want the same differ from
everyone in one. So devices are seen as points, along the directions in which they vary most
(Shejwalkar and Houmansadr, *Manipulating the Byzantine*, NDSS 2021; Tran, Li and Madry, *Spectral
Signatures in Backdoor Attacks*, NeurIPS 2018), and split in two. A minority is a heap if its
members lie apart along the line from the middle of the others to their own, each measured by the
rest without it: in many dimensions any points would lie apart along a line that they make
themselves. How far apart is said as by Ashman, Bird and Zepf (*Detecting Bimodality in
Astronomical Datasets*, 1994): the distance of the means in standard deviations. Evenly spread
points come to 3.5.

There are three views, on what :mod:`.memory` has gathered of each device:

- the signs of its updates: who pushes against the others, or at weights that they leave alone, is
  told from who only pushes harder (SignGuard: Xu et al., ICDCS 2022);
- how its updates are spread over the weights, whatever their sign. A trigger stands in few inputs,
  and so in few weights, which honest updates move little. Each weight is measured by how much
  devices usually differ there, and no device counts for more than the median one;
- the same without that limit, for heaps of a few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater_coordinator.strategies.updates import Numbers

Points = NDArray[np.floating]
Mask = NDArray[np.bool_]

FEWEST = 20
"""Among fewer devices there are no heaps."""

_LEAST = 3
_MINORITY, _FEW = (0.45, 5.5), (0.15, 6.5)
"""Share of the devices that a heap may hold, and how far apart it must be: a few are so by chance
more often."""

_DIRECTIONS, _HEAPS, _PASSES = 2, 4, 3
_NOTHING = 1e-15


@dataclass(frozen=True, slots=True, eq=False)
class Heap:
    """The smaller part of some points, bool ``[N]``, and how far apart the two are."""

    apart: float
    members: Mask


def heaps(signs: Points, energies: Points, most: float) -> Mask:
    """Return who is in a heap, bool ``[N]``: the clearest one, then the next among the others.

    Parameters
    ----------
    signs, energies
        What is known of each device, ``[N, K]``.
    most
        Share of the devices that heaps may hold together.
    """
    found = np.zeros(len(signs), np.bool_)
    for _ in range(_HEAPS):
        left = np.flatnonzero(~found)
        if len(left) < FEWEST:
            break
        heap = _clearest(signs[left], energies[left], most * len(signs) - found.sum())
        if heap is None:
            break
        found[left[heap.members]] = True
    return found


def _clearest(signs: Points, energies: Points, room: float) -> Heap | None:
    unusual = _unusual(energies)
    views = ((signs, _MINORITY), (_shortened(unusual), _MINORITY), (unusual, _FEW))
    seen = [heap for points, limits in views for heap in _seen(points, *limits)]
    fitting = (heap for heap in seen if heap.members.sum() <= room)
    return max(fitting, key=lambda heap: heap.apart, default=None)


def _unusual(energies: Points) -> Points:
    """Return how far each is from the median, in what is usual there and everywhere."""
    columns = np.ascontiguousarray(energies.T)
    off = columns - _medians(columns)
    usual = _medians(np.abs(off))
    found: Points = np.ascontiguousarray((off / (usual + usual.mean() + _NOTHING)).T)
    return found


def _medians(rows: Points) -> Points:
    """Return the median of each row, ``[K, 1]``: short rows are sorted faster than partitioned."""
    ordered, count = np.sort(rows, axis=1), rows.shape[1]
    middle = ordered[:, (count - 1) // 2] + ordered[:, count // 2]
    found: Points = middle[:, None] / 2
    return found


def _shortened(points: Points) -> Points:
    lengths = np.linalg.norm(points, axis=1)
    found: Points = points * np.minimum(1, np.median(lengths) / (lengths + _NOTHING))[:, None]
    return found


def _seen(points: Points, most: float, apart: float) -> Iterator[Heap]:
    """Yield heaps along the directions of greatest variance."""
    centred = points - points.mean(axis=0)
    products = (centred @ centred.T).astype(np.float64)
    _, vectors = np.linalg.eigh(products)
    for direction in vectors.T[: -_DIRECTIONS - 1 : -1]:
        heap = split(direction, most)
        for _ in range(_PASSES):
            heap = split(_between(products, heap.members), most)
        if heap.apart >= apart:
            yield heap


def _between(products: Numbers, members: Mask) -> Numbers:
    """Return where each lies between the middles of a heap and of the others, without itself."""
    others = products - np.diag(np.diagonal(products))
    inside, outside = members.sum() - members, (~members).sum() - ~members
    found: Numbers = others @ members / inside - others @ ~members / outside
    return found


def split(line: Numbers, most: float) -> Heap:
    """Split points on a line in two so that each part varies least; return the smaller part.

    Parameters
    ----------
    line
        float64 ``[N]``, at least six points.
    most
        Share of the points that the smaller part may hold; three it may always.

    Examples
    --------
    >>> heap = split(np.array([0.0, 5.0, 0.1, 0.2, 5.1, 0.1, 5.2, 0.2]), 0.45)
    >>> heap.members.nonzero()[0].tolist(), round(heap.apart)
    ([1, 4, 6], 62)
    """
    count = len(line)
    order = np.argsort(line, kind="stable")
    ordered = line[order] - line.mean()
    sums, squares = np.cumsum(ordered), np.cumsum(ordered**2)
    lower = np.arange(_LEAST, count - _LEAST + 1)
    lower = lower[np.minimum(lower, count - lower) <= max(_LEAST, most * count)]
    upper = count - lower
    means = sums[lower - 1] / lower, (sums[-1] - sums[lower - 1]) / upper
    variances = (
        squares[lower - 1] / lower - means[0] ** 2,
        (squares[-1] - squares[lower - 1]) / upper - means[1] ** 2,
    )
    best = int(np.argmin(lower * variances[0] + upper * variances[1]))
    spread = np.sqrt(max((variances[0][best] + variances[1][best]) / 2, 0.0))
    members = np.zeros(count, np.bool_)
    cut = lower[best]
    members[order[:cut] if 2 * cut <= count else order[cut:]] = True
    distance = float(means[1][best] - means[0][best])
    return Heap(distance / (spread + _NOTHING), members)
