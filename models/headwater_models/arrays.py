"""Named arrays packed into the one vector that crosses the wire, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import PeerError
from headwater_models.manifest import Array, Manifest

Arrays = dict[str, NDArray[np.float32]]
Statistics = dict[str, NDArray[np.float64]]
State = dict[str, NDArray[Any]]
"""What a training graph carries from step to step: the optimiser's arrays, or statistics."""

MEMBERS = "M"
"""The leading axis, in a stacked graph, of what each member has of its own."""


def packed_size(manifest: Manifest) -> int:
    """Return the length of the packed vector of *manifest*."""
    return manifest.packed_size


def packed_bytes(manifest: Manifest) -> int:
    """Return the bytes of the longest vector that is sent about *manifest*."""
    return max(4 * packed_size(manifest), 8 * _size(manifest.statistics))


def pack(manifest: Manifest, arrays: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Join the shared arrays, each in C order, in the manifest's order.

    Returns
    -------
    numpy.ndarray
        float32 ``[packed_size(manifest)]``.
    """
    return np.concatenate([np.zeros(0, np.float32), *_parts(manifest.shared, arrays)])


def pack_statistics(
    manifest: Manifest, statistics: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Join the statistics as :func:`pack` joins the shared arrays, into float64 ``[n]``."""
    return np.concatenate([np.zeros(0, np.float64), *_parts(manifest.statistics, statistics)])


def unpack(manifest: Manifest, vector: NDArray[np.floating]) -> Arrays:
    """Cut a packed vector into named arrays.

    Raises
    ------
    PeerError
        When the vector has another dtype, shape or length, or a value that is not finite.
    """
    return _cut(manifest, manifest.shared, vector, "float32")


def unpack_statistics(manifest: Manifest, vector: NDArray[np.floating]) -> Statistics:
    """Cut packed statistics into named arrays; raises as :func:`unpack`."""
    return _cut(manifest, manifest.statistics, vector, "float64")


def _size(arrays: Iterable[Array]) -> int:
    return sum(array.size for array in arrays)


def _parts(arrays: Sequence[Array], values: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    return [np.ascontiguousarray(values[a.name], a.dtype).ravel() for a in arrays]


def _cut(
    manifest: Manifest, arrays: Sequence[Array], vector: NDArray[Any], dtype: str
) -> dict[str, NDArray[Any]]:
    size = _size(arrays)
    if vector.dtype != dtype or vector.shape != (size,):
        raise PeerError(
            f"The packed arrays are {vector.dtype} {list(vector.shape)}; "
            f"model {manifest.name} has {dtype} [{size}]."
        )
    if not np.isfinite(vector).all():
        raise PeerError("The packed arrays hold a value that is not finite (NaN or infinity).")
    found: dict[str, NDArray[Any]] = {}
    start = 0
    for array in arrays:
        found[array.name] = vector[start : start + array.size].reshape(array.shape).copy()
        start += array.size
    return found
