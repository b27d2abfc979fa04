"""The stations' side of MQTT: a process that streams their records at a steady rate.

``python -m headwater_simulator.publisher --broker mqtt://HOST:PORT --station NAME ...`` sends one
message for each station and hour to ``PREFIX/STATION`` with QoS 1, waits whenever too many are
unacknowledged, ends when all are sent or at SIGTERM, and prints what it sent as one JSON object.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from urllib.parse import urlsplit

import msgspec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from headwater.errors import HeadwaterError, SettingsError, UnreachableError
from headwater_simulator.streams import Station, shipped

MAX_UNACKNOWLEDGED = 200
"""Messages that may be on their way to the broker."""

WAKE_S = 0.02
"""Time between two bursts of messages."""

PATIENCE_S = 30.0
"""How long the broker may take to acknowledge anything."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What a publisher sent: records over all stations, and in how many seconds."""

    records: int
    seconds: float


class Publisher:
    """A connection that sends with QoS 1 and counts what the broker acknowledged.

    Parameters
    ----------
    url
        ``mqtt://HOST:PORT``.
    client_id
        Its name at the broker.

    Attributes
    ----------
    records
        Messages sent so far.

    Raises
    ------
    SettingsError
        When the URL is another.
    UnreachableError
        When the broker does not answer.
    """

    def __init__(self, url: str, client_id: str) -> None:
        host, port = broker_address(url)
        self.records = 0
        self._url = url
        self._room = threading.BoundedSemaphore(MAX_UNACKNOWLEDGED)
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.max_inflight_messages = MAX_UNACKNOWLEDGED
        self._client.on_publish = lambda *_: self._room.release()
        try:
            self._client.connect(host, port)
        except OSError as error:
            raise UnreachableError(
                f"There is no broker at {url}: {error}. Start it, or correct the address."
            ) from error
        self._client.loop_start()

    def send(self, topic: str, payload: bytes) -> None:
        """Send one message once there is room for it.

        Raises
        ------
        UnreachableError
            When the broker acknowledges nothing for :data:`PATIENCE_S`.
        """
        self._wait_for_room()
        self._client.publish(topic, payload, qos=1)
        self.records += 1

    def close(self) -> None:
        """Wait for the last acknowledgements and disconnect; raises as :meth:`send` does."""
        try:
            for _ in range(MAX_UNACKNOWLEDGED):
                self._wait_for_room()
        finally:
            self._client.disconnect()
            self._client.loop_stop()

    def _wait_for_room(self) -> None:
        if not self._room.acquire(timeout=PATIENCE_S):
            raise UnreachableError(
                f"The broker at {self._url} acknowledged nothing for {PATIENCE_S:g} seconds."
            )


def broker_address(url: str) -> tuple[str, int]:
    """Take ``mqtt://HOST:PORT`` apart.

    Raises
    ------
    SettingsError
        When it is none.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or 1883
    except ValueError:
        host, port = None, 0
    if parts.scheme != "mqtt" or not host or parts.path or parts.username is not None:
        raise SettingsError(f"The broker must be mqtt://HOST:PORT, not {url!r}.")
    return host, port


def require_broker(url: str) -> None:
    """Make sure that something listens at ``mqtt://HOST:PORT``.

    Raises
    ------
    SettingsError
        When the URL is another.
    UnreachableError
        When nothing listens.
    """
    try:
        socket.create_connection(broker_address(url), timeout=PATIENCE_S).close()
    except OSError as error:
        raise UnreachableError(
            f"There is no broker at {url}: {error}. Start it, or correct the address."
        ) from error


def messages(stations: Sequence[Station], prefix: str) -> Iterator[list[tuple[str, bytes]]]:
    """Yield, hour by hour, the topic and payload of each station's record."""
    topics = [f"{prefix}/{station.name}" for station in stations]
    for payloads in zip(*(station.payloads() for station in stations), strict=True):
        yield list(zip(topics, payloads, strict=True))


def stream(
    publisher: Publisher, hours: Iterator[list[tuple[str, bytes]]], rate: float
) -> Iterator[None]:
    """Send *rate* hours each second; stop for a moment after each burst."""
    began = time.monotonic()
    hour = 0
    while True:
        due = int((time.monotonic() - began) * rate) + 1
        for burst in islice(hours, due - hour):
            for topic, payload in burst:
                publisher.send(topic, payload)
            hour += 1
        if hour < due:
            return
        yield
        time.sleep(WAKE_S)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the publisher as a process; return its exit code."""
    given = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stations = [station for station in shipped() if station.name in given.station]
    began = time.monotonic()
    try:
        with closing(Publisher(given.broker, f"{given.prefix}-publisher")) as publisher:
            for _ in stream(publisher, messages(stations, given.prefix), given.rate):
                if stop.is_set():
                    break
    except HeadwaterError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sent = Sent(records=publisher.records, seconds=time.monotonic() - began)
    sys.stdout.write(msgspec.json.encode(sent).decode() + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="headwater_simulator.publisher")
    parser.add_argument("--broker", required=True, help="mqtt://HOST:PORT")
    parser.add_argument("--prefix", default="air", help="first word of the topics")
    parser.add_argument("--rate", type=float, required=True, help="records a second and station")
    parser.add_argument(
        "--station",
        action="append",
        required=True,
        choices=[station.name for station in shipped()],
        help="a station to stream; repeatable",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
