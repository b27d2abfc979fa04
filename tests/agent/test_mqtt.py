from __future__ import annotations

import datetime as dt
import getpass
import ipaddress
import logging
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from iotcore import Broker as IotcoreBroker
from paho.mqtt import publish
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headwater.errors import SettingsError, UnreachableError
from headwater.settings import Duration
from headwater_agent import mqtt
from headwater_agent.broker_settings import Broker
from headwater_agent.mqtt import MqttTransport, probe
from headwater_agent.packets import PacketReader, encode_publishes
from headwater_agent.paho_client import CHUNK, PacketSocket
from headwater_agent.transport import Message, Session, Status, Waker
from tests.conftest import free_port, skip_or_fail, wait_for_port

PATIENCE_S = 20.0
LISTENER = Session(client_id="listener", subscriptions=(("in/#", 1), ("status/#", 1)))
DEVICE = Session(client_id="device", status=Status("status/device", b"on", b"off"))


def quick() -> Iterator[float]:
    while True:
        yield 0.05


@pytest.fixture
def join() -> Iterator[Callable[..., MqttTransport]]:
    """Make transports that are closed at the end."""
    waker = Waker()
    made: list[MqttTransport] = []

    def build(
        url: str | int,
        session: Session = LISTENER,
        *,
        queue: int = mqtt.MAX_QUEUED,
        **options: object,
    ) -> MqttTransport:
        url = f"mqtt://127.0.0.1:{url}" if isinstance(url, int) else url
        broker = Broker(url=url, **options)  # type: ignore[arg-type]
        made.append(MqttTransport(broker, session, waker=waker, delays=quick, queue=queue))
        return made[-1]

    yield build
    for transport in made:
        transport.close()
    waker.close()


Join = Callable[..., MqttTransport]


@contextmanager
def broker_on(port: int, folder: Path, *lines: str) -> Iterator[subprocess.Popen[bytes]]:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        skip_or_fail("mosquitto is not installed")
    assert program is not None
    settings = folder / "broker.conf"
    lines = (f"listener {port} 127.0.0.1", f"user {getpass.getuser()}", *lines)
    settings.write_text("\n".join([*lines, ""]))
    with (folder / "broker.log").open("w") as log:
        broker = subprocess.Popen([program, "-c", str(settings)], stdout=log, stderr=log)
        try:
            wait_for_port(port)
            yield broker
        finally:
            broker.kill()
            broker.wait(10)


def poll_until(done: Callable[[], object], *transports: MqttTransport) -> list[Message]:
    """Poll until something holds; return what the first transport received meanwhile."""
    found: list[Message] = []
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, [transport.trouble for transport in transports]
        for transport in transports:
            got = transport.poll(0.02)
            if transport is transports[0]:
                found += got
    return found


def receive(count: int, *transports: MqttTransport) -> list[Message]:
    found: list[Message] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < count:
        assert time.monotonic() < deadline, [transport.trouble for transport in transports]
        found += transports[0].poll(0.02)
        for other in transports[1:]:
            other.poll(0)
    return found


def delivered(count: int, transport: MqttTransport) -> list[int]:
    """Poll until the broker has acknowledged so many messages; return their tokens."""
    found: list[int] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < count:
        assert time.monotonic() < deadline, transport.trouble
        transport.poll(0.02)
        found += transport.delivered()
    return found


def test_a_broker_that_is_down_at_start_is_waited_for(join: Join, tmp_path: Path) -> None:
    port = free_port()
    transport = join(port)
    assert transport.poll(0.01) == []
    assert transport.trouble == (
        f"Broker mqtt://127.0.0.1:{port}: nothing listens there; start the broker or check "
        "broker.url."
    )
    with broker_on(port, tmp_path, "allow_anonymous true"):
        poll_until(lambda: transport.connected, transport)
        assert transport.trouble == ""


