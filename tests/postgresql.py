"""A PostgreSQL server of the tests' own: unprivileged, on a socket in a temporary folder."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.conftest import free_port

PASSWORD = "not in any log"
_INSTALLED = sorted(
    Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
)


def installed() -> bool:
    """Whether the server's programs are on this machine."""
    return bool(_INSTALLED)


class PostgresqlServer:
    """A server that can be killed and started again.

    It trusts who comes over its socket, and asks who comes over loopback for :data:`PASSWORD`.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="headwater-pg-"))
        self.port = free_port()
        self._user = "postgres" if os.geteuid() == 0 else None  # it refuses root
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            *("initdb", "--pgdata", str(self.folder / "data"), "--username", "owner", "--no-sync"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--pwfile", str(password)),
            *("--auth-local", "trust", "--auth-host", "scram-sha-256"),
        ).wait()
        self.process: subprocess.Popen[bytes]
        self.start()

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(_INSTALLED[-1] / program), *arguments],
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        """Start it, and return when it answers."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",  # a killed server loses nothing by it, only a killed machine
            "shared_buffers": "16MB",
            "max_connections": "40",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self.process = self._run("postgres", "-D", str(self.folder / "data"), *settings)
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url()).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End it as a crash does: nothing is written any more, every connection is cut."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """Stop it, and remove all that it left."""
        if self.process.poll() is None:
            self._end(signal.SIGINT)
        shutil.rmtree(self.folder)

    def _end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(60)

    def url(self, schema: str = "public") -> str:
        """Return the URL that leads to a schema over the socket."""
        options = quote(f"-csearch_path={schema}", safe="")
        host = quote(str(self.folder), safe="")
        return f"postgresql://owner@/postgres?host={host}&port={self.port}&options={options}"

    def loopback(self, schema: str) -> str:
        """Return the URL that leads to a schema over loopback, where the password is asked for."""
        options = quote(f"-csearch_path={schema}", safe="")
        return f"postgresql://owner@127.0.0.1:{self.port}/postgres?options={options}"

    def new_schema(self) -> str:
        """Make an empty schema; it goes with the server."""
        name = f"test_{secrets.token_hex(8)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return name
