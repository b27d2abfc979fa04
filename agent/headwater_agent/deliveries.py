"""Our own messages of QoS 1, from the call to the broker's acknowledgement. No I/O.

A message waits in a queue, goes in flight when the broker's Receive Maximum has room, and is
settled by its PUBACK. When a connection ends, what was in flight is sent again on the next one,
in order: with its packet id and the DUP flag where the broker kept the session (MQTT 5.0, 4.4),
else as new.
"""

from __future__ import annotations

import logging
from collections import deque

import msgspec

from headwater_agent.packets import check, encode_publish

FIRST_PACKET_ID = 2
"""Packet ids below are left for other packets, which share them (MQTT 5.0, 2.2.1)."""

_LAST_PACKET_ID = 65_535

_REFUSED = 0x80
"""Reason codes of a PUBACK from here on say that the message was not taken."""

log = logging.getLogger(__name__)


class _Own(msgspec.Struct, frozen=True, gc=False):
    token: int
    topic: str
    payload: bytes
    retain: bool


class Deliveries:
    """The messages that are on their way.

    Parameters
    ----------
    v5
        Whether the connections speak MQTT 5.
    limit
        Messages that wait at most; beyond it the oldest makes room.

    Attributes
    ----------
    dropped
        Messages that made room.
    refused
        Messages that the broker did not take, or that cannot be sent at all. They are settled:
        sent again, they would be refused again.
    """

    def __init__(self, *, v5: bool, limit: int) -> None:
        self.dropped = 0
        self.refused = 0
        self._v5 = v5
        self._limit = limit
        self._token = 0
        self._last_id = _LAST_PACKET_ID
        self._window = 0
        self._largest = 0
        self._lead: _Own | None = None
        self._queue: deque[_Own] = deque()
        self._in_flight: dict[int, _Own] = {}
        self._again: dict[int, _Own] = {}
        self._settled: list[int] = []
        self._said: set[str] = set()

    def __len__(self) -> int:
        """Return the messages that are not settled."""
        return len(self._queue) + len(self._in_flight) + (self._lead is not None)

    def put(self, topic: str, payload: bytes, *, retain: bool) -> int:
        """Queue a message; return its token, which :meth:`delivered` gives back one day.

        Raises
        ------
        PacketError
            When there is no such message in MQTT.
        """
        check(topic, payload)
        while len(self._queue) >= self._limit:
            self._queue.popleft()
            self.dropped += 1
        self._token += 1
        self._queue.append(_Own(self._token, topic, payload, retain))
        return self._token

    def lead(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Set the message that goes before the queue; it replaces one that was not sent yet."""
        self._lead = _Own(0, topic, payload, retain)

    def resume(self, window: int, largest: int, *, session_present: bool) -> None:
        """Begin on a new connection.

        Parameters
        ----------
        window
            Messages that may be in flight: the broker's Receive Maximum, or less.
        largest
            Bytes of the largest packet that the broker takes.
        session_present
            Whether the broker still knows the packet ids of the connection before.
        """
        self._window = window
        self._largest = largest
        if session_present:
            self._again = dict(self._in_flight)
        else:
            self._queue.extendleft(own for own in reversed(self._in_flight.values()) if own.token)
            self._in_flight.clear()
            self._again.clear()

    def take(self) -> list[bytes]:
        """Return the packets that are to be sent now."""
        room = self._window + len(self._again) - len(self._in_flight)
        packets: list[bytes] = []
        while self._again and len(packets) < room:
            packet_id = next(iter(self._again))
            packets.append(self._encoded(self._again.pop(packet_id), packet_id, again=True))
        while len(packets) < room and (own := self._next()) is not None:
            packet_id = self._unused_id()
            packet = self._encoded(own, packet_id, again=False)
            if len(packet) > self._largest:
                self._refuse(own, f"the broker takes no packet over {self._largest} bytes")
            else:
                self._in_flight[packet_id] = own
                packets.append(packet)
        return packets

    def acknowledge(self, packet_id: int, reason: int) -> None:
        """Take a PUBACK; one for a packet that is not in flight is passed over."""
        self._again.pop(packet_id, None)
        own = self._in_flight.pop(packet_id, None)
        if own is None:
            return
        if reason >= _REFUSED:
            self._refuse(own, f"the broker says 0x{reason:02x}; check its access rules")
        elif own.token:
            self._settled.append(own.token)

    def delivered(self) -> list[int]:
        """Return the tokens of the messages that were settled since the last call."""
        settled, self._settled = self._settled, []
        return settled

    def _next(self) -> _Own | None:
        lead, self._lead = self._lead, None
        if lead is not None:
            return lead
        return self._queue.popleft() if self._queue else None

    def _unused_id(self) -> int:
        while True:
            if self._last_id == _LAST_PACKET_ID:
                self._last_id = FIRST_PACKET_ID - 1
            self._last_id += 1
            if self._last_id not in self._in_flight:
                return self._last_id

    def _encoded(self, own: _Own, packet_id: int, *, again: bool) -> bytes:
        return encode_publish(
            own.topic,
            own.payload,
            v5=self._v5,
            packet_id=packet_id,
            retain=own.retain,
            again=again,
        )

    def _refuse(self, own: _Own, why: str) -> None:
        self.refused += 1
        if own.token:
            self._settled.append(own.token)
        if why not in self._said:
            self._said.add(why)
            log.warning(
                "a message on %s was refused: %s (further ones are only counted)", own.topic, why
            )