def test_a_broker_that_restarts_is_joined_again(join: Join, tmp_path: Path) -> None:
    port = free_port()
    listener, sender = join(port), join(port, DEVICE)
    with broker_on(port, tmp_path, "allow_anonymous true") as broker:
        poll_until(lambda: listener.connected and sender.connected, listener, sender)
        broker.send_signal(signal.SIGKILL)
        poll_until(lambda: not (listener.connected or sender.connected), listener, sender)
        assert listener.trouble
    with broker_on(port, tmp_path, "allow_anonymous true"):
        poll_until(lambda: listener.connected and sender.connected, listener, sender)
        sender.publish("in/a", b"after", qos=1, retain=False)
        assert b"after" in [m.payload for m in receive(2, listener, sender)]


_CLIENT = """
import sys
from headwater_agent.mqtt import MqttTransport
from headwater_agent.broker_settings import Broker
from headwater_agent.transport import Session, Status, Waker, backoff
import random
transport = MqttTransport(
    Broker(url=sys.argv[1]),
    Session(client_id="device", status=Status("status/device", b"on", b"off")),
    waker=Waker(),
    delays=lambda: backoff(random.Random(1)),
)
while True:
    transport.poll(1.0)
"""


def test_the_last_will_is_seen_after_kill_9(join: Join, mosquitto: int) -> None:
    listener = join(mosquitto)
    poll_until(lambda: listener.connected, listener)
    url = f"mqtt://127.0.0.1:{mosquitto}"
    with subprocess.Popen([sys.executable, "-c", _CLIENT, url]) as client:
        assert [m.payload for m in receive(1, listener)] == [b"on"]
        client.send_signal(signal.SIGKILL)
    assert [(m.topic, m.payload) for m in receive(1, listener)] == [("status/device", b"off")]


def test_the_status_is_retained_for_who_comes_later(join: Join, mosquitto: int) -> None:
    device = join(mosquitto, DEVICE)
    poll_until(lambda: device.connected, device)
    device.close()
    (message,) = receive(1, join(mosquitto))
    assert (message.payload, message.retained) == (b"off", True)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_more_than_the_broker_takes_at_once_is_sent_in_portions(
    join: Join, mosquitto: int, version: str
) -> None:
    listener, sender = join(mosquitto), join(mosquitto, DEVICE, version=version)
    poll_until(lambda: listener.connected, listener)
    for n in range(200):
        sender.publish("in/a", str(n).encode(), qos=1, retain=False)
    found: list[bytes] = []
    while len(found) < 200:
        batch = receive(1, listener, sender)
        listener.acknowledge(message.receipt for message in batch)
        found += [message.payload for message in batch if message.topic == "in/a"]
    assert found == [str(n).encode() for n in range(200)]


def test_what_waits_is_bounded_and_the_oldest_makes_room(join: Join) -> None:
    transport = join(free_port(), DEVICE, queue=100)
    for n in range(105):
        assert transport.publish("in/a", str(n).encode(), qos=1, retain=False)
    assert transport.dropped == 5
    assert len(transport._deliveries) == 100


def test_qos_0_without_a_connection_is_dropped_and_counted(join: Join) -> None:
    transport = join(free_port(), DEVICE)
    assert not transport.publish("in/a", b"", qos=0, retain=False)
    assert transport.dropped == 1


def test_as_many_messages_come_unacknowledged_as_receive_maximum_says(
    join: Join, mosquitto: int
) -> None:
    listener, sender = join(mosquitto, receive_maximum=50), join(mosquitto, DEVICE)
    poll_until(lambda: listener.connected and sender.connected, listener, sender)
    receive(1, listener, sender)
    for n in range(100):
        sender.publish("in/a", str(n).encode(), qos=1, retain=False)
    found = [*receive(49, listener, sender), *listener.poll(0.05)]
    assert len(found) == 49
    listener.acknowledge(message.receipt for message in found)
    assert listener.poll(0.05) == []


