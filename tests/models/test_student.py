"""Student's t, held against its density and against what is known of it."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_models import student

FREEDOMS = st.floats(1, 300)


@given(st.floats(0, 30), FREEDOMS)
def test_the_chance_is_what_the_density_leaves_outside(t: float, freedom: float) -> None:
    points = np.linspace(0, t, 20_001)
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    density = constant / math.sqrt(freedom * math.pi)
    density = density * (1 + points**2 / freedom) ** (-(freedom + 1) / 2)
    inside = 2 * float(np.trapezoid(density, points))
    assert student.chance(t, freedom) == pytest.approx(1 - inside, abs=1e-5)


@given(st.floats(0.001, 0.999), FREEDOMS)
def test_the_quantile_leaves_that_share_below_it(confidence: float, freedom: float) -> None:
    t = student.quantile(confidence, freedom)
    below = 1 - student.chance(t, freedom) / 2 if t > 0 else student.chance(t, freedom) / 2
    assert below == pytest.approx(confidence, abs=1e-9)


@pytest.mark.parametrize(
    ("freedom", "t", "p"),
    [(1, 1.0, 0.5), (1, 1e6, 2e-6 / math.pi), (2, math.sqrt(2), 1 - math.sqrt(0.5))],
)
def test_one_and_two_degrees_of_freedom_have_closed_forms(freedom: int, t: float, p: float) -> None:
    assert student.chance(t, freedom) == pytest.approx(p, rel=1e-9)


def test_with_many_degrees_of_freedom_it_is_the_normal_distribution() -> None:
    assert student.chance(3.0, 1e6) == pytest.approx(math.erfc(3 / math.sqrt(2)), rel=1e-4)
    assert student.quantile(0.975, 1e6) == pytest.approx(1.959964, abs=1e-5)


def test_nothing_is_further_out_than_infinity() -> None:
    assert student.chance(math.inf, 4) == 0.0
    assert student.chance(-math.inf, 4) == 0.0
    assert student.chance(0.0, 4) == 1.0


def test_the_examples_hold() -> None:
    result = doctest.testmod(student)
    assert (result.attempted, result.failed) == (2, 0)
