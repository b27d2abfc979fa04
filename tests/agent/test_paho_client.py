from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import pytest

from headwater_agent.paho_client import BufferedSocket, explain


@pytest.fixture
def pair() -> Iterator[tuple[BufferedSocket, socket.socket]]:
    """A buffered socket and its other end."""
    near, far = socket.socketpair()
    near.setblocking(False)
    yield BufferedSocket(near), far
    near.close()
    far.close()


def test_small_reads_are_served_from_one_large_one(
    pair: tuple[BufferedSocket, socket.socket],
) -> None:
    buffered, far = pair
    far.sendall(b"abcdef")
    assert (buffered.recv(1), buffered.recv(3)) == (b"a", b"bcd")
    assert buffered.pending() == 2
    assert (buffered.recv(99), buffered.pending()) == (b"ef", 0)


def test_it_says_when_nothing_is_left(pair: tuple[BufferedSocket, socket.socket]) -> None:
    buffered, far = pair
    far.sendall(b"a")
    buffered.recv(1)
    assert not buffered.dry
    with pytest.raises(BlockingIOError):
        buffered.recv(1)
    assert buffered.dry


def test_the_end_of_the_stream_comes_after_what_was_sent(
    pair: tuple[BufferedSocket, socket.socket],
) -> None:
    buffered, far = pair
    far.sendall(b"ab")
    far.close()
    assert (buffered.recv(1), buffered.recv(9), buffered.recv(9)) == (b"a", b"b", b"")


def test_what_is_sent_arrives(pair: tuple[BufferedSocket, socket.socket]) -> None:
    buffered, far = pair
    assert buffered.send(b"abc") == 3
    assert far.recv(9) == b"abc"
    buffered.close()
    assert buffered.fileno() == -1


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
