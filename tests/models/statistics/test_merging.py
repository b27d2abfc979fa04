from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_models.arrays import Arrays, Statistics, pack_statistics, unpack_statistics
from headwater_models.manifest import Manifest
from headwater_models.statistics import dependence, learner_of, merge, no_statistics, without
from tests.models.statistics.gathered import CLASSES, data, gather, manifest, some_data, splits

MODELS = (
    manifest("ridge"),
    manifest("ridge", classes=CLASSES),
    manifest("naive_bayes", classes=CLASSES),
)

each = pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.learner} {m.task}")


def assert_near(ours: Arrays | Statistics, theirs: Arrays | Statistics) -> None:
    """The same to a relative 1e-9 of each array's largest value."""
    assert ours.keys() == theirs.keys()
    for name in ours:
        size = np.abs(theirs[name]).max()
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9, atol=1e-9 * size)


def same_bits(ours: Statistics, theirs: Statistics) -> bool:
    return all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


@given(st.data())
@each
def test_merged_over_any_split_statistics_and_head_are_those_of_the_pooled_data(
    model: Manifest, draw: st.DataObject
) -> None:
    pooled = draw.draw(data(model))
    devices = draw.draw(splits(pooled))

    merged = merge(model, {name: gather(model, part) for name, part in devices.items()})

    expected = gather(model, pooled)
    assert_near(merged, expected)
    learner = learner_of(model)
    assert_near(learner.solve(model, merged, None), learner.solve(model, expected, None))


@given(st.data())
@each
def test_the_order_in_which_contributions_come_makes_no_difference_in_a_single_bit(
    model: Manifest, draw: st.DataObject
) -> None:
    devices = draw.draw(splits(draw.draw(data(model))))
    given_ = {name: gather(model, part) for name, part in devices.items()}
    order = draw.draw(st.permutations(sorted(given_)))

    assert same_bits(merge(model, {name: given_[name] for name in order}), merge(model, given_))


@given(st.data())
@each
def test_without_one_contribution_the_result_is_bit_for_bit_the_merge_of_the_others(
    model: Manifest, draw: st.DataObject
) -> None:
    devices = draw.draw(splits(draw.draw(data(model))))
    leaver = draw.draw(st.sampled_from(sorted(devices)))
    book: dict[str, Statistics] = {}
    for name, part in devices.items():
        book[name] = gather(model, part)
        merge(model, book)  # a candidate at any time changes nothing of what follows

    del book[leaver]

    others = {name: gather(model, part) for name, part in devices.items() if name != leaver}
    assert same_bits(merge(model, book), merge(model, others))
    if others and learner_of(model).count(merge(model, others)) > 0:
        one = learner_of(model).solve(model, merge(model, book), None)
        two = learner_of(model).solve(model, merge(model, others), None)
        assert same_bits(one, two)


@given(st.data())
@each
def test_a_cumulative_contribution_replaces_the_earlier_ones_however_often_they_came(
    model: Manifest, draw: st.DataObject
) -> None:
    pooled = draw.draw(data(model))
    devices = draw.draw(splits(pooled))
    book: dict[str, Statistics] = {}
    for name, part in devices.items():
        for seen in (0.3, 0.3, 0.7, 1.0, 1.0):
            book[name] = gather(model, part.part(slice(round(seen * len(part.target)))))

    assert_near(merge(model, book), gather(model, pooled))


@each
def test_statistics_without_those_of_one_device_are_nearly_the_others(model: Manifest) -> None:
    parts = {str(seed): gather(model, some_data(model, seed=seed)) for seed in range(3)}

    left = without(model, merge(model, parts), parts.pop("1"))

    assert_near(left, merge(model, parts))


def test_the_merge_of_nothing_is_the_statistics_of_no_example() -> None:
    for model in MODELS:
        assert same_bits(merge(model, {}), no_statistics(model))


@each
def test_packed_statistics_come_back_bit_for_bit(model: Manifest) -> None:
    rng = np.random.default_rng(0)
    gathered = {array.name: rng.normal(size=array.shape) for array in model.statistics}

    vector = pack_statistics(model, gathered)

    assert vector.dtype == np.float64
    assert same_bits(unpack_statistics(model, vector), gathered)


def test_a_contribution_holds_for_the_backbone_it_was_gathered_on_and_no_other() -> None:
    model = manifest("ridge")
    weights = {a.name: np.zeros(a.shape, np.float32) for a in model.arrays}
    moved = weights | {"hidden": np.array([0, 1e-30], np.float32)}
    solved = weights | {"head.bias": np.ones(1, np.float32)}

    assert dependence(model, weights) != dependence(model, moved)
    assert dependence(model, weights) == dependence(model, solved)


def test_statistics_without_a_backbone_hold_for_every_version() -> None:
    free = tuple(msgspec.structs.replace(a, depends_on=()) for a in manifest().statistics)
    model = msgspec.structs.replace(manifest(), statistics=free)
    weights = {a.name: np.zeros(a.shape, np.float32) for a in model.arrays}

    assert dependence(model, weights) == dependence(
        model, weights | {"hidden": np.ones(2, np.float32)}
    )