class Waits(Waker):
    """A waker that notes how long it was to wait, and for whom."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[tuple[float, bool]] = []

    def wait(self, timeout: float, other: int | None = None, *, writable: bool = False) -> bool:
        self.waits.append((timeout, other is not None))
        return super().wait(timeout, other, writable=writable)


def test_what_comes_while_messages_linger_is_taken_with_them(join: Join, mosquitto: int) -> None:
    linger = Duration(1_000)
    listener, sender = join(mosquitto, linger=linger), join(mosquitto, DEVICE)
    poll_until(lambda: listener.connected and sender.connected, listener, sender)
    receive(1, listener, sender)

    def send(payload: bytes) -> None:
        sender.publish("in/a", payload, qos=0, retain=False)
        sender.flush()

    send(b"first")
    later = threading.Timer(0.05, send, [b"second"])
    later.start()
    found = listener.poll(PATIENCE_S)
    later.join()

    assert [message.payload for message in found] == [b"first", b"second"]


def test_messages_linger_only_where_there_are_some_and_no_longer_than_a_poll_may_take(
    tmp_path: Path,
) -> None:
    port, waker = free_port(), Waits()
    broker = Broker(url=f"mqtt://127.0.0.1:{port}", linger=Duration(200))
    listener = MqttTransport(broker, LISTENER, waker=waker, delays=quick)

    def waits(timeout: float) -> list[tuple[float, bool]]:
        waker.waits.clear()
        listener.poll(timeout)
        return list(waker.waits)

    def send() -> None:
        publish.single("in/a", b"", hostname="127.0.0.1", port=port)

    with broker_on(port, tmp_path, "allow_anonymous true"), closing(waker), closing(listener):
        poll_until(lambda: listener.connected, listener)
        while len(nothing := waits(0.01)) > 1:
            pass  # the broker's word on the subscription
        send()
        (wait, for_socket), (lingers, for_more) = waits(10.0)
        send()
        (_, _), (short, _) = waits(0.1)

    assert nothing == [(0.01, True)]
    assert (wait, for_socket) == (1.0, True)
    assert (lingers, for_more) == (0.2, False)
    assert short <= 0.1


def test_a_wrong_password_gets_a_sentence(join: Join, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "users").write_text("")
    with broker_on(port, tmp_path, "allow_anonymous false", f"password_file {tmp_path / 'users'}"):
        for version in ("5", "3.1.1"):
            transport = join(port, version=version, username="me", password="wrong-secret")
            poll_until(lambda: transport.trouble, transport)  # noqa: B023 - used in this turn only
            assert "check broker.username" in transport.trouble
            assert "wrong-secret" not in transport.trouble
            assert not transport.connected


def test_probing_a_broker_that_answers_says_nothing(mosquitto: int) -> None:
    probe(
        Broker(url=f"mqtt://127.0.0.1:{mosquitto}"),
        Session(client_id="x", subscriptions=(("in/+", 1),), persistent=False),
        5.0,
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mqtt://127.0.0.1:{port}", "nothing listens there"),
        ("mqtt://no.such.host.invalid", "its host name is not known"),
    ],
)
def test_probing_a_broker_that_cannot_be_reached_says_why(url: str, said: str) -> None:
    session = Session(client_id="x", persistent=False)
    with pytest.raises(UnreachableError, match=said):
        probe(Broker(url=url.format(port=free_port())), session, 5.0)


class Certificates:
    """A certificate authority and a server certificate for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.cert, self.key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
        authority = ec.generate_private_key(ec.SECP256R1())
        server = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.ca.write_bytes(_signed(name, authority, authority, ca=True))
        self.cert.write_bytes(_signed(name, server, authority, ca=False))
        self.key.write_bytes(
            server.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def _signed(
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    authority: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> bytes:
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    built = (
        x509.CertificateBuilder()
        .subject_name(issuer if ca else own)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36_500))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
    )
    return built.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(certificates: Certificates, tmp_path: Path) -> Iterator[int]:
    port = free_port()
    with broker_on(
        port,
        tmp_path,
        "allow_anonymous true",
        f"certfile {certificates.cert}",
        f"keyfile {certificates.key}",
    ):
        yield port


def test_messages_come_over_tls(join: Join, secure: int, certificates: Certificates) -> None:
    url = f"mqtts://127.0.0.1:{secure}"
    listener, sender = join(url, ca=certificates.ca), join(url, DEVICE, ca=certificates.ca)
    poll_until(lambda: listener.connected and sender.connected, listener, sender)
    large = bytes(range(256)) * 2_000
    for _ in range(3):
        sender.publish("in/a", large, qos=1, retain=False)
    found = [m.payload for m in receive(4, listener, sender) if m.topic == "in/a"]
    assert found == [large] * 3


