"""Through the front pass eight paths, byte for byte; nothing else reaches the SuperLink."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_coordinator.front import FLEET_PATHS, FrontApp
from headwater_coordinator.settings import Front

FORBIDDEN = (
    "/",
    "/docs",
    "/openapi.json",
    "/health/",
    "/v1/fleet",
    "/v1/fleet/",
    "/v1/fleet/register-node",
    "/v1/fleet/unregister-node",
    "/v1/fleet/get-run",
    "/v1/fleet/get-fab",
    "/v1/control/start-run",
    "/v1/control/register-node",
    "/v1/control/list-nodes",
    "/v1/runtime/acquire-task",
    "/v1/runtime/pull-messages",
)
TRICKS = (
    "/v1/fleet/../control/start-run",
    "/v1/fleet/%2e%2e/control/start-run",
    "/v1/fleet/..%2fcontrol/start-run",
    "/v1/fleet/pull-messages/../../control/start-run",
    "//v1/control/start-run",
    "/v1//fleet/pull-messages",
    "/v1/fleet//pull-messages",
    "/v1/./fleet/pull-messages",
    "/v1/fleet/pull-messages/",
    "/v1/fleet/pull-messages?x=1",
    "/v1/fleet/pull-messages;x=1",
    "/v1/fleet/pull%2dmessages",
    "/v1/fleet/pull-message%73",
    "/%76%31/fleet/pull-messages",
    "/V1/fleet/pull-messages",
    "/v1/fleet/PULL-MESSAGES",
    "/v1/fleet/pull-messages%00",
    "/v1/fleet/pull-messages%20",
    "/v1/fleet/pull-messages\\",
    "/v1\\fleet\\pull-messages",
    "https://elsewhere/v1/fleet/pull-messages",
    "v1/fleet/pull-messages",
    "*",
    "",
)
PROTOBUF = [(b"content-type", b"application/protobuf")]


class SuperLink:
    """An upstream that writes down what reached it."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        headers = {"content-type": "application/protobuf", "content-length": "6", "server": "x"}
        return httpx.Response(200, stream=httpx.ByteStream(b"answer"), headers=headers)


class Answer:
    """What an ASGI application sent back."""

    status = 0
    body = b""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


def ask(
    upstream: Any,
    target: bytes,
    *,
    method: str = "POST",
    headers: Iterable[tuple[bytes, bytes]] = PROTOBUF,
    body: Iterable[bytes] = (b"question",),
    settings: Front | None = None,
    times: int = 1,
) -> Answer:
    """Send a request as a server would hand it over, its raw target untouched."""
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(headers),
        "client": ("192.0.2.7", 5),
        "server": ("127.0.0.1", 1),
    }
    return asyncio.run(_ask(upstream, scope, list(body), settings or Front(), times))


async def _ask(
    upstream: Any, scope: dict[str, Any], body: list[bytes], settings: Front, times: int
) -> Answer:
    transport = httpx.MockTransport(upstream)
    async with httpx.AsyncClient(transport=transport, base_url="https://superlink") as client:
        app = FrontApp(client, settings, lambda: 0.0)
        for _ in range(times):
            answer = await _once(app, scope, list(body))
    return answer


async def _once(app: FrontApp, scope: dict[str, Any], chunks: list[bytes]) -> Answer:
    answer = Answer()

    async def receive() -> dict[str, Any]:
        if not chunks:
            await asyncio.sleep(3600)
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


@pytest.mark.parametrize("path", FLEET_PATHS, ids=lambda path: path.decode())
def test_the_fleet_api_that_a_device_needs_passes(path: bytes) -> None:
    upstream = SuperLink()
    answer = ask(upstream, path)
    assert (answer.status, answer.body) == (200, b"answer")
    (request,) = upstream.requests
    assert (request.method, request.url.raw_path, request.content) == ("POST", path, b"question")


@pytest.mark.parametrize("path", FORBIDDEN + TRICKS)
def test_every_other_path_ends_at_the_front(path: str) -> None:
    upstream = SuperLink()
    answer = ask(upstream, path.encode("latin-1"))
    assert (answer.status, answer.body) == (404, b"")
    assert upstream.requests == []


