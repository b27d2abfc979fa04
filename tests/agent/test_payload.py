from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.settings import Duration
from headwater_agent.payload import (
    ABSENT,
    FieldPath,
    UnusableError,
    parse,
    read_number,
    read_stream,
    read_time,
)
from headwater_agent.settings import TimeField

NOW = 1_700_000_000_000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def outcome(reading: Callable[[], object]) -> str:
    """Say that something was read, or why it was refused; any other exception is a failure."""
    try:
        reading()
    except UnusableError as refused:
        return refused.reason
    return "read"


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    assert outcome(lambda: parse(payload, 100)) in ("read", "size", "json", "deep")


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(UnusableError, match="nested too deeply"):
        parse(b"[" * 100_000, 10**6)


@pytest.mark.parametrize(
    ("path", "found"),
    [("a", 1), ("b.c", 2), ("b.d.1", 4), ("e.f", 5), ("b.x", ABSENT), ("b.d.9", ABSENT)],
)
def test_a_field_is_a_key_or_a_path(path: str, found: object) -> None:
    item = {"a": 1, "b": {"c": 2, "d": [3, 4]}, "e.f": 5}
    assert FieldPath(path).find(item) is found or FieldPath(path).find(item) == found


@given(JSON)
def test_any_value_is_a_number_missing_or_none(value: object) -> None:
    number = read_number(value, text=True)
    assert number is None or isinstance(number, float)


def test_numbers_in_text_are_read_only_where_that_is_wanted() -> None:
    assert read_number("12.5", text=True) == 12.5
    assert read_number("12.5", text=False) is None
    assert math.isnan(read_number(None, text=False) or 0)


@given(JSON)
def test_any_value_names_a_stream_or_is_refused(value: object) -> None:
    assert outcome(lambda: read_stream(value)) in ("read", "stream")


@given(JSON, st.sampled_from(["iso8601", "s", "ms", "us", "ns"]))
def test_any_value_is_a_time_that_can_be_or_is_refused(value: object, unit: str) -> None:
    field = TimeField(field="t", format=unit, ahead=Duration(1_000))  # type: ignore[arg-type]
    times: list[int] = []
    said = outcome(lambda: times.append(read_time(field, FieldPath("t"), {"t": value}, NOW)))
    assert said in ("read", "time")
    assert all(946_684_800_000 <= time <= NOW + 1_000 for time in times)
