"""Versions' weights: one file each, made and read whole, the oldest removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater_models.arrays import Arrays, pack
from headwater_models.manifest import Manifest
from headwater_models.weights import load_weights, save_weights

KEPT = 50
"""So many of the newest versions keep their weights on disk."""


class Registry:
    """The folder of weights.

    Parameters
    ----------
    folder
        Where ``<version id>.safetensors`` lie.
    manifest
        Of the model that all of them belong to.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self._manifest = manifest
        self._packed: dict[str, NDArray[np.float32]] = {}

    def save(self, version: str, arrays: Arrays) -> None:
        """Write a version's weights, durable before this returns; again is harmless."""
        save_weights(self._path(version), arrays)

    def load(self, version: str) -> Arrays:
        """Read a version's weights.

        Raises
        ------
        StorageError, BundleError
            When the file is missing or damaged.
        """
        return load_weights(self._path(version), self._manifest)

    def packed(self, version: str) -> NDArray[np.float32]:
        """Return a version's packed vector, float32 ``[n]``; the same object while it is new."""
        if version not in self._packed:
            while len(self._packed) >= 2:
                del self._packed[next(iter(self._packed))]
            self._packed[version] = pack(self._manifest, self.load(version))
        return self._packed[version]

    def prune(self, keep: set[str]) -> None:
        """Remove the weights of all versions but these."""
        for path in self._folder.glob("*.safetensors"):
            if path.stem not in keep:
                path.unlink()

    def _path(self, version: str) -> Path:
        return self._folder / f"{version}.safetensors"
