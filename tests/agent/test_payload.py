from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.settings import Duration
from headwater_agent.payload import (
    ABSENT,
    MAX_DEPTH,
    MAX_KEYS,
    MAX_TOPIC,
    FieldPath,
    UnusableError,
    check_topic,
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


def nested(depth: int) -> bytes:
    """Arrays and objects in one another, in turn."""
    opened = [b"[", b'{"a":'] * depth
    closed = [b"]", b"}"] * depth
    return b"".join((*opened[:depth], b"1", *closed[:depth][::-1]))


@pytest.mark.parametrize("content", [nested(MAX_DEPTH), b"[%s]" % b",".join([b"{}"] * 500)])
def test_what_is_nested_as_deep_as_is_allowed_is_read(content: bytes) -> None:
    assert parse(content, 10**6) == json.loads(content)


@pytest.mark.parametrize("content", [nested(MAX_DEPTH + 1), nested(500), b"[" * 100_000])
def test_deep_nesting_is_refused(content: bytes) -> None:
    assert outcome(lambda: parse(content, 10**6)) == "deep"
    assert outcome(lambda: parse(b'[1,{"x":%s}]' % content, 10**6)) == "deep"


def test_an_object_may_have_so_many_keys() -> None:
    def keys(count: int) -> bytes:
        return json.dumps({str(i): i for i in range(count)}).encode()

    assert len(parse(keys(MAX_KEYS), 10**6)) == MAX_KEYS  # type: ignore[arg-type]
    assert outcome(lambda: parse(keys(MAX_KEYS + 1), 10**6)) == "keys"
    assert outcome(lambda: parse(b'{"a":[%s]}' % keys(MAX_KEYS + 1), 10**6)) == "keys"


def test_a_key_that_is_repeated_counts_once_and_the_last_one_holds() -> None:
    repeated = b'{%s,"a":2}' % b",".join([b'"a":1'] * (MAX_KEYS + 1))
    assert parse(repeated, 10**6) == {"a": 2}


def test_a_topic_may_be_so_long() -> None:
    assert outcome(lambda: check_topic("t" * MAX_TOPIC)) == "read"
    assert outcome(lambda: check_topic("t" * (MAX_TOPIC + 1))) == "topic-length"


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
