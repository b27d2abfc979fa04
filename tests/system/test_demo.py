"""``headwater demo`` as a user starts it: it ends by itself, says what it did, leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

PATIENCE_S = 120.0


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "headwater", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def processes_of(folder: Path) -> list[str]:
    """The command lines of the processes whose arguments or working files lie in a folder."""
    return [line for line in _command_lines().values() if str(folder) in line]


def _command_lines() -> Mapping[int, str]:
    return dict(_read_command_lines())


def _read_command_lines() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                raw = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            yield int(entry.name), raw.replace(b"\0", b" ").decode(errors="replace")


def wait_until_streaming(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not list(folder.glob("headwater-demo-*/logs/publisher.log")):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_it_predicts_learns_federates_and_releases_and_ends_by_itself(tmp_path: Path) -> None:
    demo = start("--devices", "2", "--seconds", "25", "--json", folder=tmp_path)
    told, shown = demo.communicate(timeout=2 * PATIENCE_S)

    assert demo.returncode == 0, shown
    made = json.loads(told.splitlines()[-1])
    assert made["rounds"] >= 1
    assert [device["id"] for device in made["devices"]] == ["device-1", "device-2"]
    assert made["records"] > 1_000
    for device in made["devices"]:
        assert device["mae"]["personal"] < 1.1 * device["mae"]["baseline"]
        assert device["latency_ms"]["p50"] <= device["latency_ms"]["p99"]
        assert device["bytes_out"] > 0
    assert processes_of(tmp_path) == []
    assert list(tmp_path.glob("headwater-demo-*")) == []


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = start("--devices", "1", "--seconds", "600", folder=tmp_path)
    wait_until_streaming(tmp_path)
    assert processes_of(tmp_path)

    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=PATIENCE_S)

    assert demo.returncode == 130
    assert processes_of(tmp_path) == []
    assert list(tmp_path.glob("headwater-demo-*")) == []


def test_a_part_that_dies_fails_the_demo_by_name(tmp_path: Path) -> None:
    demo = start("--devices", "1", "--seconds", "600", folder=tmp_path)
    wait_until_streaming(tmp_path)
    (agent,) = (pid for pid, line in _command_lines().items() if _is_agent(line, tmp_path))
    os.kill(agent, signal.SIGKILL)
    _, shown = demo.communicate(timeout=PATIENCE_S)

    assert demo.returncode == 7
    assert "device-1-agent ended with exit code -9" in shown
    assert processes_of(tmp_path) == []


def _is_agent(line: str, folder: Path) -> bool:
    return str(folder) in line and "agent run" in line
