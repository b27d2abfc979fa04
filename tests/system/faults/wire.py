"""The network between agent and broker: it notes who acknowledged what, and fails as it is told."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

_PUBLISH, _PUBACK = 3, 4
_CHUNK = 65_536
_SMALL_BUFFER = 8_192

Key = tuple[str, int]
"""A message by its topic and the event time in it: its sequence number."""

Said = tuple[tuple[str, object], ...]
"""What a prediction says, without what depends on the moment."""

MOMENTARY = ("latency_ms", "personal", "prediction", "served")
"""Parts of a prediction that may differ when it is made again after a crash: how long it took, and
what the personal model says, which learns in between."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How the network fails.

    ``delay_s`` is the longest that a piece is held up. A connection is cut, in the middle of a
    packet, after a number of bytes from the range ``cut_after``. Before that, for ``deaf_s`` at
    most, nothing that the agent says arrives, so that the broker misses acknowledgements.
    """

    delay_s: float = 0.0
    cut_after: tuple[int, int] | None = None
    deaf_s: float = 0.0


FAIR = Weather()


class Wire:
    """A TCP proxy in front of a broker that reads along in MQTT 5.

    Parameters
    ----------
    broker
        The broker's port.
    seed
        Decides on delays and cuts.

    Attributes
    ----------
    port
        Where the agent connects.
    weather
        How the network fails from now on.
    reads
        While cleared, nothing is read from the agent.
    acknowledged
        Messages that the agent acknowledged, whether or not the broker heard of it.
    delivered
        How often each message was brought to the agent.
    said
        What was published under each prediction's id, and how often.
    taken
        Ids of the predictions whose acknowledgement the broker sent.
    connections, cuts
        How many there were.
    """

    def __init__(self, broker: int, seed: int) -> None:
        self.weather = FAIR
        self.reads = threading.Event()
        self.reads.set()
        self.acknowledged: set[Key] = set()
        self.delivered: Counter[Key] = Counter()
        self.said: defaultdict[str, Counter[Said]] = defaultdict(Counter)
        self.taken: set[str] = set()
        self.connections = 0
        self.cuts = 0
        self._broker = broker
        self._chance = random.Random(seed)
        self._open: list[_Connection] = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def open(self) -> int:
        """How many connections there are now."""
        return len(self._open)

    def cut(self) -> None:
        """Cut what is connected."""
        for connection in list(self._open):
            connection.cut()

    def close(self) -> None:
        """Cut what is connected, and take nothing any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                agent, _ = self._listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self._broker))
            except OSError:
                _reset(agent)  # as if nothing listened
                continue
            self.connections += 1
            connection = _Connection(self, agent, broker, random.Random(self._chance.random()))
            self._open.append(connection)


