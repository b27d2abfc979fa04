"""Versions' weights on disk: whole, found again, and the oldest removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headwater.errors import BundleError, StorageError
from headwater_coordinator.registry import Registry
from headwater_models.arrays import pack
from tests.models.bundles import tiny


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    registry = Registry(tmp_path, tiny().manifest)
    registry.save("v1", tiny().weights)
    for name, value in registry.load("v1").items():
        np.testing.assert_array_equal(value, tiny().weights[name])
    np.testing.assert_array_equal(registry.packed("v1"), pack(tiny().manifest, tiny().weights))


def test_a_version_for_many_devices_is_packed_once(tmp_path: Path) -> None:
    registry = Registry(tmp_path, tiny().manifest)
    registry.save("v1", tiny().weights)
    assert registry.packed("v1") is registry.packed("v1")


def test_only_what_is_kept_stays(tmp_path: Path) -> None:
    registry = Registry(tmp_path, tiny().manifest)
    for version in ("v1", "v2"):
        registry.save(version, tiny().weights)
    registry.prune({"v2"})
    registry.load("v2")
    with pytest.raises(StorageError):
        registry.load("v1")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    registry = Registry(tmp_path, tiny().manifest)
    (tmp_path / "v1.safetensors").write_bytes(b"short")
    with pytest.raises(BundleError, match=r"v1\.safetensors"):
        registry.load("v1")
