"""A real coordinator: SuperLink, SuperExec, ServerApp and front, and devices that come to it."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

from headwater import wire
from headwater.clock import now_ms
from headwater_coordinator.audit import audit
from headwater_coordinator.front import FLEET_PATHS
from headwater_coordinator.home import Home
from headwater_coordinator.location import SQLITE, with_url
from headwater_coordinator.lock import holder
from headwater_coordinator.status import Status, read_quarantine, read_status
from headwater_coordinator.supervisor import PROBE_EVERY_S, PROBE_S
from headwater_models.arrays import packed_size
from headwater_models.bundle import Bundle
from headwater_models.keys import SigningKey
from headwater_models.requested import Answer
from headwater_models.signing import sign_model
from tests.conftest import free_port
from tests.coordinator.devices import Floats, Sent, SimulatedDevice, Spoil
from tests.coordinator.test_front import FORBIDDEN, TRICKS
from tests.coordinator.test_superlink import lives
from tests.models.bundles import tiny

pytestmark = pytest.mark.system

LIMIT_S = 90.0
FAST = """
[superlink]
poll = "200ms"
port = {superlink}
[front]
port = {front}
[federation]
pause = "500ms"
deadline = "6s"
message_ttl = "60s"
[gate]
deadline = "6s"
"""


def eventually(holds: Callable[[], bool], what: str, seconds: float = LIMIT_S) -> None:
    """Wait until something holds; say what did not."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)


