"""Exact merges: statistics by ``sum`` and ``moments``, and the head that follows from them."""

from __future__ import annotations

from collections.abc import Iterable

from headwater.objects import Vector
from headwater_models.arrays import Arrays, unpack_statistics
from headwater_models.manifest import Manifest
from headwater_models.statistics import add, head_of, no_statistics, solve


def merge_statistics(
    manifest: Manifest, release: Arrays, contributions: Iterable[Vector], untaught: Arrays
) -> Arrays:
    """Return the candidate's arrays: its head solved from all contributions together.

    Parameters
    ----------
    release
        The arrays of the release, whose backbone the contributions were gathered on.
    contributions
        Packed statistics, float64 ``[n]``, of each device, in an order that does not depend on
        when they came; they are taken one at a time.
    untaught
        The arrays of the model as its publisher made it; its head stands where nobody contributes.

    Raises
    ------
    UnsupportedError
        When no finite head follows from the statistics.
    """
    merged, empty = no_statistics(manifest), True
    for vector in contributions:
        merged, empty = add(manifest, merged, unpack_statistics(manifest, vector)), False
    return release | (head_of(manifest, untaught) if empty else solve(manifest, merged))
