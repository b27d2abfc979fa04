"""A real SuperLink for tests: TLS, node authentication, SQLite; and a server app driven by hand."""

from __future__ import annotations

import datetime as dt
import io
import ipaddress
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.message.array import Array
from flwr.common.serde import fab_to_proto, run_from_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
)
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid.http_grid import HttpGrid
from numpy.typing import NDArray

from tests.conftest import free_port, wait_for_port

_APP = b"""
[project]
name = "nothing"
version = "1.0.0"
description = "Never run"
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "tests"
[tool.flwr.app.components]
serverapp = "nothing:app"
clientapp = "nothing:app"
[tool.flwr.app.config]
"""


def _bundle() -> bytes:
    """Return a Flower app bundle without an app: the SuperLink starts a run for it all the same."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pyproject.toml", _APP)
    return file.getvalue()


def make_certificates(folder: Path) -> None:
    """Write ``ca.crt``, ``server.crt`` and ``server.key`` for the loopback."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = dt.datetime.now(dt.UTC)

    def signed(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, authority: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    (folder / "ca.crt").write_bytes(signed(ca, ca_key.public_key(), authority=True))
    (folder / "server.crt").write_bytes(signed(server, key.public_key(), authority=False))
    (folder / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class SuperLink:
    """A SuperLink process of the test's own, on a loopback port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca = folder / "ca.crt"
        make_certificates(folder)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, again on the same database; return once it listens."""
        program = Path(sys.executable).with_name("flower-superlink")
        with (self.folder / "superlink.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(program),
                    *("--host", "127.0.0.1", "--port", str(self.port)),
                    *("--ssl-ca-certfile", str(self.ca)),
                    *("--ssl-certfile", str(self.folder / "server.crt")),
                    *("--ssl-keyfile", str(self.folder / "server.key")),
                    *("--database", str(self.folder / "superlink.db")),
                    *("--isolation", "process", "--enable-supernode-auth"),
                    "--disable-runtime-dependency-installation",
                ],
                stdout=log,
                stderr=log,
                env=os.environ
                | {
                    "FLWR_HOME": str(self.folder / "flwr"),
                    "FLWR_TELEMETRY_ENABLED": "0",
                    "PYTHONUNBUFFERED": "1",
                    "FLWR_DISABLE_UPDATE_CHECK": "1",
                },
            )
        wait_for_port(self.port, seconds=60)

    def stop(self) -> None:
        """Kill it without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def control(self) -> ControlHttpClient:
        """Return a client of the Control API."""
        return ControlHttpClient.from_server_address(
            f"127.0.0.1:{self.port}", False, self.ca.read_bytes(), interceptors=[]
        )

    def enrol(self, public: Path) -> int:
        """Register the key in an OpenSSH public key file, as ``flwr supernode register`` does."""
        key = serialization.load_ssh_public_key(public.read_bytes())
        pem = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with self.control() as control:
            return control.RegisterNode(RegisterNodeRequest(public_key=pem)).node_id

    def status(self, node: int) -> str:
        """Return what the SuperLink thinks of a node: registered, online, offline."""
        with self.control() as control:
            nodes = control.ListNodes(ListNodesRequest()).nodes_info
        return str(next(found.status for found in nodes if found.node_id == node))


class ServerApp:
    """A run whose server app is the test itself."""

    def __init__(self, link: SuperLink) -> None:
        self._link = link
        with link.control() as control:
            request = StartRunRequest(fab=fab_to_proto(Fab("", _bundle(), {})))
            self.run_id = control.StartRun(request).run_id
        address = f"127.0.0.1:{link.port}"
        ca = link.ca.read_bytes()
        with RuntimeHttpClient.from_server_address(address, False, ca, interceptors=[]) as runtime:
            types = [TaskType.SERVER_APP]
            token = runtime.AcquireTask(AcquireTaskRequest(supported_task_types=types)).token
        self._grid = HttpGrid(address, False, ca, token=token)
        task = self._grid._runtime_client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = task.task_id, task.run.run_id
        TaskIdentity.node_id = task.context.node_id
        self._grid.set_run(run_from_proto(task.run))

    def send(
        self, node: int, kind: str, fields: bytes, array: NDArray[np.float32] | None = None
    ) -> str:
        """Send a message as the protocol has it; return its id."""
        content = RecordDict({"headwater": ConfigRecord({"fields": fields})})
        if array is not None:
            content["arrays"] = ArrayRecord({"arrays": Array(array)})
        return self.send_records(node, kind, content)

    def send_records(self, node: int, kind: str, content: RecordDict) -> str:
        """Send any message; return its id."""
        (name,) = self._grid.push_messages([Message(content, node, kind)])
        return name

    def receive(self, name: str, seconds: float = 30.0) -> Message:
        """Wait for the reply to a message."""
        deadline = time.monotonic() + seconds
        while True:
            for message in self._grid.pull_messages([name]):
                return message
            assert time.monotonic() < deadline, f"no reply to {name}"
            time.sleep(0.1)

    def stop(self) -> None:
        """End the run, as when the coordinator starts a new one."""
        with self._link.control() as control:
            control.StopRun(StopRunRequest(run_id=self.run_id))

    def close(self) -> None:
        """Hang up."""
        self._grid.close()
