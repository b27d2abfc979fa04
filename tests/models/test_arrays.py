"""The packed vector: what goes in comes out, and nothing else is taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from headwater.errors import PeerError
from headwater_models.arrays import pack, packed_size, unpack
from headwater_models.manifest import Array, Manifest
from tests.models.bundles import manifest_with, models

Model = tuple[Manifest, dict[str, NDArray[np.float32]]]

TWO = manifest_with(Array(name="w", shape=(2, 2)), Array(name="b", shape=(2,)))


@given(models())
def test_shared_arrays_survive_packing_bit_for_bit(model: Model) -> None:
    manifest, weights = model
    back = unpack(manifest, pack(manifest, weights))
    assert list(back) == [array.name for array in manifest.shared]
    for name, value in back.items():
        assert value.tobytes() == weights[name].tobytes()
        assert value.shape == weights[name].shape


@given(models())
def test_local_arrays_are_not_in_the_vector(model: Model) -> None:
    manifest, weights = model
    local = [array.size for array in manifest.arrays if array.merge == "local"]
    everything = sum(value.size for value in weights.values())
    assert packed_size(manifest) == len(pack(manifest, weights)) == everything - sum(local)


def test_unpacked_arrays_do_not_share_memory_with_the_vector() -> None:
    vector = np.zeros(6, np.float32)
    unpack(TWO, vector)["w"][...] = 1
    assert not vector.any()


@pytest.mark.parametrize(
    ("vector", "complaint"),
    [
        (np.zeros(5, np.float32), r"float32 \[5\]; model river has float32 \[6\]"),
        (np.zeros((1, 6), np.float32), r"\[1, 6\]"),
        (np.zeros(6, np.float64), "float64"),
        (np.array([0, 0, np.nan, 0, 0, 0], np.float32), "not finite"),
        (np.array([0, 0, 0, 0, 0, np.inf], np.float32), "not finite"),
    ],
)
def test_a_vector_that_does_not_fit_is_refused(vector: NDArray[np.float32], complaint: str) -> None:
    with pytest.raises(PeerError, match=complaint):
        unpack(TWO, vector)
