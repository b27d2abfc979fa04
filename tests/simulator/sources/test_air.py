"""Any number of devices on four stations, each at a time of its own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_simulator.air import specification
from headwater_simulator.scenario.settings import HOUR, Air
from headwater_simulator.sources.air import AirStreams, beginning
from headwater_simulator.streams import shipped

SOURCE = AirStreams(Air(), window=8)
STATIONS = shipped()
HOURS = len(STATIONS[0].values)


def test_the_first_devices_have_a_station_each_from_its_first_hour_on() -> None:
    for device, station in enumerate(STATIONS):
        np.testing.assert_array_equal(SOURCE.rows(device, 0, 100).values, station.values[:100])


@given(st.integers(0, 50), st.integers(0, 2 * HOURS), st.integers(1, 200), st.integers(1, 200))
def test_stretches_follow_each_other_over_the_end(
    device: int, first: int, one: int, other: int
) -> None:
    whole = SOURCE.rows(device, first, one + other).values
    parts = SOURCE.rows(device, first, one).values, SOURCE.rows(device, first + one, other).values
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_stream_goes_on_at_the_stations_beginning() -> None:
    np.testing.assert_array_equal(SOURCE.rows(0, HOURS, 50).values, SOURCE.rows(0, 0, 50).values)


def test_devices_at_a_station_begin_at_different_hours_and_keep_the_hour_of_the_day() -> None:
    starts = [beginning(turn, HOURS) for turn in range(1_456)]
    assert len(set(starts)) == len(starts)
    assert max(starts) < HOURS
    assert not any(start % 24 for start in starts)


def test_few_devices_at_a_station_lie_far_apart() -> None:
    starts = sorted(beginning(turn, HOURS) for turn in range(5))
    assert min(np.diff(starts)) > 20 * 7 * 24


def test_the_horizon_is_the_scenarios() -> None:
    facts = AirStreams(Air(horizon=HOUR), window=1).facts
    assert (facts.task, facts.target, facts.horizon) == ("forecast", "pm25", HOUR)
    assert facts.grid.period == HOUR


def test_the_model_holds_missing_values_over_as_the_demos_does() -> None:
    spec = specification(STATIONS)
    assert (SOURCE.facts.grid, SOURCE.facts.scaling) == (spec.grid, spec.scaling)