@given(st.binary(max_size=60))
def test_no_other_bytes_reach_the_superlink(target: bytes) -> None:
    upstream = SuperLink()
    ask(upstream, target)
    assert len(upstream.requests) == (target in FLEET_PATHS)


@given(
    path=st.sampled_from(FLEET_PATHS),
    position=st.integers(1, 60),
    change=st.sampled_from(["encode", "double", "upper", "dot", "drop", "insert"]),
)
def test_no_path_that_is_almost_right_reaches_the_superlink(
    path: bytes, position: int, change: str
) -> None:
    at = position % len(path)
    one = path[at : at + 1]
    new = {
        "encode": b"%%%02x" % one[0],
        "double": quote(f"%{one[0]:02x}").encode(),
        "upper": one.upper(),
        "dot": b"/./",
        "drop": b"",
        "insert": one + b"/",
    }[change]
    target = path[:at] + new + path[at + 1 :]
    upstream = SuperLink()
    ask(upstream, target)
    assert len(upstream.requests) == (target in FLEET_PATHS)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_only_post_passes(method: str) -> None:
    upstream = SuperLink()
    assert ask(upstream, FLEET_PATHS[0], method=method).status == 405
    assert upstream.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"application/json")],
        [(b"content-type", b"application/protobuf; charset=x")],
        [*PROTOBUF, (b"content-encoding", b"gzip")],
    ],
)
def test_only_plain_protobuf_passes(headers: list[tuple[bytes, bytes]]) -> None:
    upstream = SuperLink()
    assert ask(upstream, FLEET_PATHS[0], headers=headers).status == 415
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([*PROTOBUF, (b"content-length", b"70000")], [b"x"]),
        ([*PROTOBUF, (b"content-length", b"many")], [b"x"]),
        (PROTOBUF, [b"x" * 40_000, b"x" * 40_000]),
    ],
    ids=["announced", "nonsense", "streamed"],
)
def test_a_body_that_is_too_large_is_not_read_to_its_end(
    headers: list[tuple[bytes, bytes]], body: list[bytes]
) -> None:
    upstream = SuperLink()
    settings = Front(max_body=65_536)
    assert (
        ask(upstream, FLEET_PATHS[0], headers=headers, body=body, settings=settings).status == 413
    )
    assert upstream.requests == []


def test_headers_that_flower_does_not_need_stop_at_the_front() -> None:
    upstream = SuperLink()
    passing = {"flwr-public-key": "k", "flwr-signature": "s", "flwr-timestamp": "t"}
    stopped = {
        "connection": "keep-alive, flwr-signature",
        "transfer-encoding": "chunked",
        "upgrade": "h2c",
        "cookie": "c",
        "x-forwarded-for": "127.0.0.1",
        "flwr-task-token": "token",
        "flwr-superexec-signature": "x",
        "host": "elsewhere",
    }
    sent = [(k.encode(), v.encode()) for k, v in {**passing, **stopped}.items()]
    answer = ask(upstream, FLEET_PATHS[0], headers=[*PROTOBUF, *sent])

    (request,) = upstream.requests
    assert {name: request.headers[name] for name in passing} == passing
    for name in set(stopped) - {"host", "connection"}:
        assert name not in request.headers
    assert request.headers["host"] == "superlink"
    assert set(answer.headers) == {"content-type", "content-length"}


def test_a_peer_that_asks_too_often_waits() -> None:
    upstream = SuperLink()
    answer = ask(upstream, FLEET_PATHS[0], settings=Front(burst=2), times=3, body=[b""])
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert len(upstream.requests) == 2


def test_a_superlink_that_is_away_is_no_ones_fault() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    assert ask(away, FLEET_PATHS[0]).status == 503


def test_health_is_answered_here() -> None:
    upstream = SuperLink()
    answer = ask(upstream, b"/health", method="GET", headers=[])
    assert (answer.status, answer.body) == (200, b"ok\n")
    assert ask(upstream, b"/health").status == 404
    assert upstream.requests == []
