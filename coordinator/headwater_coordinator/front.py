"""The only door for devices: eight paths of Flower's Fleet API, and nothing else.

The SuperLink serves Fleet, Control and Runtime API on one port, and its Control API starts any
code for anyone who can reach it. So it listens on loopback, and this ASGI application stands in
front of it: a request whose raw path is, byte for byte, one of the table goes to the address in
the table (never to one made from the request); every other one ends here with an empty 404.
There is nothing to normalise, so there is nothing to get wrong in it.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from headwater_coordinator.limits import Peers
from headwater_coordinator.settings import Front

FLEET_PATHS = tuple(
    f"/v1/fleet/{name}".encode()
    for name in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "pull-object",
        "push-object",
        "confirm-message-received",
    )
)
"""What devices may ask. Not here: registration (``headwater coordinator enrol`` does it), the
run's description, and code."""

HEALTH_PATH = b"/health"

_PROTOBUF = b"application/protobuf"
_ASKED = frozenset({"accept", "flwr-public-key", "flwr-signature", "flwr-timestamp"})
"""Request headers that go on to the SuperLink; all others stop here."""
_ANSWERED = frozenset({"content-type", "content-length"})
"""Response headers that come back."""

_log = logging.getLogger(__name__)


class FrontApp:
    """The ASGI application.

    Parameters
    ----------
    upstream
        Client whose base URL is the SuperLink's.
    settings
        Limits; where the server listens is not this object's business.
    clock
        Monotonic seconds, for the rate limit.
    """

    def __init__(
        self, upstream: httpx.AsyncClient, settings: Front, clock: Callable[[], float]
    ) -> None:
        self._upstream = upstream
        self._max_body = settings.max_body
        self._peers = Peers(settings.rate, settings.burst, settings.concurrency)
        self._clock = clock
        self._routes: Mapping[bytes, str] = {path: path.decode() for path in FLEET_PATHS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and count it against its peer until the answer is sent."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        peer = request.client.host if request.client else ""
        with self._peers.admitted(peer, self._clock()) as admitted:
            if admitted:
                response = await self._answer(request)
            else:
                response = Response(status_code=429, headers={"retry-after": "1"})
            await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        target = _target(request.scope)
        if target == HEALTH_PATH and request.method == "GET":
            return PlainTextResponse("ok\n")
        path = self._routes.get(target)
        if path is None:
            return Response(status_code=404)
        if request.method != "POST":
            return Response(status_code=405, headers={"allow": "POST"})
        if _content_type(request) != _PROTOBUF or "content-encoding" in request.headers:
            return Response(status_code=415)
        return await self._forwarded(request, path)

    async def _forwarded(self, request: Request, path: str) -> Response:
        try:
            body = await self._body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return Response(status_code=413, headers={"connection": "close"})
        headers = {name: value for name, value in request.headers.items() if name in _ASKED}
        headers["content-type"] = _PROTOBUF.decode()
        asked = self._upstream.build_request("POST", path, content=body, headers=headers)
        try:
            answer = await self._upstream.send(asked, stream=True)
        except httpx.TransportError as error:
            _log.warning("the SuperLink does not answer: %s", str(error) or type(error).__name__)
            return Response(status_code=503, headers={"retry-after": "2"})
        return StreamingResponse(
            _content(answer),
            status_code=answer.status_code,
            headers={name: value for name, value in answer.headers.items() if name in _ANSWERED},
        )

    async def _body(self, request: Request) -> bytes | None:
        """Read the body; None when it is larger than is read at all."""
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > self._max_body:
            return None
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._max_body:
                return None
        return bytes(body)


async def _content(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


def _target(scope: Scope) -> bytes:
    """Return the request's target as it stood on the wire, with its query."""
    raw = cast("bytes", scope.get("raw_path") or b"")
    query = cast("bytes", scope.get("query_string") or b"")
    return raw + b"?" + query if query else raw


def _content_type(request: Request) -> bytes:
    return request.headers.get("content-type", "").encode("latin-1")


@asynccontextmanager
async def superlink_client(port: int, authority: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Open the pool of connections to the SuperLink, whose certificate is verified."""
    async with httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{port}",
        verify=ssl.create_default_context(cafile=authority),
        timeout=httpx.Timeout(30.0, connect=5.0),
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
        headers={"accept-encoding": "identity"},
        follow_redirects=False,
        trust_env=False,
    ) as client:
        yield client
