"""Merging with Flower's FedAvg gives what the formula says, and leaves local arrays alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_coordinator.mergeable import refuse_unmergeable
from headwater_coordinator.merging import federated_average, merge
from headwater_models.arrays import pack, packed_size
from headwater_models.manifest import Array, Manifest
from tests.models.bundles import tiny

SIZE = 6
SMALL = st.floats(-1, 1, width=32)
VECTOR = npst.arrays("f4", SIZE, elements=SMALL)


def manifest(*arrays: Array) -> Manifest:
    fields = {name: getattr(tiny().manifest, name) for name in Manifest.__struct_fields__}
    return Manifest(**(fields | {"arrays": arrays, "state": ()}))


@given(VECTOR, st.lists(st.tuples(VECTOR, st.integers(1, 10_000)), min_size=1, max_size=8))
def test_equals_the_weighted_mean_in_float64(
    release: NDArray[np.float32], updates: list[tuple[NDArray[np.float32], int]]
) -> None:
    total = sum(weight for _, weight in updates)
    step = sum(difference.astype(np.float64) * weight for difference, weight in updates)

    merged = federated_average(release, updates)

    assert merged.dtype == np.float32
    np.testing.assert_allclose(merged, release.astype(np.float64) + step / total, atol=1e-6)


@given(VECTOR, VECTOR, st.integers(1, 10_000))
def test_one_device_is_given_back_exactly_what_it_learned(
    release: NDArray[np.float32], difference: NDArray[np.float32], weight: int
) -> None:
    merged = federated_average(release, [(difference, weight)])
    np.testing.assert_array_equal(merged, release + difference)


def test_local_arrays_stay_bit_for_bit() -> None:
    model = manifest(
        Array(name="shared", shape=(2, 2)), Array(name="own", shape=(3,), merge="local")
    )
    release = {
        "shared": np.zeros((2, 2), np.float32),
        "own": np.array([1.1, 2.2, 3.3], np.float32),
    }

    merged = merge(model, release, [(np.ones(packed_size(model), np.float32), 1)])

    np.testing.assert_array_equal(merged["own"], release["own"])
    np.testing.assert_array_equal(pack(model, merged), np.ones(4, np.float32))


def test_a_model_with_a_rule_that_is_not_known_here_is_refused_by_name() -> None:
    model = manifest(Array(name="head", shape=(2,)), Array(name="gram", shape=(2,), merge="sum"))
    with pytest.raises(UnsupportedError, match=r"gram \(sum\)"):
        refuse_unmergeable(model)


def test_a_model_with_nothing_to_share_is_refused() -> None:
    model = manifest(Array(name="own", shape=(2,), merge="local"))
    with pytest.raises(UnsupportedError, match="nothing to merge"):
        refuse_unmergeable(model)
