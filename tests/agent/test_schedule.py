from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.schedule import DAY, parse_hours, within

MINUTES = st.integers(0, DAY - 1)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def test_without_hours_it_is_always_time() -> None:
    assert within((), 0)


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("08:00-09:30", ("08:00", "09:29"), ("07:59", "09:30", "00:00")),
        ("22:00-06:00", ("22:00", "23:59", "00:00", "05:59"), ("06:00", "21:59")),
        ("00:00-24:00", ("00:00", "12:00", "23:59"), ()),
        ("23:00-24:00", ("23:00", "23:59"), ("00:00", "22:59")),
        ("00:00-00:01", ("00:00",), ("00:01", "23:59")),
    ],
)
def test_hours_begin_with_their_first_minute_and_end_before_their_last(
    hours: str, inside: tuple[str, ...], outside: tuple[str, ...]
) -> None:
    def minute(text: str) -> int:
        return int(text[:2]) * 60 + int(text[3:])

    assert all(within([hours], minute(text)) for text in inside)
    assert not any(within([hours], minute(text)) for text in outside)


def test_any_of_several_hours_will_do() -> None:
    hours = ("01:00-02:00", "13:00-14:00")
    assert [within(hours, 60 * hour) for hour in (1, 2, 13, 14)] == [True, False, True, False]


@given(MINUTES, MINUTES, MINUTES)
def test_a_minute_is_in_hours_or_in_their_rest_of_the_day(start: int, end: int, at: int) -> None:
    if start != end:
        hours, rest = f"{clock(start)}-{clock(end)}", f"{clock(end)}-{clock(start)}"
        assert within([hours], at) != within([rest], at)


@pytest.mark.parametrize(
    "text", ["", "22-6", "22:00", "25:00-01:00", "08:60-09:00", "24:00-01:00", "01:00-24:01"]
)
def test_what_is_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected hours such as|has no minute"):
        parse_hours(text)


def test_hours_without_a_minute_are_refused() -> None:
    with pytest.raises(ValueError, match="has no minute"):
        parse_hours("08:00-08:00")
