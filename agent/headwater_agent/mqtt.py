"""The transport over MQTT: paho-mqtt without its thread, read and written by one poll."""

from __future__ import annotations

import logging
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from headwater.errors import UnreachableError
from headwater_agent.paho_client import (
    REFUSALS,
    BufferedSocket,
    PahoClient,
    explain,
    tls_context,
)
from headwater_agent.settings import Broker
from headwater_agent.transport import Message, Session, Waker

log = logging.getLogger(__name__)

MAX_BATCH = 4_096
"""Most messages that one poll returns; the rest stay in the socket for the next."""

MAX_IN_FLIGHT = 20
"""Our publishes that wait for the broker's acknowledgement (mosquitto takes 20)."""

MAX_QUEUED = 1_000
"""Our publishes of QoS 1 that wait to be sent; beyond it the oldest are dropped and counted."""

MAX_PACKET = 17 * 2**20
"""Largest packet that the broker may send (MQTT 5): a little over the largest `max_payload`."""

STEADY_S = 10.0
"""Seconds after which a connection counts as good, so that the backoff starts again."""

LINGER_S = 2.0
"""Longest that :meth:`MqttTransport.close` waits for the broker to take the offline status."""


class MqttTransport:
    """See :class:`headwater_agent.transport.Transport`, whose contract this passes.

    Parameters
    ----------
    broker
        Where and how to connect.
    session
        Client id, subscriptions and status.
    waker
        Ends a :meth:`poll` from another thread.
    delays
        Makes the seconds before each further attempt (see
        :func:`headwater_agent.transport.backoff`); called again after a good connection.

    Attributes
    ----------
    connected
        Whether the broker has accepted us.
    trouble
        Why there is no connection or no data, in a sentence; empty when all is well.
    dropped
        Own messages that could not be queued.

    Raises
    ------
    SettingsError
        When a certificate or key cannot be read.
    """

    def __init__(
        self,
        broker: Broker,
        session: Session,
        *,
        waker: Waker,
        delays: Callable[[], Iterator[float]],
    ) -> None:
        self.connected = False
        self.trouble = ""
        self.dropped = 0
        self._broker = broker
        self._session = session
        self._waker = waker
        self._new_delays = delays
        self._delays = delays()
        self._next_attempt = 0.0
        self._closed = False
        self._accepted_at = 0.0
        self._connection = 0
        self._messages: list[Message] = []
        self._outbox: deque[tuple[str, bytes, bool]] = deque()
        self._in_flight: set[int] = set()
        self._unacknowledged: dict[int, bool] = {}
        self._client = self._make_client()

    def poll(self, timeout: float) -> list[Message]:
        """Return what the socket holds; see :meth:`Transport.poll`."""
        self._connect_if_due()
        sock = self._client.buffered
        if sock is None or self._client.socket() is None:
            self._waker.wait(min(timeout, self._next_attempt - time.monotonic()))
            return []
        writable = self._client.want_write()
        self._waker.wait(
            0 if sock.pending() else min(timeout, 1.0), sock.fileno(), writable=writable
        )
        self._exchange(sock)
        messages, self._messages = self._messages, []
        return messages

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> bool:
        """Send a message, or queue it if it has QoS 1; see :meth:`Transport.publish`.

        Where too many wait, the oldest makes room. One of QoS 0 is dropped while there is no
        connection or the broker does not take what was sent before.
        """
        if qos == 0:
            free = self.connected and not self._client.want_write()
            sent = free and not self._client.publish(topic, payload, 0, retain).rc
            self.dropped += not sent
            return sent
        if len(self._outbox) == MAX_QUEUED:
            self._outbox.popleft()
            self.dropped += 1
        self._outbox.append((topic, payload, retain))
        self._send_waiting()
        return True

    def acknowledge(self, receipts: Iterable[int]) -> None:
        """Send what can be sent in order, as one piece; see :meth:`Transport.acknowledge`."""
        for receipt in receipts:
            if receipt in self._unacknowledged:
                self._unacknowledged[receipt] = True
        ready = list(takewhile(self._unacknowledged.__getitem__, self._unacknowledged))
        for receipt in ready:
            del self._unacknowledged[receipt]
        self._client.acknowledge(receipt & 0xFFFF for receipt in ready)

    def close(self) -> None:
        """Publish the offline status and disconnect; see :meth:`Transport.close`."""
        status = self._session.status
        self._closed = True
        if self.connected:
            if status is not None:
                self.publish(status.topic, status.offline, qos=1, retain=True)
            deadline = time.monotonic() + LINGER_S
            while self._unsent() and time.monotonic() < deadline:
                self.poll(0.1)
            self._client.disconnect()
            self._client.loop_write()
        self.connected = False
        self._client.drop()

    def _connect_if_due(self) -> None:
        now = time.monotonic()
        if self._closed or self._client.socket() is not None or now < self._next_attempt:
            return
        self._connection += 1
        self._unacknowledged.clear()
        self._next_attempt = now + next(self._delays)
        broker = self._broker
        options: dict[str, Any] = {}
        if broker.version == "5":
            options = {
                "clean_start": not self._session.persistent,
                "properties": _connect_properties(broker, self._session),
            }
        try:
            self._client.connect(broker.host, broker.port, broker.keepalive // 1000, **options)
        except OSError as error:
            self._lost(explain(error))
            self._client.drop()

    def _exchange(self, sock: BufferedSocket) -> None:
        """Read what is there, write what waits, and let paho keep the connection alive."""
        sock.dry = False
        try:
            while self._client.socket() is not None and not sock.dry:
                self._client.loop_read()
                if len(self._messages) >= MAX_BATCH:
                    break
        except (MQTTException, ValueError, IndexError, struct.error) as error:
            self._lost(f"sent what is not MQTT ({error})")
            self._client.drop()
        if self._client.want_write():
            self._client.loop_write()
        self._client.loop_misc()
        self._send_waiting()

    def _unsent(self) -> bool:
        """Say whether own messages wait that this connection could still take."""
        return self.connected and bool(self._outbox or self._in_flight)

    def _send_waiting(self) -> None:
        """Send what waits, as far as the broker takes it.

        paho itself would send all it holds at once on a new connection, more than the broker's
        Receive Maximum allows.
        """
        while self.connected and self._outbox and len(self._in_flight) < MAX_IN_FLIGHT:
            topic, payload, retain = self._outbox.popleft()
            self._in_flight.add(self._client.publish(topic, payload, 1, retain).mid)

    def _make_client(self) -> PahoClient:
        broker, session = self._broker, self._session
        v5 = broker.version == "5"
        client = PahoClient(
            CallbackAPIVersion.VERSION2,
            session.client_id,
            clean_session=None if v5 else not session.persistent,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        if broker.username:
            client.username_pw_set(broker.username, broker.password or None)
        if broker.tls:
            client.tls = tls_context(broker)
        if session.status is not None:
            client.will_set(session.status.topic, session.status.offline, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        return client

    def _on_connect(
        self, _client: paho.Client, _data: object, _flags: object, reason: ReasonCode, _p: object
    ) -> None:
        if reason.is_failure:
            self._lost(REFUSALS.get(str(reason), f"it refused the connection ({reason})"))
            return
        self.connected, self.trouble = True, ""
        self._accepted_at = time.monotonic()
        log.info("connected to %s", self._broker.url)
        if self._session.subscriptions:
            v5 = self._broker.version == "5"
            wanted: list[Any] = [
                (topics, SubscribeOptions(qos) if v5 else qos)
                for topics, qos in self._session.subscriptions
            ]
            self._client.subscribe(wanted)
        if (status := self._session.status) is not None:
            self._in_flight.add(self._client.publish(status.topic, status.online, 1, True).mid)

    def _on_disconnect(
        self, _client: paho.Client, _data: object, _flags: object, reason: ReasonCode, _p: object
    ) -> None:
        if not self._closed and (self.connected or not self.trouble):
            why = REFUSALS.get(str(reason), f"the connection ended ({reason})")
            if not self.connected and self._broker.version == "5":
                why += '; if it does not speak MQTT 5, set broker.version = "3.1.1"'
            self._lost(why)
        self.connected = False

    def _on_subscribe(
        self, _client: paho.Client, _data: object, _mid: int, granted: list[ReasonCode], _p: object
    ) -> None:
        for (topics, _), reason in zip(self._session.subscriptions, granted, strict=False):
            if reason.is_failure:
                self.trouble = (
                    f"Broker {self._broker.url}: the subscription to {topics!r} was refused "
                    f"({reason}); check the broker's access rules."
                )
                log.error("%s", self.trouble)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        receipt = self._connection << 16 | message.mid if message.qos else 0
        if receipt:
            self._unacknowledged[receipt] = False
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.acknowledge([receipt])
            return
        self._messages.append(
            Message(topic, bytes(message.payload), message.qos, message.retain, receipt)
        )

    def _on_publish(
        self, _client: paho.Client, _data: object, mid: int, _reason: ReasonCode, _p: object
    ) -> None:
        self._in_flight.discard(mid)

    def _lost(self, why: str) -> None:
        if self.connected and time.monotonic() - self._accepted_at > STEADY_S:
            self._delays = self._new_delays()
        self.connected = False
        trouble = f"Broker {self._broker.url}: {why}."
        if trouble != self.trouble:
            log.warning("%s", trouble)
        self.trouble = trouble


def probe(broker: Broker, session: Session, seconds: float) -> None:
    """Connect once, subscribe, and leave no trace.

    Raises
    ------
    UnreachableError
        With the reason, when the broker could not be used.
    """
    waker = Waker()
    transport = MqttTransport(broker, session, waker=waker, delays=lambda: iter([seconds] * 9))
    deadline = time.monotonic() + seconds
    try:
        while not transport.trouble and time.monotonic() < deadline:
            transport.poll(0.05)
            if transport.connected:
                deadline = min(deadline, time.monotonic() + 0.5)
    finally:
        trouble, reached = transport.trouble, transport.connected
        transport.close()
        waker.close()
    if trouble or not reached:
        raise UnreachableError(trouble or f"Broker {broker.url}: it does not answer.")


def _connect_properties(broker: Broker, session: Session) -> Properties:
    properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    expiry = min(broker.session_expiry // 1000, 0xFFFF_FFFF) if session.persistent else 0
    properties.SessionExpiryInterval = expiry
    properties.ReceiveMaximum = broker.receive_maximum
    properties.MaximumPacketSize = MAX_PACKET
    return properties  # type: ignore[no-any-return]
