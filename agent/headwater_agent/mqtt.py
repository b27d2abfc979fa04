"""The transport over MQTT: paho-mqtt without its thread, read and written by one poll."""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from headwater.errors import UnreachableError
from headwater_agent.broker_settings import Broker
from headwater_agent.deliveries import Deliveries
from headwater_agent.packets import PacketError, encode_pubacks, encode_publishes
from headwater_agent.paho_client import (
    CHUNK,
    REFUSALS,
    PacketSocket,
    PahoClient,
    connect_properties,
    explain,
    tls_context,
)
from headwater_agent.transport import Message, Session, Waker, packet_of

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 1_000
"""Our publishes that wait for the broker's acknowledgement, however many it would take."""

UNTOLD_RECEIVE_MAXIMUM = 20
"""Publishes that a broker of MQTT 3.1.1, which cannot say, takes at once (mosquitto's default)."""

MAX_QUEUED = 10_000
"""Our publishes of QoS 1 that wait to be sent, where nothing else is said.

Beyond it the oldest are dropped and counted.
"""

MAX_OUTPUT = 4 * 2**20
"""Bytes of our publishes of QoS 0 that wait for the network; beyond it they are dropped."""

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
    queue
        How many publishes of QoS 1 may wait to be sent.

    Attributes
    ----------
    connected
        Whether the broker has accepted us.
    resumed
        Whether the broker knew the session when the newest connection began.
    trouble
        Why there is no connection or no data, in a sentence; empty when all is well.

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
        queue: int = MAX_QUEUED,
    ) -> None:
        self.connected = self.resumed = False
        self.trouble = ""
        self._broker = broker
        self._session = session
        self._waker = waker
        self._v5 = broker.version == "5"
        self._linger = broker.linger / 1000
        self._new_delays = delays
        self._delays = delays()
        self._next_attempt = 0.0
        self._closed = False
        self._accepted_at = 0.0
        self._malformed = 0
        self._not_sent = 0
        self._output: list[bytes] = []
        self._output_size = 0
        self._pubacks: list[bytes] = []
        self._deliveries = Deliveries(v5=self._v5, limit=queue)
        self._unacknowledged: dict[int, bool] = {}
        self._exactly_once: list[Message] = []
        self._client = self._make_client()

    @property
    def busy(self) -> bool:
        """Whether the socket has not yet taken what was handed to it."""
        return self._client.want_write()

    @property
    def dropped(self) -> int:
        """Own messages that were not sent: of QoS 0, the oldest that waited, malformed ones."""
        return self._malformed + self._not_sent + self._deliveries.dropped

    @property
    def refused(self) -> int:
        """Own messages of QoS 1 that the broker did not take."""
        return self._deliveries.refused

    def poll(self, timeout: float) -> list[Message]:
        """Return what the socket holds, about 256 kB at most; see :meth:`Transport.poll`."""
        self._connect_if_due()
        self._client.keep_up()
        self.flush()
        stream = self._client.stream
        if stream is None or self._client.socket() is None:
            self._waker.wait(min(timeout, self._next_attempt - time.monotonic()))
            return []
        writable, until = self._client.want_write(), time.monotonic() + timeout
        readable = self._waker.wait(min(timeout, 1.0), stream.fileno(), writable=writable)
        if readable and self._linger:
            self._waker.wait(min(self._linger, until - time.monotonic()))
        return self._exchange(stream)

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> int:
        """Send one message as :meth:`publish_all` does."""
        return self.publish_all([(topic, payload)], qos=qos, retain=retain)[0]

    def publish_all(
        self, messages: Sequence[tuple[str, bytes]], *, qos: int, retain: bool
    ) -> Sequence[int]:
        """Send messages, or queue them if they have QoS 1; see :meth:`Transport.publish_all`.

        Those of QoS 0 are dropped while there is no connection, and while much waits because the
        broker takes nothing; one on a topic that MQTT does not allow is always dropped.
        """
        try:
            if qos:
                return self._deliveries.put(messages, retain=retain)
            packets = encode_publishes(messages, v5=self._v5, retain=retain)
        except PacketError as error:
            if len(messages) > 1:
                return [self.publish(*message, qos=qos, retain=retain) for message in messages]
            if not self._malformed:
                log.warning("a message is not sent: %s (others are counted)", error)
            self._malformed += 1
            return [0]
        if not self.connected or self._output_size > MAX_OUTPUT:
            self._not_sent += len(packets)
        else:
            self._output += packets
            self._output_size += sum(map(len, packets))
            if self._output_size > CHUNK:
                self.flush()
        return [0] * len(packets)

    def delivered(self) -> list[int]:
        """Return tokens of QoS 1; see :meth:`Transport.delivered`.

        Among them those of messages that the broker refused, which are counted in ``refused``:
        sent again, they would be refused again.
        """
        return self._deliveries.delivered()

    def flush(self) -> None:
        """Send what the broker takes now, as one piece; see :meth:`Transport.flush`."""
        if not self.connected or self._client.want_write():
            return
        packets = b"".join((*self._pubacks, *self._output, *self._deliveries.take()))
        self._pubacks.clear()
        self._output.clear()
        self._output_size = 0
        if packets:
            self._client.write(packets)

    def acknowledge(self, receipts: Iterable[int]) -> None:
        """Send what can be sent in order; see :meth:`Transport.acknowledge`."""
        waiting = self._unacknowledged
        for receipt in receipts:
            if receipt in waiting:
                waiting[receipt] = True
        ready = list(takewhile(waiting.__getitem__, waiting))
        for receipt in ready:
            del waiting[receipt]
        if ready:
            self._pubacks.append(encode_pubacks(map(packet_of, ready)))

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
            self.flush()
            self._client.disconnect()
            self._client.loop_write()
        self.connected = False
        self._client.drop()

    def _connect_if_due(self) -> None:
        if self._closed or self._client.socket() is not None:
            return
        if (now := time.monotonic()) < self._next_attempt:
            return
        self._unacknowledged.clear()
        self._pubacks.clear()
        self._not_sent += len(self._output)
        self._output.clear()
        self._output_size = 0
        self._next_attempt = now + next(self._delays)
        broker = self._broker
        options: dict[str, Any] = {}
        if self._v5:
            options = {
                "clean_start": not self._session.persistent,
                "properties": connect_properties(broker, self._session),
            }
        try:
            self._client.connect(broker.host, broker.port, broker.keepalive // 1000, **options)
        except OSError as error:
            self._lost(explain(error))
            self._client.drop()

    def _exchange(self, stream: PacketSocket) -> list[Message]:
        """Read what is there."""
        client = self._client
        try:
            client.read(stream)
        except (MQTTException, ValueError, IndexError, struct.error) as error:
            self._lost(f"sent what is not MQTT ({error})")
            client.drop()
        received = stream.packets.take()
        if received.receipts:
            self._unacknowledged.update(dict.fromkeys(received.receipts, False))
        if received.unreadable:
            self.acknowledge(received.unreadable)
        if received.acknowledged:
            self._deliveries.acknowledge(received.acknowledged)
        if self._exactly_once:
            received.messages.extend(self._exactly_once)
            self._exactly_once.clear()
        return received.messages

    def _unsent(self) -> bool:
        """Say whether own messages wait that this connection could still take."""
        return self.connected and bool(self._deliveries or self._output)

    def _make_client(self) -> PahoClient:
        broker, session = self._broker, self._session
        client = PahoClient(
            CallbackAPIVersion.VERSION2,
            session.client_id,
            clean_session=None if self._v5 else not session.persistent,
            protocol=paho.MQTTv5 if self._v5 else paho.MQTTv311,
            reconnect_on_failure=False,
        )
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
        return client

    def _on_connect(
        self,
        _client: paho.Client,
        _data: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._lost(REFUSALS.get(str(reason), f"it refused the connection ({reason})"))
            return
        self.connected, self.resumed, self.trouble = True, flags.session_present, ""
        self._accepted_at = time.monotonic()
        log.info("connected to %s", self._broker.url)
        if self._session.subscriptions:
            wanted: list[Any] = [
                (topics, SubscribeOptions(qos) if self._v5 else qos)
                for topics, qos in self._session.subscriptions
            ]
            self._client.subscribe(wanted)
        window = getattr(
            properties, "ReceiveMaximum", 65_535 if self._v5 else UNTOLD_RECEIVE_MAXIMUM
        )
        self._deliveries.resume(
            min(window, MAX_IN_FLIGHT),
            getattr(properties, "MaximumPacketSize", 1 << 28),
            session_present=flags.session_present,
        )
        if (status := self._session.status) is not None:
            self._deliveries.lead(status.topic, status.online, retain=True)

    def _on_disconnect(
        self, _client: paho.Client, _data: object, _flags: object, reason: ReasonCode, _p: object
    ) -> None:
        if not self._closed and (self.connected or not self.trouble):
            why = REFUSALS.get(str(reason), f"the connection ended ({reason})")
            if not self.connected and self._v5:
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
        """Take a message of QoS 2, left from an earlier subscription; paho acknowledges it."""
        with suppress(UnicodeDecodeError):
            self._exactly_once.append(
                Message(message.topic, bytes(message.payload), 2, message.retain, 0)
            )

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
