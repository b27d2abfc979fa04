"""Merging contributions: the same as gathering all of their examples in one place.

A contribution is cumulative: it *replaces* what the same device gave before. So to remove one is
to merge the others, and the result is, bit for bit, what it had been without it. That holds for
statistics, and for a head solved from them; weights that were averaged cannot be taken apart again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from headwater_models.arrays import Arrays, Statistics
from headwater_models.manifest import Manifest
from headwater_models.statistics.moments import merge_moments, take_moments


def no_statistics(manifest: Manifest) -> Statistics:
    """Return the statistics of no example: zeros."""
    return {array.name: np.zeros(array.shape) for array in manifest.statistics}


def add(manifest: Manifest, ours: Statistics, theirs: Statistics) -> Statistics:
    """Return the statistics of both together, by the rules of the manifest."""
    return {
        array.name: merge_moments(ours[array.name], theirs[array.name])
        if array.merge == "moments"
        else ours[array.name] + theirs[array.name]
        for array in manifest.statistics
    }


def merge(manifest: Manifest, contributions: Mapping[str, Statistics]) -> Statistics:
    """Merge by the rules of the manifest, ``sum`` and ``moments``.

    Parameters
    ----------
    contributions
        By the name of who gave them. They are merged in the order of these names, so that the
        result depends on the contributions alone, not on the order in which they came.
    """
    merged = no_statistics(manifest)
    for name in sorted(contributions):
        merged = add(manifest, merged, contributions[name])
    return merged


def without(manifest: Manifest, whole: Statistics, part: Statistics) -> Statistics:
    """Return what is left of statistics without those of some of their examples.

    It is what the other examples give, but for rounding in the size of the whole. For erasure
    merge the others instead: that leaves no trace.
    """
    return {
        array.name: take_moments(whole[array.name], part[array.name])
        if array.merge == "moments"
        else whole[array.name] - part[array.name]
        for array in manifest.statistics
    }


def dependence(manifest: Manifest, arrays: Arrays) -> str:
    """Name what the statistics of a version hold for: a hash of the arrays they depend on.

    Statistics gathered under another one must not be merged with these, nor go on growing.
    """
    names = {name for array in manifest.statistics for name in array.depends_on}
    digest = hashlib.sha256(b"headwater statistics 1")
    for array in manifest.arrays:
        if array.name in names:
            digest.update(np.ascontiguousarray(arrays[array.name], "<f4").tobytes())
    return digest.hexdigest()
