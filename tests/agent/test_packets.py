from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headwater_agent import packets
from headwater_agent.packets import (
    PacketError,
    PacketReader,
    Received,
    Unnumbered,
    encode_pubacks,
    encode_publishes,
)

LIMIT = 1 << 20
CONNECTION = 7

VERSIONS = pytest.mark.parametrize("v5", [True, False], ids=["5", "3.1.1"])
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="+#\0")
TOPICS = st.text(CHARACTERS, min_size=1, max_size=40) | st.sampled_from(["a/b", "ü" * 300])
PAYLOADS = st.binary(max_size=40) | st.sampled_from(
    [b"x" * size for size in (120, 127, 128, 20000)]
)
IDS = st.integers(1, 65_535)
OTHERS = st.sampled_from(
    [
        b"\x20\x03\x00\x00\x00",  # CONNACK
        b"\x90\x04\x00\x01\x00\x01",  # SUBACK
        b"\xd0\x00",  # PINGRESP
        b"\xe0\x02\x8e\x00",  # DISCONNECT
        b"\x34\x08\x00\x01a\x00\x09\x00xy",  # PUBLISH of QoS 2
    ]
)
PUBLISHES = st.fixed_dictionaries(
    {
        "topic": TOPICS,
        "payload": PAYLOADS,
        "packet_id": st.just(0) | IDS,
        "retain": st.booleans(),
    }
)
Publish = dict[str, Any]


def publish(topic: str, payload: bytes, *, v5: bool, retain: bool) -> bytes:
    (packet,) = encode_publishes([(topic, payload)], v5=v5, retain=retain)
    return packet


def encoded(message: Publish, *, v5: bool, again: bool = False) -> bytes:
    topic, payload, retain = message["topic"], message["payload"], message["retain"]
    if not message["packet_id"]:
        return publish(topic, payload, v5=v5, retain=retain)
    (packet,) = Unnumbered.of([(topic, payload)], v5=v5, retain=retain)
    assert packet.topic == topic
    return packet.numbered(message["packet_id"], again=again)


class PahoEncoder(paho.Client):
    """Keeps what paho's client would send."""

    def __init__(self, *, v5: bool) -> None:
        version = MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311
        super().__init__(CallbackAPIVersion.VERSION2, protocol=version)
        self.sent: list[bytes] = []

    def _packet_queue(
        self, command: int, packet: bytes | bytearray, mid: int, qos: int, info: object = None
    ) -> MQTTErrorCode:
        self.sent.append(bytes(packet))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def encode(self, message: Publish, *, again: bool, properties: Properties | None) -> bytes:
        near, far = socket.socketpair()
        self._sock = near
        try:
            self._send_publish(
                message["packet_id"],
                message["topic"].encode(),
                message["payload"],
                int(message["packet_id"] > 0),
                message["retain"],
                again,
                None,
                properties,
            )
        finally:
            self._sock = None
            near.close()
            far.close()
        return self.sent[-1]


def reader(*, v5: bool, limit: int = LIMIT) -> PacketReader:
    return PacketReader(v5=v5, limit=limit, connection=CONNECTION)


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def read(stream: bytes, *, v5: bool, places: Sequence[int] = ()) -> tuple[Received, bytes]:
    """Return what a stream holds that comes in pieces, and what is left for others."""
    made = reader(v5=v5)
    whole = Received()
    for piece in cut(stream, places):
        made.feed(piece)
        part = made.take()
        whole.messages += part.messages
        whole.receipts += part.receipts
        whole.acknowledged += part.acknowledged
        whole.unreadable += part.unreadable
    return whole, bytes(made.others)


def seen(received: Received) -> list[tuple[str, bytes, int, bool, int]]:
    return [(m.topic, m.payload, m.qos, m.retained, m.receipt) for m in received.messages]


def expected(message: Publish) -> tuple[str, bytes, int, bool, int]:
    packet_id = message["packet_id"]
    receipt = CONNECTION << 16 | packet_id if packet_id else 0
    return message["topic"], message["payload"], int(packet_id > 0), message["retain"], receipt


PUBACKS = st.tuples(IDS, st.sampled_from([0, 16, 135]))


@VERSIONS
@given(
    items=st.lists(PUBLISHES | OTHERS | PUBACKS, max_size=20),
    places=st.lists(st.integers(0, 1 << 20), max_size=12),
)
def test_a_stream_is_read_the_same_wherever_it_is_cut(
    v5: bool, items: list[Publish | bytes | tuple[int, int]], places: list[int]
) -> None:
    stream, messages, others, acknowledged = b"", [], b"", []
    for item in items:
        match item:
            case bytes():
                stream += item
                others += item
            case (packet_id, reason):
                reason = reason if v5 else 0
                tail = bytes([reason, 0]) if reason else b""
                stream += bytes([0x40, 2 + len(tail)]) + packet_id.to_bytes(2, "big") + tail
                acknowledged.append((packet_id, reason))
            case dict():
                stream += encoded(item, v5=v5)
                messages.append(expected(item))
    found, rest = read(stream, v5=v5, places=places)
    assert seen(found) == messages
    assert rest == others
    assert found.acknowledged == acknowledged
    assert found.receipts == [receipt for *_, receipt in messages if receipt]
    assert found.unreadable == []


