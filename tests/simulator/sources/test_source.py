"""Reserved blocks are short, so that each device soon has some, and longer than a window."""

from __future__ import annotations

from headwater.settings import Duration
from headwater_simulator.sources.source import reserve

HOUR = Duration(3_600_000)


def test_a_block_is_four_times_what_a_window_and_its_label_span() -> None:
    assert reserve(HOUR, 8, Duration(6 * HOUR)).block == 4 * 14 * HOUR


def test_a_block_holds_a_day_of_hours_even_where_a_window_is_one_row() -> None:
    assert reserve(HOUR, 1, Duration(0)).block == 24 * HOUR
