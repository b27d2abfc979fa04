"""Heaps: who lies apart with others is found, and a spread of devices is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_coordinator.strategies.heaps import FEWEST, heaps, split
from tests.coordinator.strategies.peers import SEEDS

FLEET, SIZE = 50, 300
Rows = NDArray[np.float64]


def spread(seed: int, count: int = FLEET) -> Rows:
    """Devices that differ in all directions."""
    return np.random.default_rng(seed).standard_normal((count, SIZE))


def energies(seed: int, count: int = FLEET) -> Rows:
    return spread(seed + 1, count) ** 2


def alike(rows: Rows, members: slice, seed: int, far: float = 12.0) -> Rows:
    """Move some devices the same way."""
    way = np.random.default_rng(seed + 2).standard_normal(SIZE)
    moved = rows.copy()
    moved[members] += far * way / np.linalg.norm(way)
    return moved


def holds(found: NDArray[np.bool_], count: int) -> bool:
    """Whether the first devices were found, and of the others hardly any, by chance."""
    return bool(found[:count].all()) and found[count:].sum() <= 4


@pytest.mark.parametrize("seed", range(5))
def test_those_who_push_the_same_way_are_found(seed: int) -> None:
    signs = alike(spread(seed), slice(12), seed)
    assert holds(heaps(signs, energies(seed), 0.45), 12)


@pytest.mark.parametrize("count", [4, 12])
@pytest.mark.parametrize("seed", range(5))
def test_those_who_move_the_same_few_weights_are_found_whatever_the_sign(
    seed: int, count: int
) -> None:
    moved = energies(seed)
    moved[:count, 40:60] += 15.0
    assert holds(heaps(spread(seed), moved, 0.45), count)


@pytest.mark.parametrize("seed", range(5))
def test_a_few_who_differ_greatly_in_few_weights_are_found(seed: int) -> None:
    moved = energies(seed)
    moved[:3, 40:42] += 25.0
    assert holds(heaps(spread(seed), moved, 0.45), 3)


@pytest.mark.parametrize("seed", range(5))
def test_loners_do_not_hide_a_heap(seed: int) -> None:
    moved = energies(seed)
    moved[:12, 40:60] += 15.0
    for loner in range(12, 16):
        moved[loner, 10 * loner : 10 * loner + 5] += 1e5
    assert heaps(spread(seed), moved, 0.45)[:12].all()


def test_a_second_heap_is_found_beside_the_first() -> None:
    signs = alike(spread(0), slice(8), 0, far=20.0)
    moved = energies(0)
    moved[8:16, 40:60] += 15.0
    assert holds(heaps(signs, moved, 0.45), 16)


def test_heaps_hold_no_more_than_they_may() -> None:
    signs = alike(spread(0), slice(12), 0)
    assert not heaps(signs, energies(0), 0.2).any()


def test_a_spread_rarely_has_a_heap() -> None:
    """Who is often alone with a few is so by chance; one in ten times at most."""
    false = [heaps(spread(seed), energies(seed), 0.45) for seed in range(30)]
    assert sum(one.any() for one in false) <= 3
    assert max(one.sum() for one in false) <= 7


def test_one_who_is_far_from_all_is_no_heap() -> None:
    assert not heaps(alike(spread(0), slice(1), 0, far=1e6), energies(0), 0.45).any()


@given(SEEDS, st.integers(0, FEWEST - 1))
def test_few_devices_have_no_heaps(seed: int, count: int) -> None:
    assert not heaps(alike(spread(seed, count), slice(4), seed), energies(seed, count), 0.45).any()


@settings(max_examples=30)
@given(SEEDS, st.integers(0, 15))
def test_the_order_does_not_matter(seed: int, count: int) -> None:
    signs, moved = alike(spread(seed), slice(count), seed), energies(seed)
    order = np.random.default_rng(seed).permutation(FLEET)
    found = heaps(signs, moved, 0.45)
    np.testing.assert_array_equal(heaps(signs[order], moved[order], 0.45), found[order])


@given(st.integers(FEWEST, 30), st.floats(-1e6, 1e6))
def test_equal_devices_are_no_heap(count: int, value: float) -> None:
    same = np.full((count, 5), value)
    assert not heaps(same, np.abs(same), 0.45).any()


@given(SEEDS, st.integers(6, 60), st.floats(0.05, 0.5))
def test_a_split_is_the_one_that_varies_least(seed: int, count: int, most: float) -> None:
    line = np.random.default_rng(seed).normal(0, 3, count)
    heap = split(line, most)

    def within(members: NDArray[np.bool_]) -> float:
        return sum(float(np.var(part) * len(part)) for part in (line[members], line[~members]))

    order, allowed = np.argsort(line), max(3, most * count)
    cuts = (np.isin(np.arange(count), order[:k]) for k in range(3, count - 2))
    others = [one for one in cuts if min(one.sum(), count - one.sum()) <= allowed]
    assert within(heap.members) == pytest.approx(min(map(within, others)), rel=1e-6)
    assert 3 <= heap.members.sum() <= min(allowed, count / 2)


def test_evenly_spread_points_are_three_and_a_half_deviations_apart() -> None:
    heap = split(np.linspace(0, 1, 1_000), 0.5)
    assert heap.apart == pytest.approx(2 * np.sqrt(3), rel=1e-2)
