from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.codec import FEW, Decoder
from headwater_agent.columns import RecordRun
from headwater_agent.events import Record
from headwater_agent.payload import Refusal
from headwater_agent.plain import FEW as FEW_RECORDS
from headwater_agent.plain import PlainPayloads
from headwater_agent.settings import AgentSettings, ChannelField, Input, TimeField
from headwater_agent.transport import Message
from headwater_agent.units import Conversion
from tests.agent.test_codec import MANIFEST, NOW

INPUTS = [
    Input(pattern="air/{stream}"),
    Input(pattern="air/{stream}", time=TimeField(field="ts", format="iso8601")),
    Input(pattern="air/{stream}", time=TimeField(field="ts", format="s")),
    Input(pattern="air/{stream}", time=TimeField(field="ts", format="ms")),
    Input(pattern="air/{stream}", time=TimeField(field="ts", format="ns")),
    Input(pattern="air/+", stream="id", time=TimeField(field="ts", format="ms")),
    Input(pattern="air/{stream}", channels={"temp": ChannelField(unit="degF")}),
    Input(pattern="air/{stream}", channels={"temp": ChannelField(field="in.temp")}),
    Input(pattern="air/{stream}", max_payload=40),
]

SKIPPED = [b'"\xff"', b"1" * 5_000, b"1e999", b"[" * 70 + b"]" * 70]
"""What stands in a key that nobody asked for; no JSON, or too deep."""

numbers = (
    st.integers(-(10**40), 10**40)
    | st.floats()
    | st.sampled_from([3, 12.5, 1e39, -1e39, None, "7", True, "x", [1]])
)
times = st.sampled_from(
    [NOW, NOW / 1000, NOW * 10**6, "2023-11-14T22:13:20Z", "2023-11-14 22:13", 0, None, "soon"]
) | st.integers(-(10**30), 10**30)
objects = st.fixed_dictionaries(
    {},
    optional={
        "temp": numbers,
        "PM2.5": numbers,
        "in.temp": numbers,
        "in": st.fixed_dictionaries({"temp": numbers}),
        "ts": times,
        "id": st.sampled_from(["roof", "a/b", "", 7, None]),
        "other": st.sampled_from([1, {"deep": [1]}, *SKIPPED]),
    },
)


def spelt(value: dict[str, object]) -> bytes:
    """JSON, or nearly so: bytes go in as they are."""
    pairs = (
        json.dumps(key).encode() + b":" + (v if isinstance(v, bytes) else json.dumps(v).encode())
        for key, v in value.items()
    )
    return b"{%s}" % b",".join(pairs)


payloads = st.one_of(
    objects.map(spelt),
    st.binary(max_size=40),
    st.sampled_from([b"[]", b'{"temp": 1, "temp": 2}', b'[{"temp": 1}]', b'{"temp": 1e999}']),
)


def decoder(settings: Input) -> Decoder:
    agent = AgentSettings(device="d1", bundle=Path("m"), input=settings)
    return Decoder(agent, MANIFEST)


def told(decoded: list[Record] | Refusal) -> object:
    if isinstance(decoded, Refusal):
        return decoded
    return [
        (r.stream, r.time, r.values.tobytes(), r.present.tolist(), r.received, r.receipt)
        for r in decoded
    ]


@given(st.sampled_from(INPUTS), st.lists(payloads, max_size=8), st.booleans())
def test_together_messages_are_decoded_as_one_by_one(
    settings: Input, contents: list[bytes], alone: bool
) -> None:
    messages = [
        Message("air/roof" if alone or i % 3 else "other", payload, 1, False, i + 1)
        for i, payload in enumerate(contents)
    ]
    single, together = decoder(settings), decoder(settings)
    one_by_one = [single.decode(m.topic, m.payload, NOW, m.receipt) for m in messages]
    assert list(map(told, together.decode_all(messages, NOW))) == list(map(told, one_by_one))
    assert single.unreadable == together.unreadable


@given(
    st.lists(st.tuples(st.sampled_from(["air/a", "air/b", "lab/a", "other"]), payloads), min_size=3)
)
def test_messages_of_several_inputs_are_decoded_as_one_by_one(
    contents: list[tuple[str, bytes]],
) -> None:
    inputs = (Input(pattern="air/{stream}"), Input(pattern="lab/{stream}", max_payload=30))
    agent = AgentSettings(device="d1", bundle=Path("m"), input=inputs)
    messages = [
        Message(topic, payload, 1, False, i) for i, (topic, payload) in enumerate(contents, 1)
    ]
    single, together = Decoder(agent, MANIFEST), Decoder(agent, MANIFEST)
    one_by_one = [single.decode(m.topic, m.payload, NOW, m.receipt) for m in messages]
    assert list(map(told, together.decode_all(messages, NOW))) == list(map(told, one_by_one))
    assert single.unreadable == together.unreadable


