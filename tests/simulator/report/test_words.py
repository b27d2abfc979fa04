"""Numbers are read at a glance, and names do no harm."""

from __future__ import annotations

import doctest
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_simulator.report import words

UNITS = {"d": 86_400_000, "h": 3_600_000, "min": 60_000, "s": 1_000, "ms": 1}


def test_the_examples_hold() -> None:
    result = doctest.testmod(words)
    assert result.attempted == 7
    assert result.failed == 0


@given(st.integers(1, 10**12))
def test_a_time_is_its_two_largest_units_and_no_longer_than_it_is(milliseconds: int) -> None:
    said = words.duration(milliseconds)
    parts = re.findall(r"(\d+) (\w+)", said)
    assert 1 <= len(parts) <= 2
    read = sum(int(count) * UNITS[unit] for count, unit in parts)
    following = list(UNITS.values())[list(UNITS).index(parts[0][1]) + 1 :]
    assert 0 <= milliseconds - read < (following[0] if following else 1)


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (1_000, "1 kB"), (12_345_678, "12.3 MB"), (10**10, "10 GB")]
)
def test_sizes_are_in_the_unit_that_suits_them(count: int, said: str) -> None:
    assert words.size(count) == said


@given(st.text())
def test_what_is_visible_stays_and_the_rest_leaves_a_mark(text: str) -> None:
    seen = words.visible(text)
    assert len(seen) == len(text)
    assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", seen)
    assert words.visible("Grüße, 温度 → 3 µg") == "Grüße, 温度 → 3 µg"
