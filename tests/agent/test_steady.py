from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.steady import SteadyClock

START = 1_700_000_000_000


class Clocks:
    """A wall clock that may be set, and a monotonic one that may not."""

    def __init__(self) -> None:
        self.wall = START
        self.elapsed = 0
        self.steady = SteadyClock(lambda: self.wall, lambda: self.elapsed / 1000)

    def wait(self, ms: int) -> None:
        self.wall += ms
        self.elapsed += ms


def test_it_is_the_wall_clock() -> None:
    clocks = Clocks()
    assert clocks.steady.now_ms() == START
    clocks.wait(5_000)
    assert clocks.steady.now_ms() == START + 5_000


def test_a_clock_that_is_set_forward_is_followed() -> None:
    clocks = Clocks()
    clocks.steady.now_ms()
    clocks.wall += 3_600_000
    assert clocks.steady.now_ms() == START + 3_600_000


def test_while_a_clock_is_set_back_time_goes_on_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clocks = Clocks()
    clocks.steady.now_ms()
    clocks.wall -= 3_600_000
    for seconds in range(1, 4):
        clocks.wait(1_000)
        assert clocks.steady.now_ms() == START + 1_000 * seconds
    assert [record.getMessage()[:36] for record in caplog.records] == [
        "the clock was set back by 3600 s; re"
    ]
    clocks.wall += 3_600_000
    assert clocks.steady.now_ms() == START + 3_000


def test_it_goes_on_from_what_an_earlier_run_has_stored() -> None:
    clocks = Clocks()
    clocks.steady.not_before(START + 60_000)
    clocks.wait(500)
    assert clocks.steady.now_ms() == START + 60_500
    clocks.steady.not_before(START)
    assert clocks.steady.now_ms() == START + 60_500


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(-(10**9), 10**9))))
def test_it_never_goes_back_nor_stands_still(steps: list[tuple[int, int]]) -> None:
    clocks = Clocks()
    before = clocks.steady.now_ms()
    for waited, moved in steps:
        clocks.wait(waited)
        clocks.wall += moved
        now = clocks.steady.now_ms()
        assert now >= before + waited
        assert now >= clocks.wall
        before = now
