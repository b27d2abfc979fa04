"""The two names of a bundle: the model (its manifest and graphs) and the version (its weights).

Both are SHA-256 over length-prefixed fields behind a prefix of their own, so that no two
different contents, and no content of another kind, have the same bytes under the hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from headwater_models.manifest import Manifest
from headwater_models.weights import check_weights

_MODEL = b"headwater model 1"
_VERSION = b"headwater version 1"


def model_id(manifest_json: bytes, infer: bytes, train: bytes, stacked: bytes | None = None) -> str:
    """Name a model, whatever its weights.

    Parameters
    ----------
    manifest_json, infer, train
        The files' bytes as they stand in the bundle.
    stacked
        Those of ``infer.stacked.onnx``; a bundle without it has the name of the others alone.

    Returns
    -------
    str
        64 lower-case hexadecimal digits.
    """
    graphs = [infer, train] if stacked is None else [infer, train, stacked]
    return _digest([_MODEL, manifest_json, *graphs])


def version_id(manifest: Manifest, model: str, weights: Mapping[str, NDArray[np.float32]]) -> str:
    """Name a version: the model and the values of all arrays, not the bytes of a file.

    Each array, in the manifest's order, counts by its name, dtype, shape and little-endian
    C-order bytes, so that strides and file layout do not matter.

    Raises
    ------
    BundleError
        When the weights are not those of the manifest (see :func:`.weights.check_weights`).
    """
    check_weights(manifest, weights)
    return _digest(_version_fields(manifest, model, weights))


def _version_fields(
    manifest: Manifest, model: str, weights: Mapping[str, NDArray[np.float32]]
) -> Iterable[bytes]:
    yield _VERSION
    yield model.encode()
    for array in manifest.arrays:
        yield array.name.encode()
        yield array.dtype.encode()
        yield ",".join(map(str, array.shape)).encode()
        yield np.ascontiguousarray(weights[array.name], "<f4").tobytes()


def _digest(fields: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for field in fields:
        digest.update(len(field).to_bytes(8, "little"))
        digest.update(field)
    return digest.hexdigest()
