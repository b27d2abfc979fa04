"""Named arrays packed into the one vector that crosses the wire, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from headwater.errors import PeerError
from headwater_models.manifest import Manifest

Arrays = dict[str, NDArray[np.float32]]


def packed_size(manifest: Manifest) -> int:
    """Return the length of the packed vector of *manifest*."""
    return sum(array.size for array in manifest.shared)


def pack(manifest: Manifest, arrays: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Join the shared arrays, each in C order, in the manifest's order.

    Returns
    -------
    numpy.ndarray
        float32 ``[packed_size(manifest)]``.
    """
    parts = [np.ascontiguousarray(arrays[a.name], np.float32).ravel() for a in manifest.shared]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def unpack(manifest: Manifest, vector: NDArray[np.float32]) -> Arrays:
    """Cut a packed vector into named arrays.

    Raises
    ------
    PeerError
        When the vector has another dtype, shape or length, or a value that is not finite.
    """
    size = packed_size(manifest)
    if vector.dtype != np.float32 or vector.shape != (size,):
        raise PeerError(
            f"The packed arrays are {vector.dtype} {list(vector.shape)}; "
            f"model {manifest.name} has float32 [{size}]."
        )
    if not np.isfinite(vector).all():
        raise PeerError("The packed arrays hold a value that is not finite (NaN or infinity).")
    arrays: Arrays = {}
    start = 0
    for array in manifest.shared:
        arrays[array.name] = vector[start : start + array.size].reshape(array.shape).copy()
        start += array.size
    return arrays
