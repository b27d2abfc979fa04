"""The wire: every message comes through unchanged, and nothing else comes through at all."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import wire
from headwater.errors import PeerError

HASH = "0123456789abcdef" * 4
TASKS: tuple[type[Any], ...] = typing.get_args(wire.Task)
REPLIES: tuple[type[Any], ...] = typing.get_args(wire.Reply)
MESSAGES = TASKS + REPLIES


def of_field(message: type[Any], field: msgspec.structs.FieldInfo) -> st.SearchStrategy[Any]:
    if field.name == "protocol":
        return st.just(wire.PROTOCOL)
    if field.name == "statement":
        return st.text(max_size=40)
    if field.name == "after_ms":
        return st.just(msgspec.UNSET) | st.integers(0, 2**53)
    if field.name in ("proximal_mu", "budget_ms"):
        given_ = st.floats(0, 1_000) if field.name == "proximal_mu" else st.integers(1_000, 10**6)
        return st.just(msgspec.UNSET) | given_
    if field.name in ("receipts", "delegation"):
        text = st.text(max_size=40)
        many = st.lists(text, max_size=3).map(tuple)
        return st.just(msgspec.UNSET) | (text if field.name == "delegation" else many)
    return of_type(msgspec.inspect.type_info(field.type), f"{message.__name__}.{field.name}")


def of_type(kind: msgspec.inspect.Type, where: str) -> st.SearchStrategy[Any]:
    match kind:
        case msgspec.inspect.StrType(pattern="^[0-9a-f]{64}$"):
            return st.binary(min_size=32, max_size=32).map(bytes.hex)
        case msgspec.inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern.replace("$", r"\Z"))
        case msgspec.inspect.IntType(ge=low, le=high):
            return st.integers(low, high)
        case msgspec.inspect.FloatType(gt=low, le=high):
            bounded = low is not None
            return st.floats(low, high, exclude_min=bounded, allow_nan=False, allow_infinity=False)
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.LiteralType(values=values):
            return st.sampled_from(values)
    raise AssertionError(f"{where} is of a type that may carry anything: {kind}")


def of_message(message: type[Any]) -> st.SearchStrategy[Any]:
    fields = msgspec.structs.fields(message)
    return st.builds(message, **{field.name: of_field(message, field) for field in fields})


def sample(message: type[Any]) -> dict[str, Any]:
    """The plain fields of a valid message."""
    values: dict[str, Any] = {"type": message.__struct_config__.tag}
    for field in msgspec.structs.fields(message):
        match msgspec.inspect.type_info(field.type):
            case msgspec.inspect.StrType(pattern=pattern):
                values[field.name] = HASH if pattern and "{64}" in pattern else "pump-1"
            case msgspec.inspect.LiteralType(values=(first, *_)):
                values[field.name] = first
            case msgspec.inspect.BoolType():
                values[field.name] = True
            case msgspec.inspect.VarTupleType():
                values[field.name] = ["receipt"]
            case msgspec.inspect.IntType(ge=int(least)):
                values[field.name] = max(1, least)
            case _:
                values[field.name] = 1
    return values


def decode(message: type[Any], fields: dict[str, Any]) -> Any:
    encoded = msgspec.json.encode(fields)
    return wire.decode_task(encoded) if message in TASKS else wire.decode_reply(encoded)


@given(st.one_of([of_message(task) for task in TASKS]))
def test_a_task_comes_through_unchanged(task: wire.Task) -> None:
    assert wire.decode_task(wire.encode(task)) == task


@given(st.one_of([of_message(reply) for reply in REPLIES]))
def test_a_reply_comes_through_unchanged(reply: wire.Reply) -> None:
    assert wire.decode_reply(wire.encode(reply)) == reply


@pytest.mark.parametrize("message", MESSAGES)
def test_the_sample_of_each_message_is_valid(message: type[Any]) -> None:
    assert isinstance(decode(message, sample(message)), message)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_field_that_the_message_lacks_is_refused(message: type[Any]) -> None:
    with pytest.raises(PeerError, match="unknown field `note`"):
        decode(message, sample(message) | {"note": "23.5 degrees"})


@pytest.mark.parametrize("message", REPLIES)
def test_no_text_of_a_reply_can_hold_a_sentence(message: type[Any]) -> None:
    for name, value in sample(message).items():
        if isinstance(value, str) and name != "type":
            with pytest.raises(PeerError):
                decode(message, sample(message) | {name: "pm25 was 23.5 at noon"})


@pytest.mark.parametrize("message", REPLIES)
def test_no_field_of_a_reply_can_hold_a_list_or_an_object(message: type[Any]) -> None:
    for name in sample(message):
        for value in ([1.5, 2.5], {"a": 1.5}, None):
            with pytest.raises(PeerError):
                decode(message, sample(message) | {name: value})


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_a_later_protocol_is_refused(message: type[Any]) -> None:
    later = wire.PROTOCOL + 1
    with pytest.raises(PeerError, match=f"speaks protocol {later}, this side .*; update"):
        decode(message, sample(message) | {"protocol": later})


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_one_protocol_older_is_understood(message: type[Any]) -> None:
    older = decode(message, sample(message) | {"protocol": wire.PROTOCOL - 1})
    assert older.protocol == wire.PROTOCOL - 1


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_says_its_protocol_and_has_a_tag_of_its_own(message: type[Any]) -> None:
    assert "protocol" in message.__struct_fields__
    tags = [each.__struct_config__.tag for each in MESSAGES]
    assert tags.count(message.__struct_config__.tag) == 1


def test_a_task_is_no_reply_and_a_reply_no_task() -> None:
    with pytest.raises(PeerError, match="The device sent"):
        wire.decode_reply(wire.encode(wire.CheckIn()))
    received = wire.Received(device="pump-1", version=HASH, accepted=True)
    with pytest.raises(PeerError, match="The coordinator sent"):
        wire.decode_task(wire.encode(received))


def test_fields_that_are_too_long_are_not_read() -> None:
    padding = b" " * wire.MAX_FIELDS_BYTES
    with pytest.raises(PeerError, match="bytes of fields; at most 65536"):
        wire.decode_task(wire.encode(wire.CheckIn()) + padding)


def outcome(data: bytes) -> str:
    try:
        return type(wire.decode_reply(data)).__name__
    except PeerError as error:
        return str(error)


@given(st.binary(max_size=80))
def test_any_bytes_end_in_a_message_or_a_sentence(data: bytes) -> None:
    names = tuple(message.__name__ for message in REPLIES)
    assert outcome(data).startswith(("The device ", *names))


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (wire.Train, {"epochs": 0}),
        (wire.Train, {"epochs": 101}),
        (wire.Train, {"batch": 5000}),
        (wire.Train, {"learning_rate": 0.0}),
        (wire.Train, {"base": HASH[:-1]}),
        (wire.Train, {"base": HASH.upper()}),
        (wire.Train, {"round": -1}),
        (wire.Train, {"round": 1.5}),
        (wire.Update, {"examples": -1}),
        (wire.Update, {"sequence": 2**60}),
        (wire.Update, {"device": "Pump 1"}),
        (wire.Update, {"device": ""}),
        (wire.Declined, {"reason": "lazy"}),
    ],
)
def test_a_value_out_of_bounds_is_refused(message: type[Any], fields: dict[str, Any]) -> None:
    with pytest.raises(PeerError, match=next(iter(fields))):
        decode(message, sample(message) | fields)


def test_the_kinds_are_flower_message_types() -> None:
    assert {kind.value.split(".")[0] for kind in wire.Kind} == {"train", "evaluate", "query"}


def test_only_three_messages_carry_an_array() -> None:
    assert set(wire.CARRIES_ARRAY) == {wire.Evaluate, wire.Release, wire.Update}


RECORDED = (Path(__file__).parent / "protocol_1.jsonl").read_bytes().splitlines()
"""Each message as a program of protocol 1 sent it."""


def test_what_devices_of_protocol_1_send_is_read() -> None:
    replies = [line for line in RECORDED if b'"device"' in line]
    read = [wire.decode_reply(line) for line in replies]
    assert {type(reply) for reply in read} == set(REPLIES)
    assert {reply.protocol for reply in read} == {1}


def test_what_devices_of_protocol_1_are_sent_is_what_they_were_sent_before() -> None:
    tasks = [line for line in RECORDED if b'"device"' not in line]
    read = [wire.decode_task(line) for line in tasks]
    assert {type(task) for task in read} == set(TASKS)
    for task, line in zip(read, tasks, strict=True):
        fields = {name: getattr(task, name) for name in task.__struct_fields__}
        assert wire.encode(type(task)(**{k: fields[k] for k in fields if k != "protocol"})) == line


def test_a_check_in_holds_a_bounded_number_of_short_receipts() -> None:
    most = wire.CheckIn(protocol=2, receipts=("x" * 1024,) * 50)
    assert wire.decode_task(wire.encode(most)) == most
    for receipts in (("x" * 1025,), ("x",) * 51):
        with pytest.raises(PeerError, match="length"):
            wire.decode_task(wire.encode(wire.CheckIn(protocol=2, receipts=receipts)))
