"""Scales cover what they are given and are ticked at round numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_simulator.report import scales
from headwater_simulator.report.scales import Scale

FIGURES = st.lists(st.floats(), max_size=8)


@pytest.mark.parametrize("make", [scales.linear, scales.counts, scales.sizes, scales.spanning])
@given(values=FIGURES)
def test_any_figures_have_a_scale(
    make: Callable[[list[float]], Scale], values: list[float]
) -> None:
    scale = make(values)
    assert scale.low < scale.high
    assert 2 <= len(scale.ticks) <= 12
    assert all(0 <= scale(value) <= 1 for value in values if not math.isnan(value))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=8))
def test_a_scale_covers_its_figures_and_keeps_their_order(values: list[float]) -> None:
    scale = scales.linear(values)
    slack = 1e-6 * (scale.high - scale.low)
    assert scale.low - slack <= min(values) <= max(values) <= scale.high + slack
    places = [scale(value) for value in sorted(values)]
    assert all(a <= b for a, b in itertools.pairwise(places))
    assert (scale(scale.low), scale(scale.high)) == (0, 1)


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (scales.linear([20.1, 35.2]), ["20", "25", "30", "35", "40"]),
        (scales.linear([0.5, 0.66]), ["0.50", "0.55", "0.60", "0.65", "0.70"]),
        (scales.counts([0, 3]), ["0", "1", "2", "3"]),
        (scales.sizes([1_234_567]), ["0.0 MB", "0.5 MB", "1.0 MB", "1.5 MB"]),
        (scales.times(6 * 86_400_000), [f"{day} d" for day in range(7)]),
        (scales.times(5_400_000), [f"{minute} min" for minute in range(0, 91, 15)]),
        (scales.spanning([0.02, 30]), ["0.01", "0.1", "1", "10", "100"]),
        (scales.spanning([10, 30]), ["10", "15", "20", "25", "30"]),
    ],
)
def test_ticks_are_round(scale: Scale, words: list[str]) -> None:
    assert [said for _, said in scale.ticks] == words


def test_a_logarithmic_scale_gives_each_power_of_ten_the_same_room() -> None:
    scale = scales.spanning([0.1, 1, 10, 100])
    assert [round(scale(value), 9) for value in (0.1, 1, 10, 100)] == [
        0,
        0.333333333,
        0.666666667,
        1,
    ]
    assert scale(-5) == 0


@given(st.floats(0, 1e14))
def test_any_length_of_time_has_few_ticks(end: float) -> None:
    scale = scales.times(end)
    assert 1 <= len(scale.ticks) <= 8
    assert all(0 <= scale(value) <= 1 for value, _ in scale.ticks)
