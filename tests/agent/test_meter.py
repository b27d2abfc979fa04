from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from headwater_agent.meter import Meter

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Listener:
    """A server that counts the bytes that reach its socket."""

    def __init__(self) -> None:
        self.received = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1/pull?a=%C3%A4"
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            peer, _ = self._socket.accept()
            with peer:
                data = peer.recv(65_536)
                if not data:
                    return
                head, _, body = data.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
                while len(body) < length:
                    more = peer.recv(65_536)
                    data, body = data + more, body + more
                self.received += len(data)
                peer.sendall(ANSWER)

    def stop(self) -> None:
        with socket.create_connection(self._socket.getsockname()):
            pass
        self._thread.join()
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    running = Listener()
    yield running
    running.stop()


def test_it_counts_the_bytes_that_reach_the_other_side(listener: Listener) -> None:
    meter = Meter()
    with httpx.Client(event_hooks={"request": [meter]}) as client:
        client.post(listener.url, content=b"x" * 100_000, headers={"signature": "abc"})
        client.get(listener.url)
    assert meter.taken() == (2, listener.received)
    assert listener.received > 100_000
    assert meter.taken() == (0, 0)


def test_a_request_that_reaches_nobody_is_counted_as_well() -> None:
    meter = Meter()
    client = httpx.Client(event_hooks={"request": [meter]})
    with client, pytest.raises(httpx.ConnectError):
        client.get("http://127.0.0.1:1/")
    assert meter.taken()[0] == 1
