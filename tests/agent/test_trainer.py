from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater import wire
from headwater_agent.outcome import Outcome, find_outcomes
from headwater_models.arrays import packed_bytes
from tests.agent.federating import PUBLIC_SETTINGS, device, settings, task_name, train
from tests.agent.test_training import ask, fill

LOOK = """
import socket, sys
from headwater_agent.trainer import leave_network
heavy = {"numpy", "onnxruntime", "sqlite3"} & set(sys.modules)
left = leave_network()
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5).close()
    reached = True
except OSError:
    reached = False
print(left, reached, sorted(heavy))
"""


@pytest.fixture
def listener() -> Iterator[int]:
    """A loopback port that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_process_does_its_task_and_leaves_an_outcome(tmp_path: Path) -> None:
    made = settings(tmp_path)
    fill(made, learned=100, reserved=0)
    ask(made, train())
    (tmp_path / "agent.toml").write_text(PUBLIC_SETTINGS)
    arguments = ["--settings", str(tmp_path / "agent.toml"), "--task", task_name(1)]
    done = run("-m", "headwater_agent.trainer", *arguments, "--sequence", "7")
    assert done.returncode == 0, done.stderr
    assert "network" in done.stderr
    (found,) = find_outcomes(made.share, packed_bytes(device().manifest))
    assert isinstance(found, Outcome)
    assert isinstance(found.reply, wire.Update)
    assert found.reply.sequence == 7


def test_a_task_that_is_not_there_ends_with_a_sentence_and_code_8(tmp_path: Path) -> None:
    settings(tmp_path)
    (tmp_path / "agent.toml").write_text(PUBLIC_SETTINGS)
    arguments = ["--settings", str(tmp_path / "agent.toml"), "--task", task_name(1)]
    done = run("-m", "headwater_agent.trainer", *arguments, "--sequence", "7")
    assert done.returncode == 8
    assert "error: " in done.stderr
    assert "holds no open task" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_gives_up_its_network_before_anything_heavy_is_loaded(listener: int) -> None:
    left, reached, heavy = run("-c", LOOK, str(listener)).stdout.split(maxsplit=2)
    assert left != reached
    assert heavy.strip() == "[]"
