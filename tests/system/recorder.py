"""A listener between device and coordinator, above TLS: keeps every body in both directions."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

_HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


class Recorder:
    """Forwards what devices send to the coordinator's front, and what it answers.

    Attributes
    ----------
    sent, received
        The bodies from the devices and to them, with the path of their request.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.received: list[tuple[str, bytes]] = []
        self._client: httpx.Client | None = None
        self._url = ""
        handler = _handler(self)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True

    def through(self, url: str, authority: Path) -> str:
        """Forward to *url* from now on; return the URL to tell devices instead."""
        self._client = httpx.Client(verify=ssl.create_default_context(cafile=authority), timeout=30)
        self._url = url
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def forward(self, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        """Pass one request on and keep both bodies."""
        assert self._client is not None
        self.sent.append((path, body))
        kept = {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
        answer = self._client.post(f"{self._url}{path}", content=body, headers=kept)
        self.received.append((path, answer.content))
        return answer

    def close(self) -> None:
        """End the connections to the coordinator."""
        if self._client is not None:
            self._client.close()


def _handler(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            try:
                answer = recorder.forward(self.path, dict(self.headers), body)
            except httpx.HTTPError:
                self.close_connection = True
                self.send_error(502)
                return
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in {*_HOP_BY_HOP, "content-encoding"}:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            return

    return Handler


@contextmanager
def recorder() -> Iterator[Recorder]:
    """Have a recorder that listens."""
    made = Recorder()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()
        made.close()
