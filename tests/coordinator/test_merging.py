"""Merging with Flower's FedAvg gives what the formula says, and leaves local arrays alone."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from headwater.errors import BundleError, UnsupportedError
from headwater_coordinator.mergeable import refuse_unmergeable
from headwater_coordinator.merging import federated_average, merge, merge_statistics
from headwater_models.arrays import pack, pack_statistics, packed_size
from headwater_models.manifest import Array, Manifest
from headwater_models.statistics import solve
from tests.models.bundles import tiny
from tests.models.statistics.gathered import Data, gather, some_data
from tests.models.statistics.gathered import manifest as statistics_model

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


def test_a_solved_array_needs_statistics_that_it_follows_from() -> None:
    model = manifest(Array(name="head", shape=(2,), merge="solved"))
    with pytest.raises(UnsupportedError, match=r"head \(solved\)"):
        refuse_unmergeable(model)
    refuse_unmergeable(statistics_model())


def test_statistics_that_are_not_those_of_the_learner_are_refused() -> None:
    model = statistics_model()
    with pytest.raises(BundleError, match="statistics of learner ridge"):
        refuse_unmergeable(msgspec.structs.replace(model, statistics=model.statistics[:-1]))


def test_the_head_is_solved_from_all_contributions_and_the_backbone_stays() -> None:
    model = statistics_model()
    release = {a.name: np.ones(a.shape, np.float32) for a in model.arrays}
    parts = {name: some_data(model, 80, seed) for seed, name in enumerate("cab")}
    given_ = {name: pack_statistics(model, gather(model, part)) for name, part in parts.items()}
    pooled = Data(
        np.concatenate([part.features for part in parts.values()]),
        np.concatenate([part.target for part in parts.values()]),
    )

    merged = merge_statistics(model, release, given_, release)

    for name, value in solve(model, gather(model, pooled)).items():
        np.testing.assert_allclose(merged[name], value, rtol=1e-6)
    assert merged["hidden"].tobytes() == release["hidden"].tobytes()


def test_where_nobody_contributes_the_head_is_the_untaught_one() -> None:
    model = statistics_model()
    release = {a.name: np.ones(a.shape, np.float32) for a in model.arrays}
    untaught = {a.name: np.zeros(a.shape, np.float32) for a in model.arrays}

    merged = merge_statistics(model, release, {}, untaught)

    assert (merged["hidden"] == 1).all()
    assert all((merged[name] == 0).all() for name in ("head.weight", "head.bias"))


def test_a_model_with_nothing_to_share_is_refused() -> None:
    model = manifest(Array(name="own", shape=(2,), merge="local"))
    with pytest.raises(UnsupportedError, match="nothing to merge"):
        refuse_unmergeable(model)
