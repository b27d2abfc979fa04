from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from headwater.errors import BundleError
from headwater_agent.systemd import Notifier
from tests.agent.test_runtime import prepare
from tests.conftest import free_port
from tests.models.bundles import CREATED, PUBLISHER, RELEASE, tiny


class Manager:
    """What systemd is to a service: a socket that it says things to."""

    def __init__(self, address: str) -> None:
        self.environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "HOME": "/"}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """Everything that was said since the last call, line by line."""
        lines: list[str] = []
        while True:
            try:
                lines += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines

    def until(self, wanted: str, seconds: float = 60) -> list[str]:
        """Everything that is said until a line begins so."""
        deadline, lines = time.monotonic() + seconds, self.heard()
        while not any(line.startswith(wanted) for line in lines):
            assert time.monotonic() < deadline, lines
            time.sleep(0.05)
            lines += self.heard()
        return lines

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@headwater-{os.getpid()}"
    made = Manager(address)
    yield made
    made.close()


def test_a_service_is_ready_once_it_was_able_at_two_beats_in_a_row(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    for able in (True, False, True):
        notifier.beat(able=able, status="")
        assert "READY=1" not in manager.heard()
    notifier.beat(able=True, status="")
    assert manager.heard().count("READY=1") == 1
    notifier.beat(able=True, status="")
    notifier.beat(able=False, status="")
    assert manager.heard() == ["WATCHDOG=1"] * 2
    notifier.close()


def test_a_start_may_take_long_while_it_beats(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    notifier.beat(able=False, status="")
    assert "EXTEND_TIMEOUT_USEC=120000000" in manager.heard()
    notifier.close()


def test_the_watchdog_hears_a_beat_only_where_it_watches_this_process(manager: Manager) -> None:
    for watched in ({"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": ""}):
        notifier = Notifier(manager.environ | watched)
        notifier.beat(able=True, status="")
        assert "WATCHDOG=1" not in manager.heard()
        notifier.close()
    notifier = Notifier(manager.environ | {"WATCHDOG_PID": str(os.getpid())})
    notifier.beat(able=True, status="")
    assert "WATCHDOG=1" in manager.heard()
    notifier.close()


def test_a_status_is_said_when_it_changes_and_stays_on_its_line(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    for status in ("waiting", "waiting", "lost:\nREADY=1"):
        notifier.beat(able=False, status=status)
    said = [line for line in manager.heard() if line.startswith(("STATUS", "READY"))]
    assert said == ["STATUS=waiting", "STATUS=lost: READY=1"]
    notifier.close()


def test_a_reload_is_announced_with_its_moment_and_ends_even_when_it_fails(
    manager: Manager,
) -> None:
    notifier = Notifier(manager.environ)
    before = time.monotonic_ns() // 1_000
    with suppress(ValueError), notifier.reloading():
        announced, moment = manager.heard()
        raise ValueError
    assert announced == "RELOADING=1"
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1_000
    assert manager.heard() == ["READY=1"]
    notifier.close()


def test_stopping_is_said(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    notifier.stopping()
    assert manager.heard()[0] == "STOPPING=1"
    notifier.close()


def test_a_child_cannot_speak_in_its_parents_name(manager: Manager) -> None:
    Notifier(manager.environ).close()
    assert manager.environ == {"HOME": "/"}


def test_readiness_that_was_not_heard_is_said_again(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    notifier = Notifier({"NOTIFY_SOCKET": address})
    for _ in range(3):
        notifier.beat(able=True, status="predicting")
    manager = Manager(address)
    notifier.beat(able=True, status="predicting")
    assert manager.heard() == ["READY=1", "STATUS=predicting"]
    notifier.close()
    manager.close()


@pytest.mark.parametrize("address", ["", "vsock:2:1234"])
def test_without_a_manager_that_is_understood_nothing_is_said(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.beat(able=True, status="predicting")
    with notifier.reloading():
        notifier.stopping()
    notifier.close()


@contextmanager
def start(folder: Path, manager: Manager) -> Iterator[subprocess.Popen[bytes]]:
    """Run an agent as systemd does, and make sure that it is gone afterwards."""
    command = [sys.executable, "-m", "headwater", "agent", "run"]
    environ = os.environ | {"NOTIFY_SOCKET": manager.environ["NOTIFY_SOCKET"]}
    environ |= {"WATCHDOG_USEC": "60000000"}
    command += ["--settings", str(folder / "agent.toml")]
    with subprocess.Popen(command, env=environ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_an_agent_is_ready_when_the_broker_takes_it_and_beats_until_it_stops(
    tmp_path: Path, mosquitto: int
) -> None:
    prepare(tmp_path, mosquitto)
    manager = Manager(str(tmp_path / "notify"))
    with start(tmp_path, manager) as process:
        said = manager.until("READY=1")
        assert "STATUS=predicting" in said
        manager.until("WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert "STOPPING=1" in manager.heard()
    manager.close()


def test_an_agent_without_a_broker_is_alive_and_not_ready(tmp_path: Path) -> None:
    prepare(tmp_path, free_port())
    manager = Manager(str(tmp_path / "notify"))
    with start(tmp_path, manager):
        said = manager.until("STATUS=Broker mqtt://127.0.0.1") + manager.until("EXTEND_TIMEOUT")
    assert "WATCHDOG=1" in said
    assert "READY=1" not in said
    manager.close()


def test_a_model_without_a_finite_answer_never_becomes_ready(
    tmp_path: Path, mosquitto: int
) -> None:
    weights = {name: np.full_like(array, 3e38) for name, array in tiny().weights.items()}
    wild = dataclasses.replace(tiny(), weights=weights)
    bundle = wild.sign(PUBLISHER, delegates=[RELEASE.public], created=CREATED)
    prepare(tmp_path, mosquitto, bundle=bundle)
    manager = Manager(str(tmp_path / "notify"))
    with start(tmp_path, manager) as process:
        assert process.wait(60) == BundleError.exit_code
    assert "READY=1" not in manager.heard()
    manager.close()
