"""An old update counts less than a fresh one, as the papers write it."""

from __future__ import annotations

import doctest
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_coordinator.strategies import asynchronous
from headwater_coordinator.strategies.asynchronous import FedAsync, FedBuff
from tests.coordinator.strategies.peers import SEEDS, draw, updates

AGES = st.lists(st.integers(0, 20), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("staleness", "weights"),
    [
        ("constant", [1, 1, 1, 1]),
        ("polynomial", [1, 2**-0.5, 5**-0.5, 7**-0.5]),
        ("hinge", [1, 1, 1, 1 / (0.5 * 2 + 1)]),
    ],
)
def test_the_functions_of_staleness(
    staleness: Literal["constant", "polynomial", "hinge"], weights: list[float]
) -> None:
    rule = FedBuff(staleness=staleness, a=0.5, b=4)
    assert [rule.fading(age) for age in (0, 1, 4, 6)] == pytest.approx(weights)


@given(SEEDS, AGES)
def test_fedbuff_divides_by_the_number_of_updates(seed: int, ages: list[int]) -> None:
    shared, *vectors = draw(seed, len(ages) + 1)
    rule = FedBuff(server_learning_rate=0.5)
    merged = rule.merge(shared, updates(vectors, staleness=ages, examples=[9] * len(ages)), {})
    step = sum(v / np.sqrt(1.0 + age) for v, age in zip(vectors, ages, strict=True))
    np.testing.assert_allclose(merged.vector, shared + 0.5 * step / len(ages), atol=1e-5)


@given(SEEDS, st.integers(0, 9))
def test_fedasync_mixes_the_weights_of_the_device(seed: int, age: int) -> None:
    shared, base, vector = draw(seed, 3)
    rule = FedAsync(alpha=0.6, a=0.5)
    merged = rule.merge(shared, updates([vector], staleness=[age], bases=[base]), {})
    alpha = 0.6 * (1 + age) ** -0.5
    expected = (1 - alpha) * shared + alpha * (base + vector)
    np.testing.assert_allclose(merged.vector, expected, atol=1e-5)


@given(SEEDS)
def test_fedasync_lets_the_freshest_have_the_last_word_in_any_order(seed: int) -> None:
    shared, *vectors = draw(seed, 3)
    bases = [shared, shared]
    rule = FedAsync(alpha=1.0, staleness="constant")
    for ages in ([3, 0], [0, 3]):
        merged = rule.merge(shared, updates(vectors, staleness=ages, bases=bases), {})
        freshest = vectors[ages.index(0)]
        np.testing.assert_allclose(merged.vector, shared + freshest, atol=1e-6)


def test_the_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(asynchronous).failed == 0
