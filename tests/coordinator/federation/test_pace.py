"""Pace: a small fleet meets, a large one comes evenly, however many there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_coordinator.federation.pace import BURST, LONGEST, Pace

INTERVAL = 600_000


def pace(arrivals: float = 50.0) -> Pace:
    return Pace(arrivals, INTERVAL, np.random.default_rng(0))


@given(st.lists(st.integers(0, 100), max_size=400), st.floats(0.5, 200))
def test_slots_never_exceed_burst_and_rate(gaps: list[int], arrivals: float) -> None:
    one, now, slots = pace(arrivals), 0, []
    for gap in gaps:
        now += gap
        slots.append(one.slot(now))
        assert slots[-1] >= now
    assert slots == sorted(slots)
    for first in range(0, len(slots), 37):
        for last in range(first, len(slots)):
            most = BURST + (slots[last] - slots[first] + 2) / 1000 * arrivals
            assert last - first + 1 <= most


def test_a_quiet_time_gives_the_burst_back() -> None:
    one = pace()
    assert [one.slot(0) for _ in range(BURST)] == [0] * BURST
    assert one.slot(0) > 0
    assert [one.slot(60_000) for _ in range(BURST)] == [60_000] * BURST


@given(st.integers(0, 10**9), st.integers(1, 200))
def test_a_small_fleet_comes_together(now: int, devices: int) -> None:
    """Whoever asks within half an interval is sent to the same few seconds."""
    one = pace()
    start = -(-(now + INTERVAL // 2) // INTERVAL) * INTERVAL
    for _ in range(20):
        assert start <= one.returns(now, devices) <= start + devices * 20


@given(st.integers(0, 10**9), st.integers(1, 100_000))
def test_nobody_comes_back_before_half_an_interval_or_after_two_and_a_half(
    now: int, devices: int
) -> None:
    interval = max(INTERVAL, devices * 20)
    assert interval / 2 - 1 <= pace().returns(now, devices) - now <= 2.5 * interval


def test_a_large_fleet_comes_at_the_rate_and_evenly() -> None:
    one, devices = pace(), 60_000
    due = np.array([one.returns(now, devices) for now in np.linspace(0, 1_200_000, devices)])
    for _ in range(3):
        due = np.array([one.returns(int(now), devices) for now in due])
    counts, _ = np.histogram(due, bins=10, range=(np.quantile(due, 0.1), np.quantile(due, 0.9)))
    seconds = (np.quantile(due, 0.9) - np.quantile(due, 0.1)) / 10_000
    assert np.all(counts / seconds < 60)


@given(st.integers(0, 10**9), st.floats(0.5, 200))
def test_looks_for_messages_come_at_the_rate_of_arrivals(devices: int, arrivals: float) -> None:
    told = pace(arrivals).poll(devices)
    assert told == pytest.approx(min(devices * 1000 / arrivals, LONGEST), abs=1.5)
