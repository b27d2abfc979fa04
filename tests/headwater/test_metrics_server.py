from __future__ import annotations

import logging
import os
import socket
import stat
import threading
from pathlib import Path

import httpx
import pytest

from headwater import metrics_server
from headwater.metrics_server import MAX_REQUEST_BYTES, serving, shown, writing
from headwater.metrics_settings import MetricsSettings
from tests.conftest import free_port

HERE = ("127.0.0.1", 0)


def ask(address: tuple[str, int], request: bytes) -> bytes:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
        return answer


def test_the_metrics_are_answered_with_their_type() -> None:
    with serving(HERE, lambda: b"up 1\n") as (host, port):
        answer = httpx.get(f"http://{host}:{port}/metrics?x=1")
    assert answer.text == "up 1\n"
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"404"),
        (b"\r\n\r\n", b"400"),
        (b"\xff\x00 nonsense\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\n" + b"x" * MAX_REQUEST_BYTES, b"400"),
    ],
)
def test_anything_else_is_refused(request_: bytes, status: bytes) -> None:
    with serving(HERE, lambda: b"up 1\n") as address:
        assert ask(address, request_).split(b" ")[1] == status
        assert b"up 1" in ask(address, b"GET /metrics HTTP/1.1\r\n\r\n")


def test_one_who_says_nothing_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "REQUEST_S", 0.2)
    with (
        serving(HERE, lambda: b"up 1\n") as address,
        socket.create_connection(address),
        socket.create_connection(address) as second,
    ):
        second.sendall(b"GET /met")
        assert b"up 1" in ask(address, b"GET /metrics HTTP/1.1\r\n\r\n")


def test_figures_that_cannot_be_made_end_one_answer_only() -> None:
    answers = iter([b"up 1\n"])
    with serving(HERE, lambda: next(answers)) as address:
        assert b"up 1" in ask(address, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert ask(address, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        assert b"404" in ask(address, b"GET / HTTP/1.1\r\n\r\n")


def test_a_file_is_replaced_again_and_again_for_everyone_to_read(tmp_path: Path) -> None:
    os.umask(0o027)
    path = tmp_path / "hw.prom"
    written = threading.Semaphore(0)
    count = iter(range(1_000))

    def fresh() -> bytes:
        written.release()
        return f"n {next(count)}\n".encode()

    with writing(path, 0.01, fresh):
        for _ in range(3):
            assert written.acquire(timeout=10)
        assert path.read_bytes().startswith(b"n ")
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tried = threading.Semaphore(0)

    def fresh() -> bytes:
        tried.release()
        return b""

    with writing(tmp_path / "missing" / "hw.prom", 0.01, fresh):
        for _ in range(3):
            assert tried.acquire(timeout=10)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_port_that_is_taken_is_said_and_the_file_is_written_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(HERE) as taken:
        port = taken.getsockname()[1]
        settings = MetricsSettings(listen=f"127.0.0.1:{port}", textfile=tmp_path / "hw.prom")
        with shown(settings, lambda: b"up 1\n"):
            pass
    assert f"metrics.listen: 127.0.0.1:{port}" in caplog.text


def test_what_is_shown_is_what_the_settings_name() -> None:
    port = free_port()
    settings = MetricsSettings(listen=f"127.0.0.1:{port}")
    with shown(settings, lambda: b"up 1\n"):
        assert b"up 1" in ask(("127.0.0.1", port), b"GET /metrics HTTP/1.1\r\n\r\n")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


def test_an_address_of_version_6_is_listened_on() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with serving(("::1", 0), lambda: b"up 1\n") as address:
        assert b"up 1" in ask(address, b"GET /metrics HTTP/1.1\r\n\r\n")
