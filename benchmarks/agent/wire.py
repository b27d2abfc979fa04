"""The load's own MQTT client: packets made beforehand, arrivals counted, hardly any CPU.

MQTT 3.1.1 on a plain socket. It is the publisher, and the subscriber that sees what comes out; a
library's client would take the processor that broker and measured side need.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Iterable, Iterator

CHUNK = 1 << 18
ANSWER_S = 60.0
"""Seconds that the broker may take to take all that was sent."""

_CONNECT, _CONNACK, _PUBLISH, _PUBACK = 0x10, 0x20, 0x30, 0x40
_SUBSCRIBE, _PINGREQ, _PINGRESP, _DISCONNECT = 0x82, 0xC0, 0xD0, 0xE0


class Wire:
    """A connection that publishes and sees what is published; one thread drives it.

    Parameters
    ----------
    port
        The broker's, on loopback.
    name
        Client id.

    Attributes
    ----------
    acknowledged
        Own messages of QoS 1 that the broker has.

    Raises
    ------
    OSError
        When there is no such broker, or it ends the connection.
    """

    def __init__(self, port: int, name: str) -> None:
        self.acknowledged = 0
        self._answers: set[int] = set()
        self._sent = 0
        self._left = b""
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        head = b"\x00\x04MQTT\x04\x02\x00\x00"  # 3.1.1, clean session, no keep-alive
        self.send(packet(_CONNECT, head + text(name)))
        self._await(_CONNACK)

    def subscribe(self, topics: str) -> None:
        """See what is published from now on, once at most; returns when the broker knows."""
        self.send(packet(_SUBSCRIBE, b"\x00\x01" + text(topics) + b"\x00"))
        self._await(0x90)

    def encode(self, messages: Iterable[tuple[str, bytes]], qos: int) -> list[bytes]:
        """Return the packets that publish these topics and payloads."""
        made = []
        for topic, payload in messages:
            body = text(topic)
            if qos:
                self._sent += 1
                body += struct.pack("!H", self._sent % 0xFFFF + 1)
            made.append(packet(_PUBLISH | qos << 1, body + payload))
        return made

    def send(self, data: bytes) -> list[bytes]:
        """Send all of this and return the payloads that came meanwhile."""
        came: list[bytes] = []
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest[:CHUNK]) :]
            except BlockingIOError:
                came += self.poll(0.001)
        return came

    def settle(self) -> list[bytes]:
        """Return once the broker has all that was sent, with the payloads that came meanwhile.

        Raises
        ------
        TimeoutError
            When it takes more than :data:`ANSWER_S`.
        """
        return self.send(packet(_PINGREQ, b"")) + self._await(_PINGRESP)

    def poll(self, timeout: float) -> list[bytes]:
        """Return the payloads that came; wait up to *timeout* seconds for the first."""
        if not self._selector.select(max(0.0, timeout)):
            return []
        try:
            data = self._socket.recv(4 * CHUNK)
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionError("The broker ended the connection of the load.")
        return list(self._read(data))

    def close(self) -> None:
        """Say goodbye."""
        self.send(packet(_DISCONNECT, b""))
        self._selector.close()
        self._socket.close()

    def _await(self, kind: int) -> list[bytes]:
        came: list[bytes] = []
        deadline = time.monotonic() + ANSWER_S
        while kind not in self._answers or self.acknowledged < self._sent:
            if time.monotonic() > deadline:
                raise TimeoutError("The broker does not answer the load.")
            came += self.poll(0.1)
        self._answers.discard(kind)
        return came

    def _read(self, data: bytes) -> Iterator[bytes]:
        """Yield the payloads of whole packets and keep the rest."""
        data = self._left + data
        end = len(data)
        at = 0
        while (bounds := _bounds(data, at, end)) is not None:
            start, after = bounds
            kind = data[at] & 0xF0
            if kind == _PUBLISH:
                yield data[start + 2 + (data[start] << 8 | data[start + 1]) : after]
            elif kind == _PUBACK:
                self.acknowledged += 1
            else:
                self._answers.add(kind)
            at = after
        self._left = data[at:]


def packet(kind: int, body: bytes) -> bytes:
    """Return a packet: its first byte, the length of the rest, the rest."""
    length = len(body)
    encoded = bytearray()
    while True:
        length, digit = length >> 7, length & 0x7F
        encoded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes((kind, *encoded)) + body


def text(value: str) -> bytes:
    """Return a string as MQTT writes it."""
    raw = value.encode()
    return struct.pack("!H", len(raw)) + raw


def _bounds(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    """Return where a packet's body starts and ends; None while it is not whole."""
    length = shift = 0
    for place in range(at + 1, min(at + 5, end)):
        length |= (data[place] & 0x7F) << shift
        if data[place] < 0x80:
            after = place + 1 + length
            return (place + 1, after) if after <= end else None
        shift += 7
    return None
