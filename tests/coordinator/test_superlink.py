"""Flower's processes: what they are told, and that none outlives its coordinator."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater_coordinator import child
from headwater_coordinator.home import Home
from headwater_coordinator.superlink import (
    Part,
    environment,
    superexec_command,
    superlink_command,
)

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""

PARENT = """
import subprocess, sys, time
from headwater_coordinator import child
one = subprocess.Popen(child.command([sys.executable, "-c", "import time; time.sleep(60)"]))
print(one.pid, flush=True)
time.sleep(60)
"""


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_the_superlink_listens_on_loopback_with_tls_node_keys_and_a_database() -> None:
    command = " ".join(superlink_command(Home(Path("/home")), 8444))
    assert "--host 127.0.0.1" in command
    assert "--enable-supernode-auth" in command
    assert "--ssl-certfile /home/keys/server.crt" in command
    assert "--database /home/flower/superlink.db" in command
    assert "--isolation process" in command
    assert "--disable-runtime-dependency-installation" in command
    assert "--insecure" not in command + " ".join(superexec_command(Home(Path("/home")), 8444))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLWR_TELEMETRY_ENABLED", "0"),
        ("FLWR_DISABLE_UPDATE_CHECK", "1"),
        ("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION", "1"),
        ("RAY_USAGE_STATS_ENABLED", "0"),
        ("FLWR_HOME", "/home/flower"),
        ("KEPT", "yes"),
    ],
)
def test_flower_calls_nobody_and_installs_nothing(name: str, value: str) -> None:
    inherited = {"KEPT": "yes", "FLWR_TELEMETRY_ENABLED": "1"}
    assert environment(Home(Path("/home")), inherited)[name] == value


def test_stopping_a_part_ends_what_it_started_too(tmp_path: Path) -> None:
    child.adopt_orphans()
    log = tmp_path / "log"
    part = Part("family", [sys.executable, "-c", FAMILY], dict(os.environ), log)
    part.start()
    assert eventually(lambda: log.exists() and log.read_text().endswith("\n"))
    grandchild = int(log.read_text())
    assert part.alive
    assert lives(grandchild)

    part.stop()

    assert not part.alive
    assert not Path(f"/proc/{grandchild}").exists()


def test_a_part_that_ignores_the_request_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater_coordinator.superlink.STOP_S", 0.2)
    log = tmp_path / "log"
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)\n"
    part = Part("deaf", [sys.executable, "-c", deaf + "time.sleep(60)"], dict(os.environ), log)
    part.start()
    assert eventually(lambda: log.exists() and log.read_text() == "1\n")

    part.stop()

    assert not part.alive


def test_stopping_a_part_that_never_started_is_fine(tmp_path: Path) -> None:
    Part("idle", ["true"], {}, tmp_path / "log").stop()


def test_a_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert eventually(lambda: b"time.sleep" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(parent.pid, signal.SIGKILL)
    assert eventually(lambda: not lives(pid))
