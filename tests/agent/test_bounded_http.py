from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headwater.errors import PeerError, SettingsError
from headwater_agent.bounded_http import bounded_client


class Handler(BaseHTTPRequestHandler):
    """Answers ``/N`` with N bytes, ``/gzip`` compressed, ``/away`` with a redirect."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        what = self.path[1:]
        body = bytes(int(what)) if what.isdigit() else b""
        self.send_response(302 if what == "away" else 200)
        if what == "away":
            self.send_header("Location", "/5")
        if what == "gzip":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_an_answer_within_the_bound_is_read(url: str) -> None:
    with bounded_client(url, ca=None, limit=100) as client:
        assert len(client.get(f"{url}/100").content) == 100


def test_a_longer_one_is_cut_off(url: str) -> None:
    with (
        bounded_client(url, ca=None, limit=100) as client,
        pytest.raises(PeerError, match="more than 100 bytes"),
    ):
        client.get(f"{url}/101")


def test_a_compressed_one_is_refused(url: str) -> None:
    with (
        bounded_client(url, ca=None, limit=100) as client,
        pytest.raises(PeerError, match="compresses"),
    ):
        client.get(f"{url}/gzip")


def test_a_redirect_is_not_followed(url: str) -> None:
    with bounded_client(url, ca=None, limit=100) as client:
        assert client.get(f"{url}/away").status_code == 302


@pytest.mark.parametrize(
    "address", ["http://10.0.0.1", "ftp://host", "https://", "http://evil/127.0.0.1", "127.0.0.1"]
)
def test_another_address_than_https_or_this_machine_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="coordinator's url"):
        bounded_client(address, ca=None, limit=100)


def test_a_certificate_file_that_is_not_one_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "ca.crt"
    wrong.write_text("no certificate")
    with pytest.raises(SettingsError, match=r"ca file .*ca\.crt cannot be used"):
        bounded_client("https://host", ca=wrong, limit=100)
