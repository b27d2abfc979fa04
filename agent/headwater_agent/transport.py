"""The seam to MQTT: what a transport promises, and one that lives in memory."""

from __future__ import annotations

import random
import select
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Protocol

import msgspec

from headwater_agent.topics import matches


class Message(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A message as it came. ``receipt`` is 0 where nothing waits for an acknowledgement.

    A ``retained`` one was published before the subscription, possibly long ago: it may be shown
    but never learned from.
    """

    topic: str
    payload: bytes
    qos: int
    retained: bool
    receipt: int


def receipt_of(connection: int, packet: int) -> int:
    """Return the receipt of a message: packet ids are only unique within a connection."""
    return connection << 16 | packet


def connection_of(receipt: int) -> int:
    """Return the number of the connection that a message came on."""
    return receipt >> 16


def packet_of(receipt: int) -> int:
    """Return the packet id that the broker gave a message, and gives it again."""
    return receipt & 0xFFFF


@dataclass(frozen=True, slots=True)
class Status:
    """The retained topic that says whether this client is there; ``offline`` is its last will."""

    topic: str
    online: bytes
    offline: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who a client is to the broker and what it wants; ``subscriptions`` are (filter, QoS)."""

    client_id: str
    subscriptions: tuple[tuple[str, int], ...] = ()
    status: Status | None = None
    persistent: bool = True
    """Whether the broker keeps subscriptions and messages while the client is away."""


class Transport(Protocol):
    """A connection to a broker that comes and goes by itself.

    The laws, each with a test of its name: a message of QoS 1 that was not acknowledged is
    delivered again on the next connection, one that was acknowledged is not; what was published
    while a persistent session was away is delivered when it is back; the status is online while
    the connection lives and offline after it, however it ended; a token comes back once, when
    the broker has the message, or never will.
    """

    connected: bool
    """Whether the broker has accepted us."""

    resumed: bool
    """Whether the broker knew the session when the newest connection began."""

    trouble: str
    """Why there is no connection or no data, in a sentence; empty when all is well."""

    @property
    def busy(self) -> bool:
        """Whether the network is behind with what was published, so that more could only wait."""

    @property
    def dropped(self) -> int:
        """Own messages that were not sent, so far."""

    @property
    def refused(self) -> int:
        """Own messages that the broker did not take, so far."""

    def poll(self, timeout: float) -> list[Message]:
        """Wait at most *timeout* seconds for messages and return all that are there.

        First of all flushes. Also keeps the connection alive, and makes it again when it broke;
        never raises because the broker is away.
        """

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> int:
        """Send a message with the next :meth:`flush` or :meth:`poll`.

        Returns a token that :meth:`delivered` gives back one day; 0 for QoS 0, and where the
        message had to be dropped (and counted).
        """

    def publish_all(
        self, messages: Sequence[tuple[str, bytes]], *, qos: int, retain: bool
    ) -> Sequence[int]:
        """Send topics and payloads as :meth:`publish` does each; return their tokens."""

    def delivered(self) -> list[int]:
        """Return the tokens of messages that the broker has acknowledged since the last call.

        In the order of the acknowledgements. What was not acknowledged when a connection ended is
        sent again on the next one, before what is newer, for as long as this process lives.
        """

    def flush(self) -> None:
        """Hand everything that can be sent now to the network; never waits."""

    def acknowledge(self, receipts: Iterable[int]) -> None:
        """Tell the broker that messages are safe, with the next :meth:`flush` or :meth:`poll`.

        Receipts of earlier connections are ignored.

        The broker hears it in the order of delivery (MQTT 5.0, 4.6), so every receipt must come
        back one day: one that never does holds up those after it.
        """

    def close(self) -> None:
        """Publish the offline status and disconnect; a second call is fine."""


class Waker:
    """Interrupts a :meth:`Transport.poll` from another thread."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._ready = select.poll()
        self._ready.register(self._reader, select.POLLIN)
        self._others: dict[int, int] = {}

    def fileno(self) -> int:
        """Return the descriptor that becomes readable on a wake-up."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Make the current or the next wait end at once."""
        try:
            self._writer.send(b"\0")
        except OSError:
            return  # as many wait already as the socket holds, or it is closed

    def clear(self) -> None:
        """Forget the wake-ups so far."""
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            return

    def wait(self, timeout: float, other: int | None = None, *, writable: bool = False) -> bool:
        """Return after a wake-up, at the timeout, or when another descriptor is ready.

        Parameters
        ----------
        timeout
            Seconds.
        other
            A descriptor to wait for as well.
        writable
            Whether to wait for it to take data, too.

        Returns
        -------
        bool
            Whether there is something to read from the other descriptor, or it has ended.
        """
        wanted = select.POLLIN | (select.POLLOUT if writable else 0)
        self._look_at({} if other is None else {other: wanted})
        readable = False
        for descriptor, events in self._ready.poll(max(0.0, timeout) * 1000):
            if descriptor != other:
                self.clear()
            elif events != select.POLLOUT:
                readable = True
        return readable

    def _look_at(self, others: dict[int, int]) -> None:
        """Wait from now on for these descriptors and events, and the wake-ups."""
        if others == self._others:
            return
        for descriptor in self._others:
            self._ready.unregister(descriptor)
        for descriptor, events in others.items():
            self._ready.register(descriptor, events)
        self._others = others

    def close(self) -> None:
        """Give the descriptors back."""
        self._reader.close()
        self._writer.close()


def backoff(rng: random.Random, *, first: float = 1.0, longest: float = 60.0) -> Iterator[float]:
    """Yield the seconds to wait before each further attempt: doubling, with full jitter.

    After Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): a uniform draw
    from zero to the ceiling, so that a fleet does not come back at one moment.
    """
    ceiling = first
    while True:
        yield rng.uniform(0.0, ceiling)
        ceiling = min(longest, ceiling * 2)


@dataclass(slots=True)
class _Away:
    """What a memory broker keeps of a client."""

    subscriptions: tuple[tuple[str, int], ...] = ()
    queue: deque[Message] = field(default_factory=deque)
    waiting: dict[int, Message] = field(default_factory=dict)
    client: MemoryTransport | None = None


class MemoryBroker:
    """A broker in memory: sessions, retained messages and wills, for :class:`MemoryTransport`."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Away] = {}
        self._retained: dict[str, bytes] = {}

    def knows(self, session: Session) -> bool:
        """Say whether a session is kept that goes on with its client's next connection."""
        return session.persistent and session.client_id in self._sessions

    def connect(self, client: MemoryTransport) -> _Away:
        """Take a client in; give it back what waited for it and the retained messages."""
        session = client.session
        known = self._sessions.get(session.client_id, _Away()) if session.persistent else _Away()
        known.queue.extendleft(reversed(known.waiting.values()))
        known.waiting.clear()
        known.subscriptions = session.subscriptions
        known.client = client
        self._sessions[session.client_id] = known
        for topic, payload in self._retained.items():
            _offer(known, topic, payload, 1, retained=True)
        return known

    def leave(self, client: MemoryTransport) -> None:
        """Let a client go; its session stays if it is persistent."""
        if client.session.persistent:
            self._sessions[client.session.client_id].client = None
        else:
            del self._sessions[client.session.client_id]

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        """Hand a message to every session that wants it; an empty one ends a retained topic."""
        if retain:
            self._retained.pop(topic, None)
            if payload:
                self._retained[topic] = payload
        for session in self._sessions.values():
            if qos or session.client:
                _offer(session, topic, payload, qos, retained=False)


def _offer(session: _Away, topic: str, payload: bytes, qos: int, *, retained: bool) -> None:
    granted = [level for wanted, level in session.subscriptions if matches(wanted, topic)]
    if granted:
        session.queue.append(Message(topic, payload, min(qos, max(granted)), retained, 0))


class MemoryTransport:
    """A transport without a network; connected from its first poll on.

    Parameters
    ----------
    broker
        Shared by the clients that are to hear each other.
    session
        As for the real transport.
    waker
        Waited for when nothing is there; without one, :meth:`poll` returns at once.
    """

    def __init__(self, broker: MemoryBroker, session: Session, waker: Waker | None = None) -> None:
        self.session = session
        self.connected = self.resumed = self.busy = False
        self.trouble = ""
        self.dropped = self.refused = 0
        self._broker = broker
        self._waker = waker
        self._state: _Away | None = None
        self._given = 0
        self._token = 0
        self._delivered: list[int] = []
        self._safe: set[int] = set()

    def poll(self, timeout: float) -> list[Message]:
        """Return what waits; see :meth:`Transport.poll`."""
        state = self._connected()
        if not state.queue and self._waker is not None:
            self._waker.wait(timeout)
        messages = []
        while state.queue:
            message = state.queue.popleft()
            if message.qos:
                self._given += 1
                receipt = self._given
                state.waiting[receipt] = message
                message = Message(message.topic, message.payload, 1, message.retained, receipt)
            messages.append(message)
        return messages

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> int:
        """Hand a message to the broker at once; see :meth:`Transport.publish`."""
        self._connected()
        self._broker.publish(topic, payload, qos=qos, retain=retain)
        if not qos:
            return 0
        self._token += 1
        self._delivered.append(self._token)
        return self._token

    def publish_all(
        self, messages: Sequence[tuple[str, bytes]], *, qos: int, retain: bool
    ) -> Sequence[int]:
        """Hand messages to the broker at once; see :meth:`Transport.publish_all`."""
        return [self.publish(*message, qos=qos, retain=retain) for message in messages]

    def delivered(self) -> list[int]:
        """Return all tokens since the last call; see :meth:`Transport.delivered`."""
        delivered, self._delivered = self._delivered, []
        return delivered

    def flush(self) -> None:
        """Do nothing: everything is sent at once."""

    def acknowledge(self, receipts: Iterable[int]) -> None:
        """Forget messages; see :meth:`Transport.acknowledge`."""
        self._safe.update(receipts)
        waiting = self._state.waiting if self._state is not None else {}
        for receipt in list(takewhile(self._safe.__contains__, waiting)):
            del waiting[receipt]
            self._safe.discard(receipt)

    def sever(self) -> None:
        """Lose the connection: the broker sends the last will; the next poll connects again."""
        if self._state is not None:
            self._state = None
            self.connected = False
            self._broker.leave(self)
            if (status := self.session.status) is not None:
                self._broker.publish(status.topic, status.offline, qos=1, retain=True)

    def close(self) -> None:
        """Publish the offline status and leave; see :meth:`Transport.close`."""
        self.sever()

    def _connected(self) -> _Away:
        if self._state is None:
            self._safe.clear()
            self.connected, self.resumed = True, self._broker.knows(self.session)
            self._state = self._broker.connect(self)
            if (status := self.session.status) is not None:
                self._broker.publish(status.topic, status.online, qos=1, retain=True)
        return self._state
