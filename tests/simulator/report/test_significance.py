"""Tests of differences call noise noise as often as they say, and cover what they say."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_simulator.report import significance
from headwater_simulator.report.significance import Difference, holm, paired, welch

DRAWS = 1_000


def rates(found: list[Difference | None], truth: float) -> tuple[float, float]:
    """How many p are below 0.05, and how many intervals hold the truth."""
    known = [f for f in found if f and f.low is not None and f.high is not None]
    assert len(known) == len(found)
    below = np.mean([f.p < 0.05 for f in known])
    held = np.mean([(f.low or 0) <= truth <= (f.high or 0) for f in known])
    return float(below), float(held)


def test_pairs_without_a_difference_are_called_different_in_one_case_of_twenty() -> None:
    rng = np.random.default_rng(1)
    below, held = rates([paired([*rng.normal(0, 2, 8)]) for _ in range(DRAWS)], 0)
    assert below == pytest.approx(0.05, abs=0.02)
    assert held == pytest.approx(0.95, abs=0.02)


def test_samples_of_unlike_size_and_spread_keep_to_the_same_rate() -> None:
    rng = np.random.default_rng(2)
    made = [welch([*rng.normal(5, 1, 30)], [*rng.normal(7, 6, 7)]) for _ in range(DRAWS)]
    assert rates(made, 2)[1] == pytest.approx(0.95, abs=0.02)
    alike = [welch([*rng.normal(5, 1, 30)], [*rng.normal(5, 6, 7)]) for _ in range(DRAWS)]
    assert rates(alike, 0)[0] == pytest.approx(0.05, abs=0.02)


def test_known_values() -> None:
    """Student's sleep data (1908): t = 4.062 with 9 degrees of freedom in pairs, 1.861 without."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    in_pairs = paired([b - a for a, b in zip(first, second, strict=True)])
    apart = welch(first, second)
    assert in_pairs is not None
    assert apart is not None
    assert in_pairs.p == pytest.approx(0.002833, abs=1e-6)
    assert (in_pairs.low, in_pairs.high) == pytest.approx((0.7001, 2.4599), abs=1e-4)
    assert apart.p == pytest.approx(0.07939, abs=1e-5)
    assert (apart.low, apart.high) == pytest.approx((-0.2055, 3.3655), abs=1e-4)


def test_one_figure_tells_nothing() -> None:
    assert paired([1.0]) is None
    assert welch([1.0], [2.0, 3.0]) is None
    assert welch([1.0, 2.0], []) is None


def test_without_spread_only_the_number_of_figures_speaks() -> None:
    assert paired([1.0] * 4) == Difference(1.0, None, None, 0.125)
    assert welch([1.0] * 3, [2.0] * 3) == Difference(1.0, None, None, 0.1)
    assert paired([0.0] * 4) == Difference(0.0, None, None, 1.0)
    many = welch([1.0] * 1_000, [2.0] * 1_000)
    assert many is not None
    assert many.p < 1e-9


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_chance_and_keeps_their_order(chances: list[float]) -> None:
    corrected = holm(chances)
    assert all(p <= c <= 1 for p, c in zip(chances, corrected, strict=True))
    order = sorted(range(len(chances)), key=chances.__getitem__)
    assert [corrected[i] for i in order] == sorted(corrected)


def test_looking_at_twenty_figures_does_not_make_a_finding() -> None:
    rng = np.random.default_rng(3)
    found = np.mean([min(holm([*rng.uniform(size=20)])) < 0.05 for _ in range(DRAWS)])
    assert found == pytest.approx(0.05, abs=0.02)


def test_the_examples_hold() -> None:
    result = doctest.testmod(significance)
    assert (result.attempted, result.failed) == (1, 0)
