from __future__ import annotations

import numpy as np
import pytest

from headwater_models.offline.bootstrap import Bootstrap, Figure, Numbers


def mean(means: Numbers) -> Numbers:
    return means[..., 0]


def bootstrap(
    series: np.ndarray, length: int = 1, *, whole: bool = False, seed: int = 0
) -> Bootstrap:
    return Bootstrap(series, length, whole=whole, rng=np.random.default_rng(seed))


def one(count: int) -> np.ndarray:
    return np.zeros(count, np.intp)


def test_the_interval_of_independent_values_is_the_textbooks() -> None:
    values = np.random.default_rng(1).standard_normal((2000, 1))
    found = bootstrap(one(2000)).figure(values, mean)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(2000), rel=0.15)


def test_longer_blocks_see_that_neighbours_are_no_independent_evidence() -> None:
    noise = np.random.default_rng(2).standard_normal(4000)
    smooth = np.convolve(noise, np.ones(40), mode="valid")[:, None]
    short = bootstrap(one(len(smooth)), 1).figure(smooth, mean)
    long = bootstrap(one(len(smooth)), 120).figure(smooth, mean)
    assert long.high - long.low > 1.3 * (short.high - short.low)


def test_about_95_of_100_intervals_hold_the_truth_of_dependent_values() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(100):
        smooth = np.convolve(rng.standard_normal(1500), np.ones(10), mode="valid")[:, None]
        found = bootstrap(one(len(smooth)), 60).figure(smooth, mean)
        held += found.low <= 0 <= found.high
    assert held >= 87


def test_whole_groups_are_drawn_where_there_are_enough() -> None:
    series = np.repeat(np.arange(10), 50)
    of_group = np.random.default_rng(4).standard_normal(10)
    values = of_group[series][:, None]
    groups = bootstrap(series, whole=True).figure(values, mean)
    blocks = bootstrap(series).figure(values, mean)
    assert groups.high - groups.low > 1.5 * (blocks.high - blocks.low)
    assert bootstrap(series[:150], whole=True).figure(values[:150], mean).low < groups.high


def test_a_figure_of_rows_agrees_with_one_of_means() -> None:
    values = np.random.default_rng(5).standard_normal((600, 1))
    series = np.repeat([0, 1], [400, 200])
    drawn = bootstrap(series, 5)
    by_rows = drawn.figure_of_rows(lambda rows: float(values[rows, 0].mean()))
    by_means = drawn.figure(values, mean)
    assert by_rows.value == pytest.approx(by_means.value)
    assert by_rows.low == pytest.approx(by_means.low, abs=0.02)


def test_a_series_shorter_than_a_block_is_a_block() -> None:
    values = np.arange(12.0)[:, None]
    found = bootstrap(np.repeat([0, 1], [10, 2]), 8).figure(values, mean)
    assert found.low <= found.value <= found.high


def test_a_figure_is_shown_with_its_interval() -> None:
    assert str(Figure(0.123456, 0.1, 0.2)) == "0.1235 [0.1, 0.2]"
