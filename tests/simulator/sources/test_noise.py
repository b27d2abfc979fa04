"""Noise is AR(1) within blocks and over their borders, and the same at each row for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_simulator.sources.noise import BLOCK, DRIFT, MISSING, TRAITS, Chance, Noise, bridge

DEVICES, BLOCKS = 60, 24


def series(memory: float) -> NDArray[np.float64]:
    """Return ``[devices * channels, rows]``."""
    noise = Noise(Chance(11), 3, memory)
    made = [[noise.block(device, block) for block in range(BLOCKS)] for device in range(DEVICES)]
    rows = np.array(made, np.float64).reshape(DEVICES, BLOCKS * BLOCK, 3)
    return np.moveaxis(rows, 2, 1).reshape(-1, BLOCKS * BLOCK)


@pytest.mark.parametrize("memory", [0.0, 0.7, 0.95, 0.99, 0.999])
def test_rows_have_mean_0_deviation_1_and_the_correlation_of_an_autoregression(
    memory: float,
) -> None:
    made = series(memory)
    assert abs(made.mean()) < 3 * np.sqrt((1 + memory) / (1 - memory) / made.size)
    assert abs(made.std() - 1) < 0.05
    for lag in (1, 2, 10, 300):
        found = (made[:, :-lag] * made[:, lag:]).mean()
        assert abs(found - memory**lag) < 0.05, lag


@pytest.mark.parametrize("memory", [0.0, 0.7, 0.99, 0.999])
def test_the_border_of_two_blocks_is_a_row_like_any_other(memory: float) -> None:
    made = series(memory)
    ends = np.arange(BLOCK - 1, made.shape[1] - 1, BLOCK)
    steps = made[:, ends + 1] - memory * made[:, ends]
    assert abs((made[:, ends] * made[:, ends + 1]).mean() - memory) < 0.06
    assert steps.std() == pytest.approx(np.sqrt(1 - memory**2), rel=0.08)


def test_blocks_hang_together_where_the_series_of_their_ends_begins_a_new_block_too() -> None:
    noise = Noise(Chance(2), 50, 0.999)
    for block in (BLOCK - 2, BLOCK - 1, BLOCK):
        steps = noise.block(0, block + 1)[0] - noise.block(0, block)[-1]
        assert steps.std() == pytest.approx(np.sqrt(2 * 0.001), rel=0.4)


@pytest.mark.parametrize("memory", [0.7, 0.99])
def test_the_middle_of_a_block_varies_as_much_as_its_border(memory: float) -> None:
    by_place = series(memory).reshape(-1, BLOCK).std(axis=0)
    assert by_place.min() > 0.94
    assert by_place.max() < 1.06


@given(st.permutations(range(8)))
def test_a_block_does_not_depend_on_what_was_asked_for_before(order: list[int]) -> None:
    one, other = (Noise(Chance(5), 2, 0.99) for _ in range(2))
    made = {block: one.block(7, block) for block in order}
    for block in range(8):
        np.testing.assert_array_equal(made[block], other.block(7, block))


def test_devices_blocks_channels_and_seeds_know_nothing_of_each_other() -> None:
    noise = Noise(Chance(1), 2, 0.5)
    parts = [noise.block(0, 0), noise.block(1, 0), noise.block(0, 1)]
    parts.append(Noise(Chance(2), 2, 0.5).block(0, 0))
    columns = np.concatenate(parts, axis=1).T
    assert np.abs(np.corrcoef(columns) - np.eye(8)).max() < 0.3


def test_no_two_places_give_the_same_numbers() -> None:
    chance = Chance(3)
    places = [
        (device, level, block)
        for device in range(4)
        for level in (0, 1, TRAITS, MISSING, DRIFT, DRIFT + 1)
        for block in range(4)
    ]
    assert len({chance.at(*place).random() for place in places}) == len(places)


def test_a_bridge_holds_no_number_that_is_slow_to_multiply() -> None:
    entries = np.abs(bridge(0.7))
    assert entries[entries > 0].min() > np.finfo(np.float32).tiny
