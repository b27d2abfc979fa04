"""Our own messages of QoS 1, from the call to the broker's acknowledgement. No I/O.

A message waits in a queue, goes in flight when the broker's Receive Maximum has room, and is
settled by its PUBACK. When a connection ends, what was in flight is sent again on the next one,
in order: with its packet id and the DUP flag where the broker kept the session (MQTT 5.0, 4.4),
else as new.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from headwater_agent.packets import Unnumbered

FIRST_PACKET_ID = 2
"""Packet ids below are left for other packets, which share them (MQTT 5.0, 2.2.1)."""

_LAST_PACKET_ID = 65_535

_REFUSED = 0x80
"""Reason codes of a PUBACK from here on say that the message was not taken."""

log = logging.getLogger(__name__)


_Own: TypeAlias = tuple[int, Unnumbered]
"""A message of ours by its token."""


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
        Messages that made room. They are settled, too.
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
        self._lead: Unnumbered | None = None
        self._queue: deque[_Own] = deque()
        self._in_flight: dict[int, _Own] = {}
        self._again: dict[int, _Own] = {}
        self._settled: list[int] = []
        self._said: set[str] = set()

    def __len__(self) -> int:
        """Return the messages that are not settled."""
        return len(self._queue) + len(self._in_flight) + (self._lead is not None)

    def put(self, messages: Sequence[tuple[str, bytes]], *, retain: bool) -> Sequence[int]:
        """Queue topics and payloads; return their tokens.

        :meth:`delivered` gives each back one day.

        Raises
        ------
        PacketError
            When one of them is no message in MQTT; then none is queued.
        """
        packets = Unnumbered.of(messages, v5=self._v5, retain=retain)
        first = self._token + 1
        self._token += len(packets)
        self._queue.extend(zip(range(first, self._token + 1), packets, strict=True))
        while len(self._queue) > self._limit:
            token, _ = self._queue.popleft()
            self.dropped += 1
            if token:
                self._settled.append(token)
        return range(first, self._token + 1)

    def lead(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Set the message that goes before the queue; it replaces one that was not sent yet."""
        (self._lead,) = Unnumbered.of([(topic, payload)], v5=self._v5, retain=retain)

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
            self._queue.extendleft(own for own in reversed(self._in_flight.values()) if own[0])
            self._in_flight.clear()
            self._again.clear()

    def take(self) -> list[bytes]:
        """Return the packets that are to be sent now."""
        room = self._window + len(self._again) - len(self._in_flight)
        packets: list[bytes] = []
        while self._again and len(packets) < room:
            packet_id = next(iter(self._again))
            _, packet = self._again.pop(packet_id)
            packets.append(packet.numbered(packet_id, again=True))
        if self._lead is not None and len(packets) < room:
            self._queue.appendleft((0, self._lead))
            self._lead = None
        queue, in_flight, packet_id = self._queue, self._in_flight, self._last_id
        while queue and len(packets) < room:
            packet_id = FIRST_PACKET_ID if packet_id == _LAST_PACKET_ID else packet_id + 1
            if packet_id in in_flight:
                continue
            own = queue.popleft()
            encoded = own[1].numbered(packet_id)
            if len(encoded) > self._largest:
                self._refuse(own, f"the broker takes no packet over {self._largest} bytes")
            else:
                in_flight[packet_id] = own
                packets.append(encoded)
        self._last_id = packet_id
        return packets

    def acknowledge(self, pubacks: Iterable[tuple[int, int]]) -> None:
        """Take packet ids and reason codes; an id that is not in flight is passed over."""
        in_flight, again, settled = self._in_flight, self._again, self._settled
        for packet_id, reason in pubacks:
            own = in_flight.pop(packet_id, None)
            if own is None:
                continue
            if again:
                again.pop(packet_id, None)
            if reason >= _REFUSED:
                self._refuse(own, f"the broker says 0x{reason:02x}; check its access rules")
            elif own[0]:
                settled.append(own[0])

    def delivered(self) -> list[int]:
        """Return the tokens of the messages that were settled since the last call."""
        settled, self._settled = self._settled, []
        return settled

    def _refuse(self, own: _Own, why: str) -> None:
        token, packet = own
        self.refused += 1
        if token:
            self._settled.append(token)
        if why not in self._said:
            self._said.add(why)
            log.warning("a message on %s was refused: %s (others are counted)", packet.topic, why)
