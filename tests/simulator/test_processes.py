"""Children of a demo end when it wants, when it is killed, and never in silence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.errors import UnreachableError
from headwater_simulator.processes import crew, orderly_sigterm

SLEEPER = "import time, sys; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(600)"
)


def eventually(what: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    return state != "Z"


def test_a_crew_leaves_nothing_running(tmp_path: Path) -> None:
    with crew(tmp_path, os.environ) as hands:
        first = hands.start("first", [sys.executable, "-c", SLEEPER])
        second = hands.start("second", [sys.executable, "-c", SLEEPER])
        assert alive(first.pid)
        assert alive(second.pid)

    assert first.exit_code == -signal.SIGTERM
    assert second.exit_code == -signal.SIGTERM


def test_who_does_not_listen_is_killed(tmp_path: Path) -> None:
    with crew(tmp_path, os.environ) as hands:
        child = hands.start("stubborn", [sys.executable, "-c", STUBBORN])
        eventually(lambda: "up" in child.tail())
        assert not child.stop(patience_s=0.1)

    assert child.exit_code == -signal.SIGKILL


def test_a_program_may_say_that_the_signal_just_ends_it(tmp_path: Path) -> None:
    with crew(tmp_path, os.environ) as hands:
        for name, catches in (("program", False), ("server", True)):
            child = hands.start(name, [sys.executable, "-c", SLEEPER], catches_sigterm=catches)
            eventually(lambda child=child: "up" in child.tail())  # type: ignore[misc]
        ended_badly = hands.stop()

    assert [child.name for child in ended_badly] == ["server"]


def test_who_died_can_be_started_again_in_the_same_place(tmp_path: Path) -> None:
    with crew(tmp_path, os.environ) as hands:
        first = hands.start("part", [sys.executable, "-c", "print('once')"])
        eventually(lambda: first in hands.dead())
        second = hands.again(first, [sys.executable, "-c", SLEEPER])

        eventually(lambda: second.tail() == "once\nup")
        assert list(hands.dead()) == []


def test_a_child_that_ends_by_itself_is_noticed_with_what_it_said(tmp_path: Path) -> None:
    with crew(tmp_path, os.environ) as hands:
        child = hands.start("brief", [sys.executable, "-c", "raise SystemExit('it broke')"])
        eventually(lambda: child in hands.dead())
        assert child.exit_code == 1
        assert child.tail() == "it broke"


def test_a_step_that_fails_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    with (
        crew(tmp_path, os.environ) as hands,
        pytest.raises(UnreachableError, match="prepare failed with exit code 1:\nno disk"),
    ):
        hands.run("prepare", [sys.executable, "-c", "raise SystemExit('no disk')"])


def test_children_end_when_the_one_who_started_them_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, sys, time, pathlib\n"
        "from headwater_simulator.processes import crew\n"
        f"with crew(pathlib.Path({str(tmp_path)!r}), os.environ) as hands:\n"
        f"    child = hands.start('child', [sys.executable, '-c', {SLEEPER!r}])\n"
        "    while 'up' not in child.tail():\n"
        "        time.sleep(0.02)\n"
        "    print(child.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
        parent.wait()

    eventually(lambda: not alive(pid))


def test_sigterm_unwinds_as_ctrl_c_does() -> None:
    with pytest.raises(SystemExit) as ended, orderly_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)

    assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_killed_child_is_gone_when_that_is_said(tmp_path: Path) -> None:
    with crew(tmp_path, os.environ) as hands:
        child = hands.start("one", [sys.executable, "-c", STUBBORN])
        child.kill()

        assert child.exit_code == -signal.SIGKILL
