"""What a connection sends: its requests, and their bytes as HTTP/1.1 writes them."""

from __future__ import annotations

import threading

import httpx


class Meter:
    """Counts every request that an HTTP client begins, also those that then fail.

    To be called with each request before it is sent, by any thread. Below HTTP nothing is counted:
    TLS, TCP and IP add their own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self._bytes = 0

    def __call__(self, request: httpx.Request) -> None:
        """Count a request."""
        line = len(request.method) + len(request.url.raw_path) + len("  HTTP/1.1\r\n")
        headers = sum(len(name) + len(value) + len(": \r\n") for name, value in request.headers.raw)
        body = int(request.headers.get("content-length", 0))
        with self._lock:
            self._requests += 1
            self._bytes += line + headers + len("\r\n") + body

    def taken(self) -> tuple[int, int]:
        """Return requests and bytes since the last call."""
        with self._lock:
            found = (self._requests, self._bytes)
            self._requests = self._bytes = 0
        return found
