from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_models.statistics.moments import merge_moments
from headwater_models.statistics.naive_bayes import (
    LOG_PRIOR,
    LOG_VARIANCE,
    MEAN,
    MOMENTS,
    NaiveBayes,
)
from tests.models.statistics.gathered import CLASSES, Data, data, gather, manifest, some_data

BAYES = NaiveBayes()


@given(st.data())
def test_with_a_prior_that_weighs_nothing_it_is_the_textbooks_classifier(
    draw: st.DataObject,
) -> None:
    light = manifest("naive_bayes", classes=CLASSES, ridge=1e-12)
    found = draw.draw(data(light))

    head = BAYES.solve(light, gather(light, found), None)

    for number in range(3):
        own = found.features[found.target == number]
        if len(own) > 2:
            np.testing.assert_allclose(head[MEAN][number], own.mean(axis=0), rtol=1e-7, atol=1e-7)
            np.testing.assert_allclose(
                np.exp(head[LOG_VARIANCE][number]), own.var(axis=0), rtol=1e-6
            )
            share = len(own) / len(found.target)
            assert np.exp(head[LOG_PRIOR][number]) == pytest.approx(share, rel=1e-6)


def test_the_prior_is_as_many_made_up_examples_of_the_pooled_data_in_each_class() -> None:
    heavy = manifest("naive_bayes", classes=CLASSES, ridge=4.0)
    found = some_data(heavy, 60)

    head = BAYES.solve(heavy, gather(heavy, found), None)

    own = found.features[found.target == 1]
    mean, spread = found.features.mean(axis=0), found.features.var(axis=0)
    together = (len(own) * own.mean(axis=0) + 4 * mean) / (len(own) + 4)
    squares = np.square(own).sum(axis=0) + 4 * (spread + np.square(mean))
    variance = squares / (len(own) + 4) - np.square(together)
    np.testing.assert_allclose(head[MEAN][1], together, rtol=1e-9)
    np.testing.assert_allclose(np.exp(head[LOG_VARIANCE][1]), variance, rtol=1e-7)
    expected = (len(own) + 4) / (60 + 12)
    assert np.exp(head[LOG_PRIOR][1]) == pytest.approx(expected, rel=1e-9)


def test_around_a_start_a_class_that_was_never_seen_stays_as_it_is() -> None:
    light = manifest("naive_bayes", classes=CLASSES, ridge=2.0)
    start = BAYES.solve(light, gather(light, some_data(light)), None)
    found = some_data(light, seed=1)

    head = BAYES.solve(light, gather(light, found.part(found.target != 2)), start)

    np.testing.assert_allclose(head[MEAN][2], start[MEAN][2])
    np.testing.assert_allclose(head[LOG_VARIANCE][2], start[LOG_VARIANCE][2])
    assert (head[MEAN][0] != start[MEAN][0]).all()


def test_a_feature_that_never_varied_decides_nothing_and_stays_finite() -> None:
    light = manifest("naive_bayes", classes=CLASSES)
    found = some_data(light)
    constant = Data(found.features * np.array([1.0, 1.0, 0.0]) + 0.1, found.target)

    head = BAYES.solve(light, gather(light, constant), None)

    assert all(np.isfinite(value).all() for value in head.values())
    np.testing.assert_allclose(head[MEAN][:, 2], 0.1)
    assert np.ptp(head[LOG_VARIANCE][:, 2]) == 0
    assert head[LOG_VARIANCE][0, 2] == pytest.approx(np.log(constant.features.var(axis=0).max()))


def test_the_loss_is_the_negative_log_likelihood_of_all_that_was_gathered() -> None:
    light = manifest("naive_bayes", classes=CLASSES)
    found = some_data(light, 80)
    head = BAYES.solve(light, gather(light, found), None)

    own = found.target.astype(np.intp)
    mean, spread = head[MEAN][own], head[LOG_VARIANCE][own]
    squares = np.square(found.features - mean) * np.exp(-spread)
    each = (squares + spread + np.log(2 * np.pi)).sum(axis=1) / 2 - head[LOG_PRIOR][own]
    assert BAYES.loss(gather(light, found), head) == pytest.approx(float(each.mean()), rel=1e-9)


def test_what_data_can_lead_to_passes() -> None:
    light = manifest("naive_bayes", classes=CLASSES)
    found = some_data(light)

    assert list(BAYES.complaints(light, gather(light, found))) == []
    without = found.part(found.target != 1)
    assert list(BAYES.complaints(light, gather(light, without))) == []


@pytest.mark.parametrize(
    ("index", "value", "words"),
    [
        ((0, 0, 0), -3.0, "below zero"),
        ((2, 0, 0), -3.0, "below zero"),
        ((0, 1, 1), 1.0, "differ in their count"),
        ((0, 1), 0.0, "without an example"),
        ((1, 0, 0), 1e6, "mean square"),
        ((2, 0, 0), 1e15, "mean square"),
    ],
)
def test_what_no_data_can_lead_to_is_named(
    index: tuple[int, ...], value: float, words: str
) -> None:
    light = manifest("naive_bayes", classes=CLASSES)
    gathered = gather(light, some_data(light))

    gathered[MOMENTS][index] = value

    assert words in " ".join(BAYES.complaints(light, gathered))


def test_its_statistics_merge_class_by_class() -> None:
    light = manifest("naive_bayes", classes=CLASSES)
    ours, theirs = some_data(light), some_data(light, seed=1)
    both = Data(
        np.concatenate([ours.features, theirs.features]),
        np.concatenate([ours.target, theirs.target]),
    )

    merged = merge_moments(gather(light, ours)[MOMENTS], gather(light, theirs)[MOMENTS])

    np.testing.assert_allclose(merged, gather(light, both)[MOMENTS], rtol=1e-9)
