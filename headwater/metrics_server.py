"""Shows metrics on a port and in a file, in threads that nobody else waits for."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer

from headwater.metrics_settings import MetricsSettings

REQUEST_S = 5.0
"""Longest that one who asks may take; they are served one after the other."""

MAX_REQUEST_BYTES = 8_192

_log = logging.getLogger(__name__)

Render = Callable[[], bytes]


@contextmanager
def shown(wanted: MetricsSettings, fresh: Render) -> Iterator[None]:
    """Show metrics as long as the context lasts; trouble with them is only logged."""
    with ExitStack() as stack:
        if wanted.listen:
            try:
                stack.enter_context(serving(wanted.address, fresh))
            except OSError as error:
                _log.error("metrics.listen: %s: %s", wanted.listen, error.strerror)
        if wanted.textfile is not None:
            stack.enter_context(writing(wanted.textfile, wanted.every / 1000, fresh))
        yield


@contextmanager
def serving(address: tuple[str, int], fresh: Render) -> Iterator[tuple[str, int]]:
    """Answer ``GET /metrics`` on an address; yields the one that it became.

    Raises
    ------
    OSError
        When the port is taken.
    """

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(_answer(_read_request(self.request), fresh))

    class Server(TCPServer):
        address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        allow_reuse_address = True

        def get_request(self) -> tuple[socket.socket, object]:
            connection, peer = super().get_request()
            connection.settimeout(REQUEST_S)
            return connection, peer

        def handle_error(self, request: object, client_address: object) -> None:
            """Let one who went away, or took too long, go."""

    with Server(address, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield server.server_address[:2]  # type: ignore[misc]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def writing(path: Path, every_s: float, fresh: Render) -> Iterator[None]:
    """Replace a file with the newest metrics every so often, and remove it at the end."""
    stop = threading.Event()

    def loop() -> None:
        failed = False
        while True:
            try:
                _replace(path, fresh())
                failed = False
            except OSError as error:
                if not failed:
                    _log.warning("metrics.textfile: %s: %s", path, error.strerror)
                failed = True
            if stop.wait(every_s):
                return

    thread = threading.Thread(target=loop, name="metrics-file", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with suppress(OSError):
            path.unlink()


def _replace(path: Path, content: bytes) -> None:
    """Put a file in the place of another, so that the collector, another user, reads it whole."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o644)
    new.replace(path)


def _read_request(connection: socket.socket) -> bytes:
    """Return a request's head, or as much of it as came within the limits."""
    head = b""
    deadline = time.monotonic() + REQUEST_S
    while b"\r\n\r\n" not in head and len(head) < MAX_REQUEST_BYTES:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        chunk = connection.recv(MAX_REQUEST_BYTES - len(head))
        if not chunk:
            break
        head += chunk
    connection.settimeout(REQUEST_S)
    return head


def _answer(head: bytes, fresh: Render) -> bytes:
    words = head.partition(b"\r\n")[0].split(b" ")
    if b"\r\n\r\n" not in head or len(words) != 3:
        return _response("400 Bad Request", b"")
    if words[0] != b"GET" or words[1].partition(b"?")[0] != b"/metrics":
        return _response("404 Not Found", b"GET /metrics is all there is.\n")
    return _response("200 OK", fresh())


def _response(status: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