@given(PUBLISHES, st.booleans())
@VERSIONS
def test_what_is_sent_is_what_paho_would_send(v5: bool, message: Publish, again: bool) -> None:
    again = again and message["packet_id"] > 0
    ours = encoded(message, v5=v5, again=again)
    assert ours == PahoEncoder(v5=v5).encode(message, again=again, properties=None)


@given(
    message=PUBLISHES,
    identifiers=st.lists(st.integers(1, 268_435_455), max_size=4),
    pairs=st.lists(st.text(st.characters(codec="ascii"), max_size=80), max_size=5),
)
@example(
    message={"topic": "a", "payload": b"x", "packet_id": 1, "retain": False},
    identifiers=[],
    pairs=["p" * 80] * 5,
)
def test_properties_of_any_length_are_passed_over(
    message: Publish, identifiers: list[int], pairs: list[str]
) -> None:
    properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = 60
    if pairs:
        properties.UserProperty = [("name", value) for value in pairs]
    for identifier in identifiers:
        properties.SubscriptionIdentifier = identifier
    packet = PahoEncoder(v5=True).encode(message, again=False, properties=properties)
    found, _ = read(packet, v5=True, places=range(0, len(packet), 7))
    assert seen(found) == [expected(message)]


@VERSIONS
@given(stream=st.binary(max_size=200), places=st.lists(st.integers(0, 200), max_size=5))
def test_whatever_comes_is_read_or_refused_in_one_way(
    v5: bool, stream: bytes, places: list[int]
) -> None:
    made = reader(v5=v5)
    try:
        for piece in cut(stream, places):
            made.feed(piece)
    except PacketError:
        pass
    assert len(made.others) <= len(stream)


@VERSIONS
@given(
    messages=st.lists(PUBLISHES, min_size=1, max_size=4),
    place=st.integers(0, 1 << 20),
    byte=st.integers(0, 255),
)
def test_a_changed_byte_is_read_or_refused_in_one_way(
    v5: bool, messages: list[Publish], place: int, byte: int
) -> None:
    stream = bytearray(b"".join(encoded(message, v5=v5) for message in messages))
    stream[place % len(stream)] = byte
    made = reader(v5=v5)
    with contextlib.suppress(PacketError):
        made.feed(bytes(stream))
    payloads = [message.payload for message in made.take().messages]
    if payloads and payloads[-1] == bytes(LIMIT):
        payloads.pop()  # it says that it is too large, and so many zeros stand in for it
    assert sum(map(len, payloads)) + len(made.others) <= len(stream)


@pytest.mark.parametrize(
    ("packet", "v5"),
    [
        (b"\x30\x00", True),
        (b"\x30\x01\x00", True),
        (b"\x30\x02\x00\x05", True),
        (b"\x30\x05\x00\x05abc", False),
        (b"\x32\x03\x00\x01a", False),
        (b"\x32\x04\x00\x01a\x00", False),
        (b"\x32\x05\x00\x01a\x00\x00", False),
        (b"\x30\x03\x00\x01a", True),
        (b"\x30\x04\x00\x01a\x05", True),
        (b"\x30\x04\x00\x01a\x80", True),
        (b"\x30\x07\x00\x01a\x80\x80\x80\x80", True),
        (b"\x30\x03\x00\x00\x00", True),
        (b"\x30\x07\x00\x00\x03\x23\x00\x01x", True),
        (b"\x30\x02\x00\x00", False),
        (b"\x40\x01\x00", True),
        (b"\x40\x03\x00\x01\x00", False),
        (b"\x30\x80\x80\x80\x80", True),
        (b"\xff\xff\xff\xff\xff", False),
    ],
    ids=lambda value: value.hex(" ") if isinstance(value, bytes) else "",
)
def test_a_packet_that_breaks_the_rules_is_refused(packet: bytes, v5: bool) -> None:
    # the same fields must not be taken from what follows
    for stream in (packet, packet + b"\x30\x07\x00\x01a\x00xyz" * 3):
        made = reader(v5=v5)
        with pytest.raises(PacketError):
            made.feed(stream)


def test_what_came_before_a_broken_packet_can_be_taken() -> None:
    made = reader(v5=True)
    good = encoded({"topic": "a", "payload": b"x", "packet_id": 3, "retain": False}, v5=True)
    with pytest.raises(PacketError):
        made.feed(b"\xd0\x00" + good + b"\x40\x02\x00\x09" + b"\x30\x00" + good)
    found = made.take()
    assert [m.payload for m in found.messages] == [b"x"]
    assert found.acknowledged == [(9, 0)]
    assert made.others == b"\xd0\x00"


