"""Flower's processes: the SuperLink on loopback and the SuperExec that starts the ServerApp."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headwater_coordinator import child
from headwater_coordinator.home import Home

FLOWER_SWITCHES = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "FLWR_LOG_LEVEL": "WARNING",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5",
}
"""Nothing calls home, nothing is installed at run time, a run starts without a long wait."""

STOP_S = 10.0
"""A process that does not end this long after SIGTERM is killed."""


def environment(home: Home, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what Flower's processes find in their environment."""
    programs = str(Path(sys.executable).parent)
    path = os.pathsep.join([programs, inherited.get("PATH", os.defpath)])
    return {**inherited, **FLOWER_SWITCHES, "FLWR_HOME": str(home.flower), "PATH": path}


def superlink_command(home: Home, port: int) -> list[str]:
    """Return the SuperLink's command line: loopback, TLS, node keys, a database on disk."""
    return [
        "flower-superlink",
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--ssl-ca-certfile", str(home.authority)),
        *("--ssl-certfile", str(home.certificate)),
        *("--ssl-keyfile", str(home.certificate_key)),
        "--enable-supernode-auth",
        *("--database", str(home.flower / "superlink.db")),
        *("--isolation", "process"),
        *("--superexec-auth-secret-file", str(home.executor_secret)),
        "--disable-runtime-dependency-installation",
    ]


def superexec_command(home: Home, port: int) -> list[str]:
    """Return the command line of the SuperExec, which starts the ServerApp."""
    return [
        "flower-superexec",
        *("--runtime-api-address", f"127.0.0.1:{port}"),
        *("--root-certificates", str(home.authority)),
        *("--superexec-auth-secret-file", str(home.executor_secret)),
    ]


@dataclass(slots=True)
class Part:
    """A process that ``serve`` keeps running, in a process group of its own.

    Parameters
    ----------
    name
        Of the log file, and in sentences.
    arguments
        The command line.
    variables
        The environment.
    log
        File that its output is appended to.
    """

    name: str
    arguments: list[str]
    variables: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; it is told to end when this process does."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                child.command(self.arguments),
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self, *, kill: bool = False) -> None:
        """End the process and all that it started; return when nothing of it is left.

        :func:`.child.adopt_orphans` must have been called, or orphans stay unwaited for.

        Parameters
        ----------
        kill
            Whether it is given no time to end by itself, as it hangs.
        """
        for number in (signal.SIGTERM, signal.SIGKILL)[kill:]:
            self._signal(number)
            deadline = time.monotonic() + STOP_S
            while time.monotonic() < deadline:
                if self._gone():
                    return
                time.sleep(0.02)

    def _gone(self) -> bool:
        """Reap what ended; whether nothing of the group is left."""
        if self.process is None:
            return True
        self.process.poll()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self.process.pid, os.WNOHANG)[0]:
                pass
        return not _group_lives(self.process.pid)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the group; where the leader is gone already its offspring still hears it."""
        if self.process is not None and _group_lives(self.process.pid):
            os.killpg(self.process.pid, number)


def _group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def superlink(home: Home, port: int, inherited: Mapping[str, str]) -> Part:
    """Describe the SuperLink's process."""
    log = home.logs / "superlink.log"
    return Part("superlink", superlink_command(home, port), environment(home, inherited), log)


def superexec(home: Home, port: int, inherited: Mapping[str, str]) -> Part:
    """Describe the SuperExec's process; the ServerApp belongs to its process group."""
    log = home.logs / "superexec.log"
    return Part("superexec", superexec_command(home, port), environment(home, inherited), log)
