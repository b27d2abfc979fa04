"""The load's own client speaks MQTT as a broker does, however its bytes are cut."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.agent.wire import Wire, packet, text

PAYLOADS = st.lists(st.binary(max_size=300), max_size=20)


def published(topic: str, payload: bytes) -> bytes:
    return packet(0x30, text(topic) + payload)


@given(payloads=PAYLOADS, cut=st.integers(1, 64))
def test_payloads_are_whole_wherever_the_stream_is_cut(payloads: list[bytes], cut: int) -> None:
    wire = Wire.__new__(Wire)
    wire._left, wire.acknowledged, wire._answers = b"", 0, set()
    stream = b"".join(published("a/b", payload) + packet(0x40, b"\0\1") for payload in payloads)

    came = [p for at in range(0, len(stream), cut) for p in wire._read(stream[at : at + cut])]

    assert came == payloads
    assert wire.acknowledged == len(payloads)


@pytest.mark.parametrize(
    ("length", "head"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\1"), (16_384, b"\x80\x80\1")]
)
def test_a_packet_tells_its_length_as_mqtt_does(length: int, head: bytes) -> None:
    assert packet(0x30, bytes(length)) == b"\x30" + head + bytes(length)


@pytest.mark.parametrize("qos", [0, 1])
def test_what_is_published_comes_back_from_a_broker(mosquitto: int, qos: int) -> None:
    wire = Wire(mosquitto, "load")
    wire.subscribe("sensors/+")
    messages = [(f"sensors/s{number % 3}", str(number).encode()) for number in range(2_000)]
    came = wire.send(b"".join(wire.encode(messages, qos)))
    came += wire.settle()
    while len(came) < len(messages) and (more := wire.poll(5)):
        came += more
    wire.close()

    assert came == [payload for _, payload in messages]
    assert wire.acknowledged == (len(messages) if qos else 0)


def test_the_end_of_the_connection_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            connection.recv(1_000)
            connection.sendall(packet(0x20, b"\0\0"))
            connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        wire = Wire(server.getsockname()[1], "load")
        thread.join()
        with pytest.raises(ConnectionError, match="ended"):
            wire.poll(5)
        wire._socket.close()
        wire._selector.close()