def test_plain_records_of_one_stream_come_in_columns() -> None:
    codec = decoder(Input(pattern="air/{stream}"))
    plain = [
        Message("air/roof", b'{"temp": %d, "PM2.5": 1}' % i, 1, False, i)
        for i in range(FEW_RECORDS)
    ]
    found = codec.decode_together(plain, NOW)
    assert isinstance(found, RecordRun)
    assert [told([record]) for record in found] == [
        told(codec.decode(one.topic, one.payload, NOW, one.receipt)) for one in plain
    ]
    for other in (
        Message("air/door", b'{"temp": 3, "PM2.5": 1}', 1, False, 7),
        Message("air/roof", b'{"temp": "3", "PM2.5": 1}', 1, False, 7),
        Message("air/roof", b'{"temp": 3}', 1, False, 7),
    ):
        assert not isinstance(codec.decode_together([*plain, other], NOW), RecordRun)


def plain(**options: object) -> PlainPayloads:
    return PlainPayloads(
        Input(pattern="air/{stream}", **options),  # type: ignore[arg-type]
        ["b", "a"],
        columns=[1, 0],
        conversions=[Conversion(), Conversion()],
        channels=2,
    )


def test_a_flat_object_of_numbers_is_plain() -> None:
    read = plain(time=TimeField(field="ts", format="ms"), stream="id").read
    assert read(b'{"a": 1, "ts": 5, "b": null, "id": "x", "c": [1]}') == (None, 1.0, 5.0, "x")


@pytest.mark.parametrize(
    "payload",
    [b'{"a": 1}', b'{"a": "1", "b": 2}', b'[{"a": 1, "b": 2}]', b"{", b"\xff", b"[" * 10_000],
)
def test_anything_else_is_left_to_the_decoder(payload: bytes) -> None:
    assert plain().read(payload) is None


def test_a_key_that_is_wanted_twice_is_not_plain() -> None:
    def suit(*keys: str, **options: object) -> bool:
        return PlainPayloads.suit(Input(pattern="a", **options), keys)  # type: ignore[arg-type]

    assert suit("a", "b", stream="id", time=TimeField(field="ts", format="s"))
    assert suit("a", "data.b")
    assert not suit("a", "a")
    assert not suit("a", "b", stream="a")


@pytest.mark.parametrize("skipped", SKIPPED)
@pytest.mark.parametrize("count", [1, FEW])
def test_what_stands_in_keys_that_nobody_asked_for_spoils_nothing(
    skipped: bytes, count: int
) -> None:
    payload = b'{"temp": 3, "PM2.5": 1, "place": %s}' % skipped
    messages = [Message("air/roof", payload, 1, False, 7)] * count
    for decoded in decoder(Input(pattern="air/{stream}")).decode_all(messages, NOW):
        assert not isinstance(decoded, Refusal)
        assert decoded[0].values.tolist() == [3, 1]
        assert decoded[0].receipt == 7


def test_what_could_be_deeper_than_a_decoder_gets_is_not_plain() -> None:
    payload = b'{"b": 1, "a": 2, "x": %s}'
    assert plain().read(payload % (b"[" * 400 + b"]" * 400)) == (1.0, 2.0)
    assert plain().read(payload % (b"[" * 501 + b"]" * 501)) is None


def test_what_is_too_large_is_refused_however_many_come() -> None:
    codec = decoder(Input(pattern="air/{stream}", max_payload=40))
    messages = [Message("air/roof", b'{"temp": 3, "PM2.5": 1}' + b" " * 40, 1, False, 7)]
    for decoded in codec.decode_all(messages, NOW) + codec.decode_all(messages * FEW, NOW):
        assert isinstance(decoded, Refusal)
        assert decoded.reason == "size"


def test_what_a_plain_payload_does_not_speak_of_is_missing() -> None:
    codec = decoder(Input(pattern="air/{stream}", channels={"temp": ChannelField()}))
    messages = [Message("air/roof", b'{"temp": 3}', 1, False, 7)] * FEW
    decoded = codec.decode_all(messages, NOW)[0]
    assert not isinstance(decoded, Refusal)
    (record,) = decoded
    assert record.present.tolist() == [True, False]
    np.testing.assert_array_equal(record.values, [3, np.nan])
