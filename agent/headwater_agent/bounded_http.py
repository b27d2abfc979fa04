"""An HTTP client for a peer that is not trusted: verified, never redirected, answers bounded."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx

from headwater.errors import PeerError, SettingsError

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def bounded_client(
    url: str, *, ca: Path | None, limit: int, timeout_s: float = 30.0
) -> httpx.Client:
    """Return a client for one server that reads at most *limit* bytes of any answer.

    Parameters
    ----------
    url
        Where the server is. Plain ``http`` is refused unless it goes to this machine.
    ca
        PEM file of the authority that signed the server's certificate; None: the system's.
    limit
        Bytes. An answer that is longer, compressed or a redirect is an error.
    timeout_s
        How long to wait for a connection, and for each piece of an answer.

    Raises
    ------
    SettingsError
        When the address or the file cannot be used.
    """
    return httpx.Client(
        verify=_verification(url, ca),
        timeout=timeout_s,
        follow_redirects=False,
        headers={"accept-encoding": "identity"},
        event_hooks={"response": [_Bounding(limit)]},
    )


def too_long(limit: int) -> PeerError:
    """Return the error for a message that is longer than *limit* bytes."""
    return PeerError(
        f"The coordinator sent more than {limit} bytes, which is more than this device's "
        "model can need; it was not read."
    )


def _verification(url: str, ca: Path | None) -> ssl.SSLContext | bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SettingsError(f"The coordinator's url {url!r} is not an address: {error}.") from error
    if parsed.scheme == "http" and parsed.host in _LOOPBACK:
        return False
    if parsed.scheme != "https" or not parsed.host:
        raise SettingsError(
            f"The coordinator's url {url!r} must begin with https://; "
            "http:// goes to this machine only."
        )
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise SettingsError(f"The coordinator's ca file {ca} cannot be used: {error}.") from error


class _Bounding:
    """Make reading an answer fail once it is longer than anything that is wanted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def __call__(self, response: httpx.Response) -> None:
        if "content-encoding" in response.headers or not isinstance(
            response.stream, httpx.SyncByteStream
        ):
            raise PeerError("The coordinator compresses its answers, which was not asked for.")
        response.stream = _Bounded(response.stream, self._limit)


class _Bounded(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        left = self._limit
        for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise too_long(self._limit)
            yield chunk

    def close(self) -> None:
        self._stream.close()
