"""What a device measures of its stream, with each fault, and when labels from outside come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.settings import Duration
from headwater_agent.events import Record
from headwater_models.graphs.scaling import Scaling
from headwater_models.manifest import Channel, Grid, Reserve
from headwater_simulator.scenario.settings import HOUR, Fault
from headwater_simulator.sources.source import Facts, Rows
from headwater_simulator.virtual.measuring import BLOCK, SPIKES, Sensors
from headwater_simulator.virtual.member import EPOCH_MS

STEP = 60_000
"""The period of the stream."""


class Ramp:
    """A stream whose row k is ``[k, 100 + k]``, with the label k; it may end, and have gaps."""

    def __init__(
        self, *, rows: int = 10**6, delay: int | None = None, gaps: tuple[int, ...] = ()
    ) -> None:
        self._rows, self._labelled, self._gaps = rows, delay is not None, gaps
        self.label_delay = Duration(delay or 0)
        self.asked: list[tuple[int, int]] = []
        self.facts = Facts(
            task="forecast",
            channels=(
                Channel(name="a", unit="", minimum=0, maximum=10),
                Channel(name="b", unit="", minimum=0, maximum=40),
            ),
            grid=Grid(period=Duration(STEP), max_gap=Duration(STEP)),
            reserve=Reserve(block=HOUR),
            loss="mse",
            target="a",
            scaling=Scaling(mean=(0.0, 0.0), scale=(1.0, 4.0)),
        )

    def rows(self, device: int, first: int, count: int) -> Rows:
        del device
        self.asked.append((first, count))
        numbers = np.arange(first, max(first, min(first + count, self._rows)), dtype=np.float32)
        values = np.stack([numbers, numbers + 100], axis=1)
        values[np.isin(numbers, self._gaps)] = np.nan
        return Rows(first, values, numbers.copy() if self._labelled else None)


def sensors(ramp: Ramp | None = None, *faults: Fault, **changed: Any) -> Sensors:
    told: dict[str, Any] = {"stream": "tank", "skew": 0, "joins": 0, "leaves": None}
    rng = np.random.default_rng(1)
    return Sensors(0, ramp or Ramp(), **(told | changed), faults=faults, rng=rng)


def records(one: Sensors, now: int) -> list[Record]:
    arrived = one.arrived(now)
    return [] if arrived is None else list(arrived.records)


def measured(one: Sensors, rows: int) -> NDArray[np.float32]:
    """The values of the first rows, all of which are measured."""
    return np.array([record.values for record in records(one, (rows - 1) * STEP)])


def fault(kind: Any, start: int, length: int, **changed: Any) -> Fault:
    return Fault(kind=kind, start=Duration(start * STEP), length=Duration(length * STEP), **changed)


# Rows


def test_each_row_is_measured_at_its_moment_and_once() -> None:
    one = sensors()

    first, nothing, rest = (records(one, now) for now in (0, STEP - 1, 2 * STEP))

    assert [record.values.tolist() for record in first] == [[0, 100]]
    assert nothing == []
    assert one.arrived(2 * STEP) is None
    assert [record.time for record in rest] == [EPOCH_MS + STEP, EPOCH_MS + 2 * STEP]
    assert {record.stream for record in (*first, *rest)} == {"tank"}
    assert one.records == 3


@given(st.lists(st.integers(0, 3 * BLOCK), max_size=6).map(sorted))
def test_it_makes_no_difference_how_the_clock_goes_on(stops: list[int]) -> None:
    faults = (fault("spikes", 3, 500), fault("stuck", 90, 30, channel=1))
    whole, parts = (sensors(Ramp(delay=7 * STEP), *faults) for _ in range(2))

    cut = [found for stop in stops if (found := parts.arrived(stop * STEP)) is not None]
    last = whole.arrived(stops[-1] * STEP) if stops else None

    together = [record for found in cut for record in found.records]
    assert [(r.time, r.values.tolist()) for r in together] == [
        (r.time, r.values.tolist()) for r in (last.records if last else ())
    ]
    labels = [(label.time, label.value) for found in cut for label in found.labels]
    assert labels == [(label.time, label.value) for label in (last.labels if last else ())]


def test_a_stream_is_read_a_block_at_a_time_and_ends() -> None:
    ramp = Ramp(rows=BLOCK + 10)
    one = sensors(ramp)

    assert len(records(one, 10 * STEP)) == 11
    assert ramp.asked == [(0, BLOCK)]
    assert len(records(one, 10**6 * STEP)) == BLOCK + 10 - 11
    assert one.arrived(10**7 * STEP) is None


def test_rows_in_which_nothing_was_measured_are_no_records() -> None:
    times = [record.values[0] for record in records(sensors(Ramp(gaps=(1, 2))), 4 * STEP)]

    assert times == [0, 3, 4]


def test_a_device_measures_from_when_it_joins_until_it_leaves() -> None:
    one = sensors(joins=2 * STEP + 1, leaves=5 * STEP)

    assert records(one, 2 * STEP) == []
    assert [record.values[0] for record in records(one, 99 * STEP)] == [3, 4, 5]


def test_what_is_skipped_is_never_measured() -> None:
    one = sensors()
    records(one, STEP)

    one.skip(4 * STEP + 1)
    one.skip(0)

    assert [record.values[0] for record in records(one, 6 * STEP)] == [5, 6]
    assert one.records == 4


def test_the_clock_of_a_device_is_ahead_and_the_record_comes_when_it_comes() -> None:
    (record,) = records(sensors(skew=-1_500), 0)

    assert (record.time, record.received) == (EPOCH_MS - 1_500, EPOCH_MS)


# Labels


def test_labels_come_so_much_later_than_their_rows() -> None:
    one = sensors(Ramp(delay=3 * STEP), skew=500)

    before, after = one.arrived(2 * STEP), one.arrived(4 * STEP)

    assert before is not None
    assert after is not None
    assert before.labels == ()
    assert [(label.value, label.time) for label in after.labels] == [
        (0, EPOCH_MS + 500),
        (1, EPOCH_MS + STEP + 500),
    ]
    assert {label.stream for label in after.labels} == {"tank"}


def test_labels_of_what_was_measured_before_a_power_cut_still_come() -> None:
    one = sensors(Ramp(delay=10 * STEP))
    records(one, 2 * STEP)
    one.skip(20 * STEP)

    arrived = one.arrived(20 * STEP)

    assert arrived is not None
    assert [label.value for label in arrived.labels] == [0, 1, 2]


@pytest.mark.parametrize("delay", [1, STEP, 3 * STEP + 7])
def test_it_is_known_when_something_comes_next(delay: int) -> None:
    one = sensors(Ramp(delay=delay))

    for _ in range(12):
        due = one.next_ms
        assert one.arrived(due - 1) is None
        assert one.arrived(due) is not None
        assert one.next_ms > due


# Faults


def test_a_stuck_channel_repeats_its_first_value_and_is_well_again() -> None:
    values = measured(sensors(None, fault("stuck", 2, 3, channel=1)), 7)

    assert values[:, 1].tolist() == [100, 101, 102, 102, 102, 105, 106]
    assert values[:, 0].tolist() == list(range(7))


def test_a_channel_that_sticks_twice_sticks_to_another_value() -> None:
    faults = (fault("stuck", 1, 2), fault("stuck", 5, 2))

    assert measured(sensors(None, *faults), 8)[:, 0].tolist() == [0, 1, 1, 3, 4, 5, 5, 7]


def test_a_unit_changes_for_a_while() -> None:
    values = measured(sensors(None, fault("unit", 1, 2, size=1000.0)), 4)

    assert values[:, 0].tolist() == [0, 1000, 2000, 3]


def test_one_value_in_twenty_is_so_many_deviations_off() -> None:
    rows = 4_000
    one = sensors(None, fault("spikes", 0, rows, size=-3.0, channel=1))

    values = measured(one, rows)
    off = values[:, 1] - values[:, 0] - 100

    assert set(off.tolist()) == {0.0, -12.0}
    assert np.mean(off != 0) == pytest.approx(SPIKES, abs=4 * (0.05 / rows) ** 0.5)


def test_a_clock_jumps_and_the_values_stay() -> None:
    found = records(sensors(None, fault("clock-jump", 1, 1, size=-2.0)), 2 * STEP)

    assert [record.time - EPOCH_MS for record in found] == [0, STEP - 2 * HOUR, 2 * STEP]
    assert [record.values[0] for record in found] == [0, 1, 2]
    assert [record.received for record in found] == [EPOCH_MS + k * STEP for k in range(3)]


def test_faults_that_are_not_of_sensors_change_nothing_here() -> None:
    values = measured(sensors(None, fault("crash", 0, 9), fault("power-cut", 0, 9)), 4)

    assert values[:, 0].tolist() == [0, 1, 2, 3]


def test_the_stream_itself_stays_as_it_is() -> None:
    ramp = Ramp()
    block = ramp.rows(0, 0, BLOCK)
    ramp.rows = lambda *_: block  # type: ignore[method-assign]

    measured(sensors(ramp, fault("unit", 0, 99), fault("stuck", 0, 99, channel=1)), 50)

    np.testing.assert_array_equal(block.values, Ramp().rows(0, 0, BLOCK).values)