@VERSIONS
@pytest.mark.parametrize("size", [1, 2, 10, 997, 5_000])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_over_the_limit_is_passed_over(v5: bool, qos: int, size: int) -> None:
    def packet(payload: bytes, packet_id: int) -> bytes:
        message = {"topic": "site/roof", "payload": payload, "retain": True}
        return encoded(message | {"packet_id": qos and packet_id}, v5=v5)

    made = reader(v5=v5, limit=1_000)
    stream = b"".join(
        (packet(b"a", 1), packet(b"x" * 1_000, 2), packet(b"y" * 3_000, 3), packet(b"b", 4))
    )
    held = 0
    for at in range(0, len(stream), size):
        made.feed(stream[at : at + size])
        held = max(held, len(made._partial))
    found = made.take()
    assert [m.payload for m in found.messages] == [b"a", bytes(1_000), bytes(1_000), b"b"]
    assert {(m.topic, m.qos, m.retained) for m in found.messages} == {("site/roof", qos, True)}
    assert [receipt & 0xFFFF for receipt in found.receipts] == [1, 2, 3, 4] * qos
    assert [m.receipt & 0xFFFF for m in found.messages] == ([1, 2, 3, 4] if qos else [0] * 4)
    assert held < 50


@VERSIONS
@pytest.mark.parametrize("kind", [0x34, 0x40, 0x90])
def test_a_packet_over_the_limit_is_refused_before_it_is_buffered(v5: bool, kind: int) -> None:
    made = reader(v5=v5, limit=1000)
    header = bytes([kind, 0xE9, 0x07])  # 1001 bytes
    with pytest.raises(PacketError, match="a packet has 1001 bytes; 1000 are allowed"):
        made.feed(header)
    made = reader(v5=v5, limit=1001)
    made.feed(header)


@pytest.mark.parametrize("length", [127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_the_length_of_a_packet_takes_as_many_bytes_as_it_needs(length: int) -> None:
    packet = publish("a", bytes(length - 3), v5=False, retain=False)
    made = reader(v5=False, limit=length)
    made.feed(packet)
    assert [len(m.payload) for m in made.take().messages] == [length - 3]
    paho_packet = PahoEncoder(v5=False).encode(
        {"topic": "a", "payload": bytes(length - 3), "packet_id": 0, "retain": False},
        again=False,
        properties=None,
    )
    assert packet[:8] == paho_packet[:8]


def test_a_large_packet_in_small_pieces_is_put_together_once() -> None:
    splits = []

    class Counting(PacketReader):
        def _split(self, data: bytes) -> int:
            splits.append(len(data))
            return super()._split(data)

    made = Counting(v5=True, limit=LIMIT)
    packet = publish("a", b"x" * 100_000, v5=True, retain=False)
    for at in range(0, len(packet), 10):
        made.feed(packet[at : at + 10])
    assert [len(m.payload) for m in made.take().messages] == [100_000]
    assert splits == [10, len(packet)]


@pytest.mark.parametrize("topic", [b"\xff\xfe", b"a\x00b", b"\xed\xa0\x80"])
def test_a_topic_that_is_no_text_has_a_receipt_and_no_message(topic: bytes) -> None:
    body = len(topic).to_bytes(2, "big") + topic + b"\x00\x07" + b"x"
    found, _ = read(bytes([0x32, len(body)]) + body + b"\x30\x04\x00\x01ax", v5=False)
    assert [m.topic for m in found.messages] == ["a"]
    assert found.receipts == found.unreadable == [CONNECTION << 16 | 7]


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b", "\ud800", "x" * 65_536])
def test_a_topic_that_cannot_be_published_on_is_refused(topic: str) -> None:
    for encode in (encode_publishes, Unnumbered.of):
        with pytest.raises(PacketError, match="topic"):
            encode([("a", b""), (topic, b"")], v5=True, retain=False)


def test_a_payload_that_fits_into_no_packet_is_refused() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return (1 << 28) - 3

    for encode in (encode_publishes, Unnumbered.of):
        with pytest.raises(PacketError, match="longer than MQTT allows"):
            encode([("a", Huge())], v5=False, retain=False)


def test_topics_are_remembered_up_to_a_bound() -> None:
    long = "x" * 300
    for n in range(10_000):
        publish(f"{n}", b"", v5=True, retain=False)
        publish(f"{long}{n}", b"", v5=True, retain=False)
    for fields in (packets._fields, packets._fields_v5):
        assert 0 < len(fields) <= 4_096
        assert not any(len(topic) > 256 for topic in fields)


@given(st.lists(IDS, max_size=5))
def test_acknowledgements_stand_one_after_another(ids: list[int]) -> None:
    assert encode_pubacks(ids) == b"".join(b"\x40\x02" + n.to_bytes(2, "big") for n in ids)