class Served:
    """A coordinator in its folder, served by the real command."""

    def __init__(self, folder: Path, bundle: Bundle | None = None, database: str = SQLITE) -> None:
        self.folder = folder
        self.home = Home(folder / "home")
        self.port, self.superlink_port = free_port(), free_port()
        (bundle or tiny()).save(folder / "bundle")
        made_with = ("--bundle", str(folder / "bundle"), "--database", database)
        self.run("init", str(self.home.root), *made_with)
        text = FAST.format(front=self.port, superlink=self.superlink_port)
        self.home.settings.write_text(with_url(text, database))
        self.bundle = Bundle.load(self.home.bundle)
        self.process: subprocess.Popen[bytes]
        self.said = folder / "said"

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "headwater", "coordinator", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def start(self) -> None:
        command = [sys.executable, "-m", "headwater", "coordinator", "serve", "--home"]
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [*command, str(self.home.root)], stdout=said, stderr=said, start_new_session=True
            )
        eventually(lambda: "Listening on" in self.said.read_text(), "serve listens")

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(40)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def status(self) -> Status:
        return read_status(self.home.books)

    def device(
        self, name: str, target: float, spoil: Spoil = lambda reply, vector: (reply, vector)
    ) -> SimulatedDevice:
        wanted = np.full(packed_size(self.bundle.manifest), target, np.float32)
        device = SimulatedDevice(name, self.folder / name, self.bundle, wanted, spoil)
        self.enrol(device)
        return device

    def enrol(self, device: SimulatedDevice) -> None:
        self.run("enrol", str(device.public_key), "--home", str(self.home.root))

    def relatives(self) -> list[int]:
        """Processes that have this coordinator's folder or port in their command line."""
        marks = (str(self.home.root).encode(), f":{self.superlink_port}".encode())
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    line = (entry / "cmdline").read_bytes()
                    if any(mark in line for mark in marks) and lives(int(entry.name)):
                        found.append(int(entry.name))
        return found

    def superlinks(self) -> list[int]:
        """Its SuperLinks; one, unless it is just started again."""
        return [
            pid
            for pid in self.relatives()
            if b"flower-superlink" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    coordinator = Served(tmp_path)
    coordinator.start()
    yield coordinator
    if coordinator.process.poll() is None:
        coordinator.stop()


@contextlib.contextmanager
def connected(served: Served, *devices: SimulatedDevice) -> Iterator[None]:
    for device in devices:
        device.start(served.url, served.home.authority)
    try:
        yield
    finally:
        for device in devices:
            device.stop()


def babbling() -> Spoil:
    """Answer as a program that does not speak the protocol: garbage, then far too much."""
    answers = iter([(b"\xff\x00 not a reply", None), (b"{}", np.zeros(500_000, np.float32))])

    def babble(reply: wire.Reply, vector: Floats | None) -> Sent:
        return next(answers, (reply, vector)) if isinstance(reply, wire.Update) else (reply, vector)

    return babble


def poison(reply: wire.Reply, vector: Floats | None) -> Sent:
    """Answer as a device whose training went wrong."""
    if isinstance(reply, wire.Update) and vector is not None:
        vector = np.full_like(vector, np.nan)
    return reply, vector


def boast(reply: wire.Reply, vector: Floats | None) -> Sent:
    """Answer as a device that counts its examples wrong."""
    if isinstance(reply, wire.Update):
        reply = msgspec.structs.replace(reply, examples=10**9)
    return reply, vector


def reasons(served: Served, device: str) -> list[str]:
    """Why replies of a device were refused, the newest first."""
    return [one.reason for one in served.status.refusals if one.device == device]


def test_a_fleet_is_served_through_everything_that_goes_wrong(served: Served) -> None:
    devices = [served.device(name, target) for name, target in (("a", 0.9), ("b", 1.1))]
    broken = served.device("broken", 1.0, poison)
    stranger = served.device("stranger", 1.0, babbling())

    with connected(served, *devices, broken, stranger):
        eventually(lambda: served.status.releases >= 2, "two releases")
        eventually(
            lambda: all(len(device.releases) >= 2 for device in devices), "devices take releases"
        )
        eventually(
            lambda: len(reasons(served, "stranger")) >= 2 and bool(reasons(served, "broken")),
            "both are refused",
        )
    assert reasons(served, "broken")[-1].endswith("are not finite (NaN or infinity).")
    assert "The device sent more than" in reasons(served, "stranger")[0]
    assert "a message that the protocol lacks" in reasons(served, "stranger")[1]
    malformed = {one.device: one for one in read_quarantine(served.home.books) if one.malformed}
    assert set(malformed) == {"broken", "stranger"}
    assert all(0 < one.kept <= one.nbytes for one in malformed.values())
    assert all(device.errors == [] for device in (*devices, broken))
    sequences = [statement.sequence for statement in devices[0].releases]
    assert sequences == sorted(set(sequences))

    # The ServerApp is killed; a new one goes on from the books.
    before = served.status
    app = holder(served.home.lock)
    assert app is not None
    os.kill(app, signal.SIGKILL)
    eventually(lambda: holder(served.home.lock) not in (None, app), "a new ServerApp works")
    steady = [served.device(name, 1.2) for name in ("c", "d")]
    vanishing = served.device("vanishing", 1.0)
    with connected(served, *steady, vanishing):
        eventually(lambda: bool(vanishing.answered), "the vanishing device answers once")
        vanishing.stop(leave=False)
        rounds = served.status.rounds
        eventually(lambda: served.status.rounds >= rounds + 2, "rounds go on without it")
        eventually(lambda: served.status.sequence > before.sequence, "a release after the kill")
    books = sqlite3.connect(served.home.database)
    twice = books.execute(
        "SELECT node, sequence FROM updates GROUP BY node, sequence HAVING count(*) > 1"
    ).fetchall()
    books.close()
    assert twice == []

    shown = msgspec.json.decode(
        served.run("status", "--home", str(served.home.root), "--json"), type=Status
    )
    assert {device.device for device in shown.devices} >= {"a", "b", "broken", "c", "d"}

    # Ctrl-C ends everything.
    assert served.stop() == 0
    eventually(lambda: served.relatives() == [], "no process is left", 10)
    for port in (served.port, served.superlink_port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


def test_what_a_person_decides_is_answered_by_the_coordinator_that_runs(served: Served) -> None:
    devices = [served.device("a", 0.9), served.device("boastful", 1.1, boast)]
    there = ("--home", str(served.home.root), "--json", "--reason", "seen")

    def decide(*command: str) -> Answer:
        return msgspec.json.decode(served.run(*command, *there), type=Answer)

    with connected(served, *devices):
        eventually(lambda: len(read_quarantine(served.home.books)) >= 2, "two are in quarantine")
        newest, *_, oldest = read_quarantine(served.home.books)
        assert decide("quarantine", "drop", str(oldest.id)).done
        answer = decide("quarantine", "release", str(newest.id))
        assert answer.done
        assert f"Update {newest.sequence} of boastful is accepted" in answer.text
        eventually(lambda: served.status.releases >= 1, "a release of both")
        assert "is dropped" in decide("forget", "boastful").text
        assert "is asked again" in decide("readmit", "boastful").text

    decided = [entry.kind for entry in audit(served.home) if entry.words.endswith("seen")]
    assert decided == ["drop", "accept", "forget", "readmit"]


def test_a_release_key_is_replaced_while_the_fleet_goes_on(served: Served) -> None:
    devices = [served.device(name, target) for name, target in (("a", 0.9), ("b", 1.1))]
    new = SigningKey.create(served.folder / "new.key")
    publisher = SigningKey.load(served.home.publisher_key)
    statement = served.folder / "model.sig.json"
    with connected(served, *devices):
        eventually(lambda: served.status.releases >= 1, "a release of the old key")
        app = holder(served.home.lock)
        model = served.bundle.model_id
        statement.write_text(
            sign_model(publisher, model=model, release_keys=[new.public], created=now_ms())
        )
        said = served.run(
            "renew", str(statement), "--release-key", str(served.folder / "new.key"),
            "--home", str(served.home.root), "--json",
        )  # fmt: skip
        answer = msgspec.json.decode(said, type=Answer)
        assert answer.done
        assert "signed anew" in answer.text
        eventually(
            lambda: all(one.releases and one.releases[-1].key == new.public for one in devices),
            "devices take what the new key signs",
        )
        sequence = served.status.sequence
        for one in devices:
            one.target += np.float32(0.5)
        eventually(lambda: served.status.sequence > sequence, "a release after the change")
        assert holder(served.home.lock) == app, "nothing was started again"
    assert all(device.errors == [] for device in devices)
    assert "All" in served.run("audit", "--verify", "--home", str(served.home.root))


def test_only_the_fleet_api_is_reached_through_the_front(served: Served) -> None:
    context = ssl.create_default_context(cafile=served.home.authority)

    def ask(port: int, target: str) -> tuple[int, bytes]:
        """Send a target as it stands; no client library may straighten it."""
        with contextlib.closing(
            http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
        ) as connection:
            connection.putrequest("POST", "/", skip_accept_encoding=True)
            connection._buffer[0] = f"POST {target} HTTP/1.1".encode("latin-1")  # type: ignore[attr-defined]
            connection.putheader("Content-Type", "application/protobuf")
            connection.putheader("Content-Length", "0")
            connection.endheaders()
            response = connection.getresponse()
            return response.status, response.read()

    assert ask(served.superlink_port, "/v1/control/list-nodes")[0] == 200, "it is open behind"
    assert ask(served.superlink_port, "/nothing")[1] != b"", "the SuperLink's own 404 has a body"
    for target in FORBIDDEN + TRICKS:
        unparsed = (400, b"Invalid HTTP request received.")
        assert ask(served.port, target or " ") in ((404, b""), unparsed), target
    for path in FLEET_PATHS:
        assert ask(served.port, path.decode())[0] == 401, "Flower asks for the node's signature"


def test_a_coordinator_that_is_killed_leaves_no_process(served: Served) -> None:
    assert len(served.relatives()) >= 3
    served.stop(signal.SIGKILL)
    eventually(lambda: served.relatives() == [], "no process is left")


def test_a_superlink_that_is_killed_is_started_again(served: Served) -> None:
    devices = [served.device("a", 1.0), served.device("b", 1.0)]
    with connected(served, *devices):
        eventually(lambda: served.status.releases >= 1, "a release")
        (superlink,) = served.superlinks()
        rounds = served.status.rounds
        os.kill(superlink, signal.SIGKILL)
        eventually(lambda: served.status.rounds >= rounds + 1, "rounds go on")


def test_a_superlink_that_hangs_is_killed_and_one_that_halts_for_a_while_is_not(
    served: Served,
) -> None:
    devices = [served.device("a", 1.0), served.device("b", 1.0)]
    with connected(served, *devices):
        eventually(lambda: served.status.releases >= 1, "a release")
        (superlink,) = served.superlinks()
        os.kill(superlink, signal.SIGSTOP)
        time.sleep(PROBE_S + 2 * PROBE_EVERY_S)
        os.kill(superlink, signal.SIGCONT)
        rounds = served.status.rounds
        eventually(lambda: served.status.rounds >= rounds + 1, "rounds go on after a halt")
        assert served.superlinks() == [superlink]

        os.kill(superlink, signal.SIGSTOP)
        eventually(lambda: served.superlinks() != [superlink], "it is killed", 3 * LIMIT_S)
        rounds = served.status.rounds
        eventually(lambda: served.status.rounds >= rounds + 2, "rounds go on", 2 * LIMIT_S)
    assert not lives(superlink)
    assert "does not answer; killing it" in served.said.read_text()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    coordinator = Served(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", coordinator.port))
        taken.listen()
        result = subprocess.run(
            [sys.executable, "-m", "headwater", "coordinator", "serve", "--home",
             str(coordinator.home.root)],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
    assert result.returncode == 3
    assert f"front.port {coordinator.port} cannot be used" in result.stderr
    assert coordinator.relatives() == []