class _Connection:
    """One connection of the agent's, and the broker's other end of it."""

    def __init__(
        self, wire: Wire, agent: socket.socket, broker: socket.socket, chance: random.Random
    ) -> None:
        self._wire = wire
        self._agent, self._broker = agent, broker
        self._chance = chance
        self._left: int | None = None
        self._deaf_until = 0.0
        self._brought: dict[int, Key] = {}
        self._sent: dict[int, str] = {}
        for sock in (agent, broker):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for way in (self._up, self._down):
            threading.Thread(target=way, daemon=True).start()

    def cut(self) -> None:
        """End it as a network does that is gone: no word to either side about what was lost."""
        _reset(self._agent)
        _reset(self._broker)

    def _up(self) -> None:
        """From the agent to the broker."""
        packets = _Packets()
        for piece in self._pieces(self._agent):
            for kind, flags, body in packets.feed(piece):
                self._note_of_agent(kind, flags, body)
            if not self._deaf_until:
                self._forward(self._broker, piece)
            elif time.monotonic() > self._deaf_until:
                self._break(self._broker, piece)

    def _down(self) -> None:
        """From the broker to the agent."""
        packets = _Packets()
        for piece in self._pieces(self._broker):
            for kind, flags, body in packets.feed(piece):
                self._note_of_broker(kind, flags, body)
            self._forward(self._agent, piece)

    def _pieces(self, source: socket.socket) -> Iterator[bytes]:
        while True:
            if source is self._agent:
                self._wire.reads.wait()
            try:
                piece = source.recv(_CHUNK)
            except OSError:
                piece = b""
            if not piece:
                self._end()
                return
            yield piece

    def _forward(self, sink: socket.socket, piece: bytes) -> None:
        weather = self._wire.weather
        if weather.delay_s:
            time.sleep(self._chance.uniform(0, weather.delay_s))
        if weather.cut_after is None:
            self._left = None
        elif self._left is None:
            self._left = self._chance.randint(*weather.cut_after)
        if self._left is not None and not self._deaf_until:
            self._left -= len(piece)
            if self._left < 0:
                self._deaf_until = time.monotonic() + self._chance.uniform(0, weather.deaf_s)
        if self._deaf_until and time.monotonic() > self._deaf_until:
            self._break(sink, piece)
            return
        with suppress(OSError):
            sink.sendall(piece)

    def _break(self, sink: socket.socket, piece: bytes) -> None:
        self._wire.cuts += 1
        with suppress(OSError):
            sink.sendall(piece[: len(piece) // 2])
        if self._chance.random() < 0.5:
            self.cut()
        else:
            self._end()

    def _end(self) -> None:
        """Let the other side see the end, after what was sent before it."""
        for sock in (self._agent, self._broker):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        with suppress(ValueError):
            self._wire._open.remove(self)

    def _note_of_agent(self, kind: int, flags: int, body: bytes) -> None:
        if kind == _PUBACK:
            if (key := self._brought.get(_number(body))) is not None:
                self._wire.acknowledged.add(key)
        elif kind == _PUBLISH:
            topic, packet_id, payload = _split(flags, body)
            if topic.endswith("/prediction"):
                content = json.loads(payload)
                made = content.pop("id")
                for name in MOMENTARY:
                    del content[name]
                self._sent[packet_id] = made
                self._wire.said[made][tuple(sorted(content.items()))] += 1

    def _note_of_broker(self, kind: int, flags: int, body: bytes) -> None:
        if kind == _PUBACK:
            if (made := self._sent.get(_number(body))) is not None:
                self._wire.taken.add(made)
        elif kind == _PUBLISH:
            topic, packet_id, payload = _split(flags, body)
            key = (topic, int(json.loads(payload)["time"]))
            self._brought[packet_id] = key
            self._wire.delivered[key] += 1


class _Packets:
    """Splits a stream into packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Yield kind, flags and the rest of each packet that is whole by now."""
        buffer = self._buffer
        buffer += piece
        while (header := _length(buffer)) is not None:
            begin, length = header
            if len(buffer) < begin + length:
                return
            first, body = buffer[0], bytes(buffer[begin : begin + length])
            del buffer[: begin + length]
            yield first >> 4, first & 15, body


def _length(buffer: bytes | bytearray, at: int = 1) -> tuple[int, int] | None:
    """Return where a variable byte integer ends, and its value (MQTT 5.0, 1.5.5)."""
    value = 0
    for place in range(4):
        if at + place >= len(buffer):
            return None
        byte = buffer[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return at + place + 1, value
    raise ValueError("no packet of MQTT")


def _split(flags: int, body: bytes) -> tuple[str, int, bytes]:
    """Return topic, packet id (0 with QoS 0) and payload of a PUBLISH (MQTT 5.0, 3.3)."""
    end = 2 + _number(body)
    topic, packet_id = body[2:end].decode(), 0
    if flags & 6:
        packet_id = _number(body, end)
        end += 2
    properties = _length(body, end)
    assert properties is not None
    begin, length = properties
    return topic, packet_id, body[begin + length :]


def _number(body: bytes, at: int = 0) -> int:
    (number,) = struct.unpack_from("!H", body, at)
    return int(number)


def _reset(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