@pytest.fixture
def encrypted(certificates: Certificates) -> Iterator[tuple[PacketSocket, ssl.SSLSocket]]:
    """A socket of packets over TLS and its other end."""
    near, far = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    client = ssl.create_default_context(cafile=certificates.ca)
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(context.wrap_socket, far, server_side=True)
        secured = client.wrap_socket(near, server_hostname="127.0.0.1")
        other = accepted.result(PATIENCE_S)
    secured.setblocking(False)
    yield PacketSocket(secured, PacketReader(v5=True, limit=1000)), other
    secured.close()
    other.close()


def test_one_read_takes_all_records_of_tls(
    encrypted: tuple[PacketSocket, ssl.SSLSocket],
) -> None:
    stream, far = encrypted
    for _ in range(5):
        far.sendall(encode_publishes([("a", b"x")], v5=True, retain=False)[0])
    assert stream.read()
    assert len(stream.packets.take().messages) == 5
    assert not stream.read()


def test_nothing_stays_hidden_in_tls(encrypted: tuple[PacketSocket, ssl.SSLSocket]) -> None:
    stream, far = encrypted
    packets = encode_publishes([("a", bytes(90))], v5=True, retain=False)[0] * 10_000
    threading.Thread(target=far.sendall, args=(packets,), daemon=True).start()
    found = 0
    ready = select.poll()
    ready.register(stream, select.POLLIN)
    while found < 10_000:
        assert ready.poll(PATIENCE_S * 1000)
        stream.read()
        found += len(stream.packets.take().messages)


def test_a_broker_of_another_authority_is_not_trusted(join: Join, secure: int) -> None:
    transport = join(f"mqtts://127.0.0.1:{secure}")
    poll_until(lambda: transport.trouble, transport)
    assert "its certificate is not accepted" in transport.trouble
    assert "set broker.ca" in transport.trouble


def test_a_broker_of_another_name_is_not_trusted(
    join: Join, secure: int, certificates: Certificates
) -> None:
    transport = join(f"mqtts://localhost:{secure}", ca=certificates.ca)
    poll_until(lambda: transport.trouble, transport)
    assert "its certificate is not accepted" in transport.trouble


def test_a_port_without_tls_is_told_apart(
    join: Join, mosquitto: int, certificates: Certificates
) -> None:
    transport = join(f"mqtts://127.0.0.1:{mosquitto}", ca=certificates.ca)
    poll_until(lambda: transport.trouble, transport)
    assert transport.trouble.startswith(f"Broker mqtts://127.0.0.1:{mosquitto}: ")


