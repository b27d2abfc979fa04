"""Updates are read one at a time or in stretches, and it makes no difference to any result."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_coordinator.strategies import updates as module
from headwater_coordinator.strategies.updates import Mixed, distances
from tests.coordinator.strategies.peers import COUNTS, SEEDS, draw, updates


@given(SEEDS, COUNTS)
def test_a_weighted_sum_is_that_of_float64(seed: int, counts: list[int]) -> None:
    vectors = draw(seed, len(counts))
    summed = updates(vectors).combined(np.array(counts, np.float64))
    exact = np.array(counts, np.float64) @ np.array(vectors, np.float64)
    np.testing.assert_allclose(summed, exact, rtol=1e-5, atol=1e-6 * sum(counts))


@given(SEEDS, st.integers(1, 90))
def test_a_weighted_sum_is_the_same_with_room_for_one_update_at_a_time(
    seed: int, count: int
) -> None:
    weights = np.arange(count, dtype=np.float64)
    many = updates(draw(seed, count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BUDGET", 1)
        one_by_one = many.combined(weights)
    np.testing.assert_allclose(many.combined(weights), one_by_one, rtol=1e-5, atol=1e-5 * count)


def test_a_weighted_sum_needs_memory_for_the_model_and_not_for_the_updates() -> None:
    """The sum and its step in float64, a block, and the vector that is read."""
    size, one = 100_000, 4 * 100_000
    many = updates([np.zeros(size, np.float32)] * 200)
    many.source = Copying(many.source)
    tracemalloc.start()
    try:
        many.combined(np.ones(200))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < module.BLOCK_BUDGET + 6 * one


class Copying:
    """A source that reads each vector anew, as from a database."""

    def __init__(self, source: module.Source) -> None:
        self._source = source

    def vector(self, index: int) -> module.Floats:
        return self._source.vector(index).copy()

    def stretch(self, index: int, start: int, stop: int) -> module.Floats:
        raise AssertionError

    def base(self, index: int) -> module.Floats:
        raise AssertionError


def test_many_updates_lose_nothing_to_rounding() -> None:
    one = np.full(3, 0.1, np.float32)
    mean = updates([one] * 10_000).mean(np.full(10_000, 9_999.0))
    np.testing.assert_allclose(mean, one, rtol=1e-6)


def test_an_update_without_weight_is_not_read() -> None:
    given_ = updates(draw(0, 3))
    given_.source = Absent(given_.source.vector(1))
    np.testing.assert_array_equal(
        given_.combined(np.array([0.0, 1.0, 0.0])), given_.source.vector(1)
    )


class Absent:
    """A source with the second update and no other."""

    def __init__(self, second: module.Floats) -> None:
        self._second = second

    def vector(self, index: int) -> module.Floats:
        assert index == 1
        return self._second

    def stretch(self, index: int, start: int, stop: int) -> module.Floats:
        raise AssertionError

    def base(self, index: int) -> module.Floats:
        raise AssertionError


@given(SEEDS, st.integers(1, 5), st.integers(1, 700))
def test_stretches_cover_every_coordinate_once(seed: int, count: int, size: int) -> None:
    vectors = draw(seed, count, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BUDGET", 1)
        seen = list(updates(vectors).stretches())
    assert [where.start for where, _ in seen] == list(range(0, size, 256))
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in seen], axis=1), vectors)


@given(SEEDS, st.integers(1, 6))
def test_products_and_squares_are_those_of_float64(seed: int, count: int) -> None:
    vectors = draw(seed, count, 600)
    exact = np.array(vectors, np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BUDGET", 1)
        products = updates(vectors).products()
    np.testing.assert_allclose(products, exact @ exact.T, atol=1e-10)
    np.testing.assert_allclose(updates(vectors).squares(), np.diagonal(products), rtol=1e-12)


@given(SEEDS, st.integers(1, 6))
def test_distances_follow_from_products(seed: int, count: int) -> None:
    exact = np.array(draw(seed, count), np.float64)
    direct = np.square(exact[:, None] - exact[None, :]).sum(axis=2)
    np.testing.assert_allclose(distances(exact @ exact.T), direct, atol=1e-12)


@given(SEEDS, st.integers(1, 6))
def test_mixed_updates_are_as_if_they_had_been_made(seed: int, count: int) -> None:
    vectors = draw(seed, count)
    shares = np.random.default_rng(seed).dirichlet(np.ones(count), count)
    made = (shares @ np.array(vectors)).astype(np.float32)
    weights = np.arange(1.0, count + 1)
    mixed = Mixed(updates(vectors), shares, updates(vectors).products())
    np.testing.assert_allclose(mixed.combined(weights), weights @ made, atol=1e-4)
    np.testing.assert_allclose(mixed.products(), made @ made.T, atol=1e-5)
    np.testing.assert_allclose(mixed.squares(), np.square(made).sum(axis=1), atol=1e-5)
    for where, rows in mixed.stretches():
        np.testing.assert_allclose(rows, made[:, where], atol=1e-6)
