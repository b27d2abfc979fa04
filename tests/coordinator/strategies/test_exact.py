"""Statistics merge exactly: the head is the one of the pooled data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_coordinator.strategies.exact import merge_statistics
from headwater_models.arrays import pack_statistics
from headwater_models.manifest import Manifest
from headwater_models.statistics import merge, solve
from tests.models.statistics.gathered import CLASSES, Data, gather, manifest, some_data

RIDGE = manifest()
LEARNERS: dict[str, Manifest] = {"sum": RIDGE, "moments": manifest("naive_bayes", classes=CLASSES)}


def ones(model: Manifest, value: float = 1.0) -> dict[str, np.ndarray]:
    return {a.name: np.full(a.shape, value, np.float32) for a in model.arrays}


@pytest.mark.parametrize("rule", LEARNERS)
def test_the_head_is_solved_from_all_contributions_and_the_backbone_stays(rule: str) -> None:
    model = LEARNERS[rule]
    assert {array.merge for array in model.statistics} == {rule}
    parts = [some_data(model, 80, seed) for seed in range(3)]
    given_ = [pack_statistics(model, gather(model, part)) for part in parts]
    pooled = Data(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.target for part in parts]),
    )

    merged = merge_statistics(model, ones(model), iter(given_), ones(model))

    for name, value in solve(model, gather(model, pooled)).items():
        np.testing.assert_allclose(merged[name], value, rtol=1e-5, atol=1e-6)
    assert (merged["hidden"] == 1).all()


@given(st.sampled_from(list(LEARNERS)), st.integers(1, 5))
def test_one_at_a_time_is_bit_for_bit_all_at_once(rule: str, count: int) -> None:
    model = LEARNERS[rule]
    parts = {str(seed): gather(model, some_data(model, 60, seed)) for seed in range(count)}
    given_ = [pack_statistics(model, parts[name]) for name in sorted(parts)]
    merged = merge_statistics(model, ones(model), given_, ones(model))
    for name, value in solve(model, merge(model, parts)).items():
        assert merged[name].tobytes() == value.tobytes()


def test_where_nobody_contributes_the_head_is_the_untaught_one() -> None:
    merged = merge_statistics(RIDGE, ones(RIDGE), [], ones(RIDGE, 0.0))
    assert (merged["hidden"] == 1).all()
    assert all((merged[name] == 0).all() for name in ("head.weight", "head.bias"))