def test_a_certificate_that_is_none_is_refused_at_start(join: Join, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for ca in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        with pytest.raises(SettingsError, match=r"broker.ca, broker.cert or broker.key"):
            join("mqtts://127.0.0.1", ca=ca)


CONNACK = b"\x20\x03\x00\x00\x00"
GREETING = {"5": CONNACK, "3.1.1": b"\x20\x02\x00\x00"}


@contextmanager
def server_that_says(*answers: bytes, hang_up: bool = False) -> Iterator[int]:
    """Accept one connection after another and send each its answer, whatever was asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in answers:
                accepted, _ = listening.accept()
                with accepted:
                    accepted.recv(4096)
                    accepted.sendall(answer)
                    accepted.settimeout(PATIENCE_S)
                    while not hang_up and accepted.recv(4096):
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xff\xff\xff\xff\xff",
        b"HTTP/1.1 400 Bad Request\r\nServer: a web server, which has no idea of MQTT\r\n\r\n" * 9,
        CONNACK + b"\x30\x02\x00\x05",
        CONNACK + b"\x30\x05\x00\x01a\x7f\xff",
        CONNACK + b"\x40\x01\x00",
    ],
)
def test_what_is_not_mqtt_ends_the_connection_and_nothing_else(join: Join, garbage: bytes) -> None:
    with server_that_says(garbage) as port:
        transport = join(port)
        poll_until(lambda: transport.trouble, transport)
        transport.close()
        assert "Broker mqtt://127.0.0.1:" in transport.trouble


def test_a_topic_that_is_no_text_is_passed_over_and_acknowledged(join: Join) -> None:
    bad = b"\x32\x08\x00\x02\xff\xfe\x00\x07\x00x"
    good = b"\x30\x05\x00\x01a\x00x"
    with server_that_says(CONNACK + bad + good) as port:
        transport = join(port)
        assert [(m.topic, m.payload) for m in receive(1, transport)] == [("a", b"x")]
        assert transport._unacknowledged == {}
        transport.close()


def test_a_broker_that_ends_within_a_packet_has_ended(join: Join) -> None:
    whole = b"\x30\x05\x00\x01a\x00x"
    with server_that_says(CONNACK + whole + whole[:4], hang_up=True) as port:
        transport = join(port)
        found = poll_until(lambda: transport.trouble, transport)
        assert [m.payload for m in found] == [b"x"]
        assert not transport.connected
        transport.close()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_packet_that_is_too_large_ends_the_connection_before_it_is_here(
    join: Join, version: str
) -> None:
    header = b"\x90\xff\xff\xff\x7f"
    with server_that_says(GREETING[version] + header + b"x" * 1000) as port:
        transport = join(port, version=version)
        poll_until(lambda: transport.trouble, transport)
        transport.close()
    assert "a packet has 268435455 bytes" in transport.trouble
    assert transport._client.stream is not None
    assert not transport._client.stream.packets._partial


@dataclass
class Visit:
    """A connection to a broker of the test: its answer to CONNECT, and what it does then."""

    greeting: bytes = CONNACK
    acknowledges: int = 0
    """How many of the publishes it acknowledges."""
    leaves_after: int = 1_000_000
    """After how many publishes it hangs up."""
    seen: list[tuple[int, bytes, bool]] = field(default_factory=list)
    """Packet id, payload and DUP flag of the publishes."""
    kinds: list[int] = field(default_factory=list)
    """The first byte of each packet."""

    def serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            while len(self.seen) < self.leaves_after and (first := stream.read(1)):
                length = shift = 0
                more = 128
                while more & 128:
                    more = stream.read(1)[0]
                    length |= (more & 127) << shift
                    shift += 7
                self._take(connection, first[0], stream.read(length))

    def _take(self, connection: socket.socket, first: int, body: bytes) -> None:
        self.kinds.append(first)
        if first == 0x10:
            connection.sendall(self.greeting)
        elif first & 0xF0 == 0x30:
            at = 2 + int.from_bytes(body[:2], "big")
            packet_id = body[at : at + 2]
            if len(self.seen) < self.acknowledges:
                connection.sendall(b"\x40\x02" + packet_id)
            v5 = len(self.greeting) > 4
            payload = body[at + 2 + v5 :]
            self.seen.append((int.from_bytes(packet_id, "big"), payload, bool(first & 8)))


@contextmanager
def visited(*visits: Visit) -> Iterator[int]:
    """Be a broker that goes through its visits one after another."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for visit in visits:
                connection, _ = listening.accept()
                with connection:
                    visit.serve(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


PLAIN = Session(client_id="plain")
KEPT = b"\x20\x03\x01\x00\x00"


def greeting_with_receive_maximum(most: int) -> bytes:
    return b"\x20\x06\x00\x00\x03\x21" + most.to_bytes(2, "big")


@pytest.mark.parametrize(
    ("version", "greeting", "window"),
    [
        ("5", greeting_with_receive_maximum(3), 3),
        ("5", CONNACK, 30),
        ("3.1.1", GREETING["3.1.1"], 20),
    ],
)
def test_no_more_is_in_flight_than_the_broker_takes(
    join: Join, version: str, greeting: bytes, window: int
) -> None:
    visit = Visit(greeting)
    with visited(visit) as port:
        transport = join(port, PLAIN, version=version)
        for n in range(30):
            assert transport.publish("a", b"%d" % n, qos=1, retain=False)
        poll_until(lambda: len(visit.seen) >= window, transport)
        for _ in range(3):
            transport.poll(0.01)
        transport._client.drop()
    assert [payload for _, payload, _ in visit.seen] == [b"%d" % n for n in range(window)]


def test_after_a_reconnect_the_same_packets_come_again_where_the_session_was_kept(
    join: Join,
) -> None:
    first = Visit(greeting_with_receive_maximum(5), acknowledges=2, leaves_after=5)
    second = Visit(KEPT, acknowledges=100)
    with visited(first, second) as port:
        transport = join(port, PLAIN)
        tokens = [transport.publish("a", b"%d" % n, qos=1, retain=False) for n in range(8)]
        assert delivered(len(tokens), transport) == tokens
        transport.close()
    assert second.seen[:3] == [(number, payload, True) for number, payload, _ in first.seen[2:]]
    assert not second.seen[-1][2]
    assert [payload for _, payload, _ in second.seen] == [b"%d" % n for n in range(2, 8)]


def test_after_a_reconnect_they_are_sent_as_new_where_the_session_is_gone(join: Join) -> None:
    first, second = Visit(acknowledges=2, leaves_after=5), Visit(acknowledges=100)
    with visited(first, second) as port:
        transport = join(port, PLAIN)
        tokens = [transport.publish("a", b"%d" % n, qos=1, retain=False) for n in range(5)]
        assert delivered(len(tokens), transport) == tokens
        transport.close()
    assert [item[1:] for item in second.seen] == [(b"%d" % n, False) for n in range(2, 5)]


def test_what_an_ended_connection_left_does_not_hold_up_acknowledgements(join: Join) -> None:
    message = b"\x32\x08\x00\x01a\x00\x07\x00xy"
    first, second = Visit(CONNACK + message, leaves_after=1), Visit(KEPT + message)
    with visited(first, second) as port:
        transport = join(port, PLAIN)
        (before,) = receive(1, transport)
        transport.publish("a", b"", qos=1, retain=False)
        (after,) = receive(1, transport)
        assert before.receipt != after.receipt
        transport.acknowledge([after.receipt])
        poll_until(lambda: 0x40 in second.kinds, transport)
        transport._client.drop()


def test_a_message_larger_than_the_broker_takes_is_counted_and_not_sent(join: Join) -> None:
    visit = Visit(b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x32", acknowledges=9)
    with visited(visit) as port:
        transport = join(port, PLAIN)
        tokens = [
            transport.publish("a", bytes(size), qos=1, retain=False) for size in (100, 42, 43)
        ]
        assert sorted(delivered(3, transport)) == tokens
        assert transport.refused == 2
        transport.close()
    assert [payload for _, payload, _ in visit.seen] == [bytes(42)]


def test_every_message_arrives_although_the_broker_is_killed(join: Join, tmp_path: Path) -> None:
    port, found = free_port(), []
    sender = join(port, PLAIN)
    tokens = [sender.publish("in/a", b"%d" % n, qos=1, retain=False) for n in range(300)]
    for _ in range(3):
        with broker_on(port, tmp_path, "allow_anonymous true") as broker:
            found += delivered(60, sender)
            broker.send_signal(signal.SIGKILL)
    with broker_on(port, tmp_path, "allow_anonymous true"):
        found += delivered(300 - len(found), sender)
    assert found == tokens


def test_what_a_wake_up_sends_leaves_in_one_piece(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit, writes = Visit(acknowledges=9), []
    send = PacketSocket.send

    def counted(stream: PacketSocket, data: bytes | bytearray) -> int:
        writes.append(len(data))
        return send(stream, data)

    with visited(visit) as port:
        transport = join(port, PLAIN)
        poll_until(lambda: transport.connected, transport)
        monkeypatch.setattr(PacketSocket, "send", counted)
        for n in range(5):
            transport.publish("a", b"%d" % n, qos=1, retain=False)
            transport.publish("a", b"x", qos=0, retain=False)
        assert not writes
        transport.flush()
        assert len(writes) == 1
        poll_until(lambda: len(visit.seen) == 10, transport)
        assert len(writes) == 1
        transport.close()


@pytest.mark.parametrize("qos", [0, 1])
def test_a_topic_that_mqtt_does_not_allow_is_dropped_counted_and_said_once(
    join: Join, mosquitto: int, qos: int, caplog: pytest.LogCaptureFixture
) -> None:
    transport = join(mosquitto, PLAIN)
    poll_until(lambda: transport.connected, transport)
    for topic in ("a/+", "#"):
        assert transport.publish(topic, b"", qos=qos, retain=False) == 0
    assert transport.dropped == 2
    warned = [one.message for one in caplog.records if one.levelno >= logging.WARNING]
    assert warned == [
        "a message is not sent: nothing can be published on the topic 'a/+' (others are counted)"
    ]
    transport.publish("a", b"", qos=1, retain=False)
    poll_until(transport.delivered, transport)
    assert not transport.trouble


@pytest.mark.parametrize("qos", [0, 1])
def test_a_topic_that_mqtt_does_not_allow_keeps_no_other_message_back(
    join: Join, mosquitto: int, qos: int
) -> None:
    listener, transport = join(mosquitto), join(mosquitto, PLAIN)
    poll_until(lambda: listener.connected and transport.connected, listener, transport)
    messages = [("in/a", b"1"), ("in/#", b"2"), ("in/a", b"3")]
    tokens = transport.publish_all(messages, qos=qos, retain=False)
    assert [token > 0 for token in tokens] == [qos > 0, False, qos > 0]
    assert transport.dropped == 1
    assert [message.payload for message in receive(2, listener, transport)] == [b"1", b"3"]


@contextmanager
def deaf(join: Join) -> Iterator[tuple[MqttTransport, socket.socket]]:
    """Have a connection to a broker that reads nothing unless told to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        transport = join(listening.getsockname()[1], PLAIN)
        transport.poll(0)
        connection, _ = listening.accept()
        with connection:
            connection.sendall(CONNACK)
            poll_until(lambda: transport.connected, transport)
            yield transport, connection
            transport._client.drop()


def say(transport: MqttTransport, megabytes: int) -> None:
    for _ in range(100 * megabytes):
        transport.publish("a", bytes(10_000), qos=0, retain=False)


def test_it_is_busy_while_the_broker_does_not_read_and_loses_nothing_of_a_batch(
    join: Join,
) -> None:
    with deaf(join) as (transport, connection):
        assert not transport.busy
        size = len(encode_publishes([("a", bytes(10_000))], v5=True, retain=False)[0])
        sent = 0
        while not transport.busy:
            say(transport, 1)
            sent += 100
        say(transport, 3)
        sent += 300
        assert transport.dropped == 0
        connection.setblocking(False)
        came = 0

        def read() -> bool:
            nonlocal came
            with suppress(BlockingIOError):
                came += len(connection.recv(1 << 20))
            return came >= sent * size

        poll_until(read, transport)
        assert not transport.busy
        assert transport.dropped == 0


def test_qos_0_is_dropped_once_much_waits_for_a_broker_that_does_not_read(join: Join) -> None:
    with deaf(join) as (transport, _):
        say(transport, 20)
        assert 0 < transport.dropped < 2_000
        waiting = sum(map(len, transport._output))
        waiting += sum(packet["to_process"] for packet in transport._client._out_packet)
        assert waiting < mqtt.MAX_OUTPUT + 2 * CHUNK


def test_what_a_lost_connection_had_not_taken_of_qos_0_is_counted(join: Join) -> None:
    with deaf(join) as (transport, _):
        while not transport.busy:
            say(transport, 1)
        say(transport, 1)
        before, waiting = transport.dropped, len(transport._output)
        assert waiting
        transport._client.drop()
        poll_until(lambda: transport.dropped > before, transport)
        assert transport.dropped == before + waiting


def test_a_message_that_the_broker_does_not_allow_is_counted_and_not_repeated(
    join: Join, tmp_path: Path
) -> None:
    port = free_port()
    (tmp_path / "rules").write_text("topic readwrite in/#\n")
    with broker_on(port, tmp_path, "allow_anonymous true", f"acl_file {tmp_path / 'rules'}"):
        sender = join(port, PLAIN)
        tokens = [sender.publish(topic, b"", qos=1, retain=False) for topic in ("no", "in/a")]
        assert delivered(2, sender) == tokens
        assert sender.refused == 1
        assert sender.connected


def test_messages_of_an_earlier_subscription_with_qos_2_come_once(
    join: Join, mosquitto: int
) -> None:
    earlier = paho.Client(CallbackAPIVersion.VERSION2, "plain", protocol=paho.MQTTv5)
    lasting: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    lasting.SessionExpiryInterval = 600
    subscribed: list[object] = []
    earlier.on_connect = lambda client, *_: client.subscribe("in/#", 2)
    earlier.on_subscribe = lambda *found: subscribed.append(found)
    earlier.connect("127.0.0.1", mosquitto, properties=lasting)
    while not subscribed:
        earlier.loop(0.1)
    earlier.disconnect()
    publish.multiple(
        [("in/a", b"%d" % n, 2, False) for n in range(3)], hostname="127.0.0.1", port=mosquitto
    )
    for expected in ([b"0", b"1", b"2"], []):
        transport = join(mosquitto, PLAIN)
        poll_until(lambda: transport.connected, transport)  # noqa: B023 - used in this turn only
        found = receive(len(expected), transport) + transport.poll(0.1) + transport.poll(0.1)
        assert [(m.payload, m.qos, m.receipt) for m in found] == [(n, 2, 0) for n in expected]
        transport.close()


def test_a_broker_that_is_heard_is_not_asked_whether_it_is_there(join: Join) -> None:
    visit = Visit(acknowledges=9)
    with visited(visit) as port:
        transport = join(port, PLAIN, keepalive=30_000)
        poll_until(lambda: transport.connected, transport)
        transport._client._last_bytes_received -= 29
        transport.publish("a", b"", qos=1, retain=False)
        poll_until(transport.delivered, transport)
        transport._client._last_bytes_received -= 29
        transport._client._last_msg_out -= 29
        transport._client._upkeep_due = 0.0
        transport.poll(0)
        transport.close()
    assert 0xC0 not in visit.kinds


def test_a_broker_that_is_silent_is_asked_and_then_given_up(join: Join) -> None:
    visit = Visit()
    with visited(visit) as port:
        transport = join(port, PLAIN, keepalive=30_000)
        poll_until(lambda: transport.connected, transport)
        transport._client._last_bytes_received -= 31
        poll_until(lambda: 0xC0 in visit.kinds, transport)
        assert transport.connected
        transport._client._ping_t -= 31
        poll_until(lambda: transport.trouble, transport)
        assert "it did not answer within broker.keepalive" in transport.trouble


def test_a_subscription_that_is_not_allowed_gets_a_sentence() -> None:
    refused = CONNACK + b"\x90\x05\x00\x01\x00\x01\x87"
    subscriptions = (("in/a", 1), ("in/+", 1))
    session = Session(client_id="x", subscriptions=subscriptions, persistent=False)
    said = r"the subscription to 'in/\+' was refused \(Not authorized\)"
    with server_that_says(refused) as port, pytest.raises(UnreachableError, match=said):
        probe(Broker(url=f"mqtt://127.0.0.1:{port}"), session, 5.0)


def test_two_clients_of_one_name_are_told(join: Join) -> None:
    with server_that_says(CONNACK + b"\xe0\x02\x8e\x00") as port:
        transport = join(port)
        poll_until(lambda: transport.trouble, transport)
        transport.close()
    assert "another client connected with the same client id" in transport.trouble


def test_a_broker_without_mqtt_5_is_told_apart(join: Join) -> None:
    port = free_port()
    with IotcoreBroker(port=port, listen="127.0.0.1"):
        transport = join(port)
        poll_until(lambda: transport.trouble, transport)
    assert 'set broker.version = "3.1.1"' in transport.trouble
