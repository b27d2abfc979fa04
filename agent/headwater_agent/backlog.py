"""Messages that wait while the broker is slow to take what came of earlier ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from headwater_agent.transport import Message

AT_ONCE = 1_000
"""Messages that are predicted from together at most."""

MOST_BYTES = 64 * 2**20
"""Memory that waiting messages take at most, about; then predictions are made all the same."""

OVERHEAD = 300
"""Bytes that a message takes beside its payload, about."""


class Backlog:
    """Hand messages out in the order in which they came.

    They are taken from the connection although they cannot be used yet, for what the broker says
    about our own messages comes behind them. At QoS 1 that should be no more than Receive Maximum,
    but mosquitto 2.0 sends with each acknowledgement as many more, and so all that it holds.
    """

    def __init__(self) -> None:
        self._waiting: deque[Message] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def next(self, came: Sequence[Message], *, room: int) -> Sequence[Message]:
        """Take what came, and return what is to be predicted from now.

        Parameters
        ----------
        came
            Messages in their order.
        room
            How many may be predicted from now.
        """
        waiting = self._waiting
        room = min(room, AT_ONCE)
        if not waiting and len(came) <= room:
            return came
        waiting += came
        self._bytes += _size(came)
        if self._bytes > MOST_BYTES:
            room = AT_ONCE
        now = [waiting.popleft() for _ in range(min(room, len(waiting)))]
        self._bytes -= _size(now)
        return now


def _size(messages: Sequence[Message]) -> int:
    return sum([len(message.payload) for message in messages]) + OVERHEAD * len(messages)
