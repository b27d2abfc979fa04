"""The MQTT packets that come in masses, PUBLISH and PUBACK, read and written without I/O.

A piece of the byte stream is split at once, however many packets it holds and wherever it was
cut; packets of other kinds come out as they went in. Formats after MQTT 3.1.1 and 5.0, sections
2.1, 3.3 and 3.4.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeVar

import msgspec

from headwater_agent.transport import Message, receipt_of

_K = TypeVar("_K", bound=str | bytes)
_V = TypeVar("_V")

_REMEMBERED, _REMEMBERED_LENGTH = 4_096, 256
"""How many topics are remembered, and of what length at most: a few megabytes in all."""

_LONGEST = (1 << 28) - 1
"""Bytes that a packet can have after its fixed header."""

_PUBLISH, _QOS_1, _DUP, _PUBACK = 0x30, 0x32, 0x08, 0x40
_TYPE, _TYPE_AND_QOS_2 = 0xF0, 0xF4
"""Bits of a packet's first byte; the second leaves out QoS 2 and what is no QoS at all."""

_PLAIN_PUBACKS = re.compile(rb"(?:\x40\x02..)+", re.DOTALL).match
"""PUBACK packets behind one another that hold nothing but their packet ids."""

_SHORT, _MIDDLE = struct.Struct(">BB").pack, struct.Struct(">BBB").pack
_ID = struct.Struct(">H").pack


class PacketError(ValueError):
    """What MQTT does not allow: a packet that came, or one that was to be sent."""


class _Remembered(dict[_K, _V]):
    """What a function made of topics; forgotten when there are too many."""

    def __init__(self, make: Callable[[_K], _V]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, topic: _K) -> _V:
        made = self._make(topic)
        if len(topic) <= _REMEMBERED_LENGTH:
            if len(self) == _REMEMBERED:
                self.clear()
            self[topic] = made
        return made


class Received(msgspec.Struct):
    """What a piece of the stream held."""

    messages: list[Message] = []
    receipts: list[int] = []
    """Of every message of QoS 1, in the order of delivery."""
    unreadable: list[int] = []
    """Those among ``receipts`` whose topic is no text, so that there is no message to show."""
    acknowledged: list[tuple[int, int]] = []
    """Packet id and reason code of each PUBACK; 128 and above is a refusal."""


