"""The lock tells who works on a folder, and goes when its holder is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.errors import StorageError
from headwater_coordinator.lock import held, holder

HOLD = """
import sys, time
from pathlib import Path
from headwater_coordinator.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_nobody_holds_a_lock_that_was_never_taken(tmp_path: Path) -> None:
    assert holder(tmp_path / "lock") is None


def test_another_process_sees_who_holds_it_and_may_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            assert holder(path) == other.pid
            with pytest.raises(StorageError, match="Another coordinator works on"), held(path):
                pass
        finally:
            os.kill(other.pid, signal.SIGKILL)
    assert holder(path) is None


def test_it_can_be_taken_again_once_let_go(tmp_path: Path) -> None:
    for _ in range(2):
        with held(tmp_path / "lock"):
            pass
