from __future__ import annotations

import doctest
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_models import schedule
from headwater_models.manifest import Schedule
from headwater_models.schedule import rate

BASE = 0.1
KINDS = ["constant", "inverse_sqrt", "cosine", "linear"]


def schedules(*kinds: str) -> st.SearchStrategy[Schedule]:
    return st.builds(
        Schedule,
        kind=st.sampled_from(kinds or KINDS),
        warmup=st.integers(0, 50),
        steps=st.integers(1, 200),
        floor=st.floats(0, 1),
    )


def test_the_examples_hold() -> None:
    result = doctest.testmod(schedule)
    assert result.attempted > 0
    assert result.failed == 0


def test_by_default_the_rate_never_moves() -> None:
    assert {rate(Schedule(), BASE, step) for step in range(100)} == {BASE}


@given(schedules(), st.integers(0, 10**6))
def test_the_rate_is_between_nothing_and_its_base(given: Schedule, step: int) -> None:
    assert 0 <= rate(given, BASE, step) <= BASE


@given(schedules())
def test_the_warm_up_rises_in_equal_steps_from_above_zero_to_the_base(given: Schedule) -> None:
    rates = [rate(given, BASE, step) for step in range(given.warmup)]
    for step, found in enumerate(rates, start=1):
        assert math.isclose(found, BASE * step / given.warmup)


@given(schedules(), st.integers(0, 300))
def test_after_the_warm_up_the_rate_starts_at_its_base_and_never_rises(
    given: Schedule, step: int
) -> None:
    assert math.isclose(rate(given, BASE, given.warmup), BASE)
    now = given.warmup + step
    assert rate(given, BASE, now + 1) <= rate(given, BASE, now) + 1e-12


@given(schedules("inverse_sqrt", "cosine", "linear"), st.integers(0, 10**9))
def test_after_the_warm_up_the_rate_never_falls_below_its_floor(given: Schedule, step: int) -> None:
    assert rate(given, BASE, given.warmup + step) >= given.floor * BASE - 1e-12


@given(schedules("cosine", "linear"), st.integers(0, 100))
def test_at_its_end_the_rate_reaches_its_floor_and_stays(given: Schedule, more: int) -> None:
    end = given.warmup + given.steps + more
    assert math.isclose(rate(given, BASE, end), given.floor * BASE, abs_tol=1e-12)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_half_way_the_rate_is_half_way_between_base_and_floor(kind: str) -> None:
    given = msgspec.convert({"kind": kind, "warmup": 3, "steps": 10, "floor": 0.2}, Schedule)
    assert math.isclose(rate(given, BASE, 8), BASE * 0.6)


def test_four_times_the_steps_halve_the_rate_of_the_inverse_root() -> None:
    given = Schedule(kind="inverse_sqrt", warmup=100)
    assert math.isclose(rate(given, BASE, 400), BASE / 2)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_a_schedule_that_ends_says_when(kind: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"schedule {kind} needs steps"):
        msgspec.convert({"kind": kind}, Schedule)