class PacketReader:
    """Splits the stream of one connection.

    PUBLISH of QoS 0 and 1 and PUBACK are decoded. Every other packet, once it is here whole, is
    appended to ``others``. Properties of a PUBLISH are skipped: none changes what a message means
    here, and a topic alias is never announced.

    Parameters
    ----------
    v5
        Whether the connection speaks MQTT 5.
    limit
        Bytes after the fixed header of the largest packet, at least 127. A larger message is not
        buffered: it comes with so many zeros in the place of its payload, so that it is refused and
        acknowledged like any other and the broker need not send it again.
    connection
        Distinguishes the receipts of this connection from those of others: the receipt of a
        message of QoS 1 is ``connection << 16`` plus the packet id.
    """

    def __init__(self, *, v5: bool, limit: int, connection: int = 0) -> None:
        self.others = bytearray()
        self._v5 = v5
        self._limit = limit
        self._connection = connection
        self._partial = bytearray()
        self._missing = 0
        self._passing = 0
        self._received = Received()
        self._topics = _Remembered(_text)

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the stream.

        Raises
        ------
        PacketError
            When it is not MQTT, or larger than the limit and no message. What came before can
            still be taken; nothing after it can be read.
        """
        self._take_in(piece)
        while self._passing and self._partial:
            piece, self._partial = bytes(self._partial), bytearray()
            self._take_in(piece)

    def _take_in(self, piece: bytes) -> None:
        """Take a piece up to the next message that is too large."""
        if self._passing:
            passed = min(self._passing, len(piece))
            self._passing -= passed
            piece = piece[passed:]
        if len(piece) < self._missing:
            self._partial += piece
            self._missing -= len(piece)
            return
        data = b"".join((self._partial, piece)) if self._partial else piece
        try:
            rest = self._split(data)
        except IndexError:
            raise PacketError("a packet is shorter than its fields") from None
        if self._partial or rest < len(data):
            self._partial = bytearray(data[rest:])

    def take(self) -> Received:
        """Return what was decoded since the last call."""
        received, self._received = self._received, Received()
        return received

    def _split(self, data: bytes) -> int:
        """Decode the whole packets; return where the first that is not whole begins."""
        at, end = 0, len(data)
        while end - at > 1:
            first, length, body = data[at], data[at + 1], at + 2
            if length > 127:
                if body < end and data[body] < 128:  # two bytes, as most messages have
                    length, body = length - 128 | data[body] << 7, body + 1
                else:
                    length, body = _varint(data, at + 1, end)
                    if not body:
                        break
                if length > self._limit:
                    return self._pass_over(data, at, body, length)
            stop = body + length
            if stop > end:
                self._missing = stop - end
                return at
            if first & _TYPE_AND_QOS_2 == _PUBLISH:
                self._publish(data, first, body, stop)
            elif first & _TYPE == _PUBACK:
                if data[stop : stop + 2] == b"\x40\x02" and (run := _PLAIN_PUBACKS(data, at)):
                    stop = run.end()
                    words = struct.unpack_from(f">{(stop - at) // 4}I", data, at)
                    self._received.acknowledged += [(word & 0xFFFF, 0) for word in words]
                else:
                    self._puback(data, body, stop)
            else:
                self.others += data[at:stop]
            at = stop
        self._missing = 1
        return at

    def _pass_over(self, data: bytes, at: int, body: int, length: int) -> int:
        """Have a message that is too large passed over, once its topic and packet id are here.

        Returns where the rest of it begins, or *at* where they are not yet.
        """
        first, head = data[at], body + 2
        if first & _TYPE_AND_QOS_2 != _PUBLISH:
            raise PacketError(f"a packet has {length} bytes; {self._limit} are allowed")
        if head <= len(data):
            head += (data[body] << 8 | data[body + 1]) + (first & 2)
        if head > len(data):
            self._missing = head - len(data)
            return at
        properties = b"\0" if self._v5 else b""
        stand_in = b"".join((data[body:head], properties, bytes(self._limit)))
        self._publish(stand_in, first, 0, len(stand_in))
        self._missing, self._passing = 1, body + length - head
        return head

    def _publish(self, data: bytes, first: int, body: int, stop: int) -> None:
        body += 2
        start = topic_end = body + (data[body - 2] << 8 | data[body - 1])
        receipt = 0
        if first & 2:
            packet_id = data[start] << 8 | data[start + 1]
            if not packet_id:
                raise PacketError("a PUBLISH of QoS 1 has no packet id")
            receipt = receipt_of(self._connection, packet_id)
            start += 2
        if self._v5:
            properties, start = data[start], start + 1
            if properties > 127:
                properties, start = _varint(data, start - 1, stop)
            start += properties
        if topic_end == body or not topic_end <= start <= stop:
            raise PacketError("a PUBLISH is shorter than its fields or has no topic")
        topic = self._topics[data[body:topic_end]]
        if receipt:
            self._received.receipts.append(receipt)
        if topic:
            self._received.messages.append(
                Message(topic, data[start:stop], first >> 1 & 1, bool(first & 1), receipt)
            )
        elif receipt:
            self._received.unreadable.append(receipt)

    def _puback(self, data: bytes, body: int, stop: int) -> None:
        length = stop - body
        if length < 2 or (length > 2 and not self._v5):
            raise PacketError("a PUBACK has the wrong length")
        reason = data[body + 2] if length > 2 else 0
        self._received.acknowledged.append((data[body] << 8 | data[body + 1], reason))


class Unnumbered(msgspec.Struct, frozen=True, gc=False):
    """A PUBLISH of QoS 1 that has no packet id yet: what stands before the id, and after it."""

    topic: str
    before: bytes
    after: bytes

    @classmethod
    def of(
        cls, messages: Iterable[tuple[str, bytes]], *, v5: bool, retain: bool
    ) -> list[Unnumbered]:
        """Return the packets of messages, each a topic and a payload.

        Raises
        ------
        PacketError
            When nothing can be published on a topic, or a payload is too large.
        """
        made, first = [], _QOS_1 | retain
        for topic, payload in messages:
            name, after = _fields[topic], b"\0" + payload if v5 else payload
            before = _header(first, len(name) + 2 + len(after)) + name
            made.append(cls(topic, before, after))
        return made

    def numbered(self, packet_id: int, *, again: bool = False) -> bytes:
        """Return the packet with its id, and with the DUP flag if it is sent *again*."""
        before = self.before
        if again:
            before = bytes((before[0] | _DUP,)) + before[1:]
        return before + _ID(packet_id) + self.after


def encode_publishes(
    messages: Iterable[tuple[str, bytes]], *, v5: bool, retain: bool
) -> list[bytes]:
    """Return a PUBLISH of QoS 0 for each topic and payload.

    Raises
    ------
    PacketError
        When nothing can be published on a topic, or a payload is too large.
    """
    first, fields = _PUBLISH | retain, _fields_v5 if v5 else _fields
    packets = []
    for topic, payload in messages:
        head = fields[topic]
        packets.append(_header(first, len(head) + len(payload)) + head + payload)
    return packets


def encode_pubacks(packet_ids: Iterable[int]) -> bytes:
    """Return a PUBACK packet for each id, in their order."""
    words = [0x4002_0000 | packet_id for packet_id in packet_ids]
    return struct.pack(f">{len(words)}I", *words)


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a variable byte integer and where it ends; 0 and 0 if it is not whole before *end*."""
    value = 0
    for place in range(4):
        if at + place >= end:
            return 0, 0
        byte = data[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise PacketError("a length has more than four bytes")


@lru_cache(maxsize=4_096)
def _header(first: int, length: int) -> bytes:
    """Return the fixed header of a packet."""
    if length < 1 << 7:
        return _SHORT(first, length)
    if length < 1 << 14:
        return _MIDDLE(first, length & 127 | 128, length >> 7)
    if length > _LONGEST:
        raise PacketError(f"a packet of {length} bytes is longer than MQTT allows")
    header = bytearray((first,))
    while length > 127:
        header.append(length & 127 | 128)
        length >>= 7
    header.append(length)
    return bytes(header)


def _text(raw: bytes) -> str:
    """Return a topic as text; empty if MQTT does not allow it as such."""
    try:
        topic = raw.decode()
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in topic else topic


def _field(topic: str) -> bytes:
    """Return a topic as the first field of a PUBLISH."""
    try:
        raw = topic.encode()
    except UnicodeEncodeError:
        raise PacketError(f"the topic {topic!r} is no text") from None
    if not 0 < len(raw) < 1 << 16 or any(c in topic for c in "+#\0"):
        raise PacketError(f"nothing can be published on the topic {topic[:80]!r}")
    return _ID(len(raw)) + raw


def _field_v5(topic: str) -> bytes:
    """Return a topic, and that there are no properties, as MQTT 5 has it at QoS 0."""
    return _fields[topic] + b"\0"


_fields, _fields_v5 = _Remembered(_field), _Remembered(_field_v5)
