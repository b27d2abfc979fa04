from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from headwater.settings import Duration
from headwater_agent.broker_settings import Broker
from headwater_agent.packets import PacketError, PacketReader, encode_publishes
from headwater_agent.paho_client import (
    CHUNK,
    MAX_PACKET,
    PacketSocket,
    connect_properties,
    explain,
)
from headwater_agent.transport import Session

PINGRESP = b"\xd0\x00"
PUBLISH = encode_publishes([("a", b"x")], v5=True, retain=False)[0]


def over(near: socket.socket) -> PacketSocket:
    near.setblocking(False)
    return PacketSocket(near, PacketReader(v5=True, limit=1 << 20))


@pytest.fixture
def pair() -> Iterator[tuple[PacketSocket, socket.socket]]:
    """A socket of packets and its other end."""
    near, far = socket.socketpair()
    yield over(near), far
    near.close()
    far.close()


Pair = tuple[PacketSocket, socket.socket]


def test_messages_are_taken_out_and_the_rest_is_read_in_small_pieces(pair: Pair) -> None:
    stream, far = pair
    far.sendall(PINGRESP + PUBLISH + PINGRESP + PUBLISH)
    assert stream.read()
    assert [m.topic for m in stream.packets.take().messages] == ["a", "a"]
    assert [stream.recv(1), stream.recv(2), stream.recv(9)] == [b"\xd0", b"\x00\xd0", b"\x00"]
    assert not stream.for_paho()
    with pytest.raises(BlockingIOError):
        stream.recv(1)


def test_there_is_nothing_to_read_when_nothing_came(pair: Pair) -> None:
    stream, _ = pair
    assert not stream.read()
    assert not stream.for_paho()


def test_paho_gets_no_part_of_a_packet(pair: Pair) -> None:
    stream, far = pair
    far.sendall(PINGRESP[:1])
    assert stream.read()
    assert not stream.for_paho()
    far.sendall(PINGRESP[1:])
    stream.read()
    assert stream.recv(9) == PINGRESP


@pytest.mark.parametrize("before", [b"", PUBLISH, PUBLISH[:3]])
def test_the_end_of_the_stream_reaches_paho_with_nothing_else_to_read(
    pair: Pair, before: bytes
) -> None:
    stream, far = pair
    far.sendall(before)
    far.close()
    stream.read()
    stream.read()
    assert stream.for_paho()
    assert stream.recv(1) == b""


def test_the_end_of_the_stream_comes_after_what_was_sent(pair: Pair) -> None:
    stream, far = pair
    far.sendall(PINGRESP)
    far.close()
    stream.read()
    stream.read()
    assert [stream.recv(9), stream.recv(9)] == [PINGRESP, b""]


def test_a_connection_that_breaks_is_told_to_paho() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
    stream = over(near)
    stream.read()
    assert stream.for_paho()
    with pytest.raises(ConnectionResetError):
        stream.recv(1)
    stream.close()


class Counted(socket.socket):
    calls = 0

    def recv(self, *args: int) -> bytes:
        self.calls += 1
        return super().recv(*args)


def test_a_wake_up_costs_one_call() -> None:
    near, far = socket.socketpair()
    with Counted(fileno=near.detach()) as counted, far:
        stream = over(counted)
        far.sendall(PUBLISH * 100)
        assert stream.read()
        assert counted.calls == 1


def test_one_read_takes_no_more_than_a_chunk(pair: Pair) -> None:
    stream, far = pair
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * CHUNK)
    far.setblocking(False)
    while True:
        try:
            far.send(PUBLISH * 1000)
        except BlockingIOError:
            break
    most = CHUNK // len(PUBLISH) + 1
    found = 0
    while stream.read():
        batch = len(stream.packets.take().messages)
        assert batch <= most
        found += batch
    assert found > 1000


def test_what_is_not_mqtt_is_raised(pair: Pair) -> None:
    stream, far = pair
    far.sendall(PINGRESP + b"\x30\x00")
    with pytest.raises(PacketError):
        stream.read()
    assert stream.recv(9) == PINGRESP


def test_what_is_sent_arrives(pair: Pair) -> None:
    stream, far = pair
    assert stream.send(b"abc") == 3
    assert far.recv(9) == b"abc"
    stream.close()
    assert stream.fileno() == -1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), "does this port speak TLS"),
        (socket.gaierror(-2, "Name or service not known"), "its host name is not known"),
        (ConnectionRefusedError(111, "Connection refused"), "start the broker"),
        (TimeoutError("timed out"), "no answer within 5 s"),
        (OSError(113, "No route to host"), "it cannot be reached"),
    ],
)
def test_why_there_is_no_connection_is_said_in_words(error: OSError, said: str) -> None:
    assert said in explain(error)


def test_only_a_session_that_persists_outlives_its_connection() -> None:
    broker = Broker(url="mqtt://localhost", session_expiry=Duration(90_000), receive_maximum=7)
    for persistent, expiry in ((True, 90), (False, 0)):
        session = Session(client_id="x", persistent=persistent)
        made: Any = connect_properties(broker, session)
        assert made.SessionExpiryInterval == expiry
        assert (made.ReceiveMaximum, made.MaximumPacketSize) == (7, MAX_PACKET)
