from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_models.judging import errors, has_meaning, losses, point
from headwater_models.manifest import Manifest
from tests.agent.model import classification, manifest, regression

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def of(*rows: Any) -> Floats:
    return np.array(rows, np.float32)


def quantiles(*levels: float) -> Manifest:
    made = msgspec.structs.replace(regression(), loss="quantile", quantiles=levels)
    made.check()
    return made


def test_a_class_is_wrong_or_right() -> None:
    made = of([0.2, 0.5, 0.3], [0.9, 0.05, 0.05])
    assert errors(classification(), made, of([1], [2])).tolist() == [0, 1]


def test_a_number_is_off_by_so_much() -> None:
    assert errors(manifest(), of([2], [5]), of([3.5], [1])).tolist() == [1.5, 4]


def test_what_was_not_finite_has_no_error() -> None:
    assert np.isnan(errors(manifest(), of([np.nan], [np.inf]), of([1], [1]))).all()


def test_of_quantiles_the_one_nearest_to_the_median_is_the_prediction() -> None:
    made = of([1, 2, 3, 9])
    assert point(quantiles(0.1, 0.4, 0.8, 0.9), made).tolist() == [2]


@pytest.mark.parametrize(("value", "known"), [(0, True), (2, True), (3, False), (0.5, False)])
def test_a_class_that_there_is_not_has_no_meaning(value: float, known: bool) -> None:
    assert bool(has_meaning(classification(), of(value))[0]) is known


def test_the_loss_of_a_class_is_its_surprise() -> None:
    made = of([0.25, 0.5, 0.25], [0, 1, 0])
    found = losses(classification(), made, of([1], [0]))
    np.testing.assert_allclose(found, [np.log(2), -np.log(1e-7)])


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30),
    st.sampled_from([0.1, 0.25, 0.5, 0.9]),
)
def test_no_constant_has_less_pinball_loss_than_the_samples_quantile(
    sample: list[float], level: float
) -> None:
    """The loss is proper: what it is least for is the quantile that was asked for."""
    labels = of(*sample)[:, None]

    def loss(value: float) -> float:
        return float(losses(quantiles(level), np.full_like(labels, value), labels).mean())

    best = float(np.quantile(labels, level, method="inverted_cdf"))
    assert all(loss(best) <= loss(other) + 1e-4 for other in sample)
