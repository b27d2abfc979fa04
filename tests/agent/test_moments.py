"""Moments are read and written in UTC."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import SettingsError
from headwater_agent.moments import parse_moment, show_moment


@pytest.mark.parametrize(
    "text", ["2023-11-14T22:14:00Z", "2023-11-14 22:14", " 2023-11-14T23:14+01:00 "]
)
def test_one_moment_is_written_in_many_ways(text: str) -> None:
    assert parse_moment("--since", text) == 1_700_000_040_000
    assert show_moment(1_700_000_040_999) == "2023-11-14 22:14:00Z"


@given(st.integers(-(2**35), 2**37))
def test_what_is_shown_is_read_again(seconds: int) -> None:
    assert parse_moment("TIME", show_moment(1000 * seconds)) == 1000 * seconds


def test_what_is_no_time_is_named() -> None:
    with pytest.raises(SettingsError, match=r"TIME: 'noon' is no time; write it as 2026-10-01"):
        parse_moment("TIME", "noon")
