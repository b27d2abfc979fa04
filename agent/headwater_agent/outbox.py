"""Our own messages, from their publication until the broker has them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from headwater_agent.store import Outbox, Unsent
from headwater_agent.transport import Transport

MOST = 2_000
"""Messages that wait for the broker at most, twice as many as can be in flight.

It answers the one half while the other is made; any more would only wait, and be stored for that.
"""

GATHER_S = 0.001
"""How long answers of the broker gather while they are waited for: it sends each by itself."""


class Sender:
    """Publish messages, and keep in the store what the broker has not acknowledged by then.

    Parameters
    ----------
    transport
        Sends them.
    left
        What an earlier run left unsent, in its order: it is published again, before anything else.
    qos
        Of all messages; with 0 nothing is kept.
    most
        How many messages may wait for the broker, :data:`MOST` at most. When more than half as many
        do, it is not asked for more.
    """

    def __init__(
        self, transport: Transport, left: Sequence[Unsent], *, qos: int, most: int
    ) -> None:
        self._transport = transport
        self._qos = qos
        self._most = min(most, MOST)
        self._lost: Counter[str] = Counter()
        self._owed: list[int] = []
        self._gone: list[int] = []
        self._fresh: dict[int, Unsent] = {}
        self._stored: set[int] = set()
        self._afresh = bool(left)
        for message in left:
            self._publish([(message.topic, message.payload)], qos=1, retain=message.retain)

    def room(self) -> int:
        """Return how many messages may be published now: none until the broker has caught up."""
        waiting = 0
        if self._fresh or self._stored:
            self._hear()
            waiting = len(self._fresh) + len(self._stored)
        if self._transport.busy or 2 * waiting > self._most:
            return 0
        return self._most - waiting

    def gather(self, rest: float) -> None:
        """Where there is no room, let what comes gather, for *rest* seconds at most.

        Nothing that comes can be used until the broker has caught up; its answers, and the messages
        that only wait then, would else come a few to a wake-up.
        """
        if rest > 0.0 and not self.room():
            time.sleep(min(rest, GATHER_S))

    def send(self, messages: Sequence[tuple[str, bytes]], *, retain: bool) -> None:
        """Publish topics and payloads, and hand all of them to the broker at once."""
        self._publish(messages, qos=self._qos, retain=retain)
        self._transport.flush()

    def acknowledge(self, receipts: Iterable[int], *, last: bool = False) -> None:
        """Acknowledge messages that are durable, once the broker has caught up with ours.

        Until then it should send no more than Receive Maximum. The *last* ones do not wait.
        """
        self._owed += receipts
        if self._owed and (last or self.room()):
            self._transport.acknowledge(self._owed)
            self._owed.clear()

    def changes(self) -> Outbox | None:
        """Return what is to be stored since the last call; None where that is nothing.

        A message that the broker has meanwhile is not worth a write.
        """
        self._hear()
        gone, self._gone = self._gone, []
        added = list(self._fresh.values())
        self._stored.update(self._fresh)
        self._fresh.clear()
        afresh, self._afresh = self._afresh, False
        return Outbox(added, gone, afresh) if added or gone or afresh else None

    def gone(self, *, whole: bool) -> Outbox | None:
        """Return what need not be stored any more, if anything; *whole*: only once that is all."""
        if self._stored:
            self._hear()
        if not self._gone or (whole and self._stored):
            return None
        gone, self._gone = self._gone, []
        return Outbox(gone=gone)

    def losses(self) -> Counter[str]:
        """Count what was lost on its way to the broker since the last call."""
        now = Counter({"unsent": self._transport.dropped, "not-taken": self._transport.refused})
        lost, self._lost = now - self._lost, now
        return lost

    def _hear(self) -> None:
        """Forget what the broker has."""
        for token in self._transport.delivered():
            if self._fresh.pop(token, None) is None and token in self._stored:
                self._stored.discard(token)
                self._gone.append(token)

    def _publish(self, messages: Sequence[tuple[str, bytes]], *, qos: int, retain: bool) -> None:
        tokens = self._transport.publish_all(messages, qos=qos, retain=retain)
        if qos:
            fresh = self._fresh
            for token, (topic, payload) in zip(tokens, messages, strict=True):
                if token:
                    fresh[token] = Unsent(token, topic, payload, retain)
