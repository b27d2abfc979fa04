"""Which messages the broker sends again: those that it never heard an acknowledgement of.

On a new connection a broker sends again what was not acknowledged, each with the packet id that it
had (MQTT 5.0, 4.4), and nothing else; and none at all if it no longer knows the session. That
should be at most Receive Maximum messages, but mosquitto 2.0 loses count when connections end while
much is unacknowledged, and then sends thousands. What was taken up before is told by packet id and
content together. Whether the broker marks it as a repetition does not matter, and neither does when
it was measured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from zlib import crc32

from headwater_agent.transport import Message, connection_of

REACH = 16_384
"""Newest messages by which repeated ones are told at least."""


class Redelivery:
    """Tell new messages from repeated ones.

    Parameters
    ----------
    known
        Fingerprints of the newest messages that earlier runs stored, oldest first.
    reach
        How many messages can be sent again at most.
    """

    def __init__(self, known: Sequence[int], reach: int) -> None:
        self._newest: deque[int] = deque(known, maxlen=reach)
        self._of_receipt: dict[int, int] = {}
        self._connection = -1
        self._suspects: set[int] = set()
        self._left = 0
        self._reach = reach

    def sort(
        self, messages: Iterable[Message], *, resumed: bool
    ) -> tuple[list[Message], list[int]]:
        """Return the new messages, and the receipts of those that were taken up before.

        Parameters
        ----------
        messages
            As they came.
        resumed
            Whether the broker knew the session when their connection began. If not, its packet ids
            begin again, and what looks like a repetition is none.
        """
        fresh: list[Message] = []
        repeated: list[int] = []
        begun: dict[str, int] = {}
        for message in messages:
            receipt, topic = message.receipt, message.topic
            if not receipt:
                fresh.append(message)
                continue
            if receipt >> 16 != self._connection:
                self._connection = connection_of(receipt)
                self._suspects = set(self._newest) if resumed else set()
                self._left = self._reach if resumed else 0
            if topic not in begun:
                begun[topic] = crc32(topic.encode())
            fingerprint = crc32(message.payload, begun[topic]) << 16 | receipt & 0xFFFF
            if self._left:
                self._left -= 1
                if fingerprint in self._suspects:
                    self._suspects.discard(fingerprint)
                    repeated.append(receipt)
                    continue
            self._newest.append(fingerprint)
            self._of_receipt[receipt] = fingerprint
            fresh.append(message)
        return fresh, repeated

    def fingerprints(self, receipts: Iterable[int]) -> list[int]:
        """Return the fingerprints that belong to receipts, once; int64 each."""
        found = (self._of_receipt.pop(receipt, None) for receipt in receipts)
        return [fingerprint for fingerprint in found if fingerprint is not None]
