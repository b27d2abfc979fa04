from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from headwater_agent.hook import MAX_REASON, refusal_of
from tests.agent.test_runtime import until


def asked(program: str, timeout_s: float = 30.0, environ: Mapping[str, str] | None = None) -> str:
    """The refusal of a Python program; empty when it allows."""
    return refusal_of([sys.executable, "-c", program], timeout_s, environ or {}) or ""


def test_exit_code_0_allows_whatever_it_says() -> None:
    assert asked("print('on battery')") == ""


@pytest.mark.parametrize("code", [1, 2, 255])
def test_any_other_code_refuses_with_the_first_line_that_it_wrote(code: int) -> None:
    assert asked(f"print(); print(' on battery '); print('x'); exit({code})") == "on battery"


def test_a_complaint_on_the_error_stream_counts_as_well() -> None:
    assert asked("import sys; sys.exit('no supply found')") == "no supply found"


def test_without_a_word_the_code_is_the_reason() -> None:
    assert asked("exit(3)") == f"{sys.executable} ended with code 3"


def test_a_killed_command_refuses() -> None:
    assert "ended with code -9" in asked("import os; os.kill(os.getpid(), 9)")


@pytest.mark.parametrize("program", ["/nowhere/at-all", "/etc/passwd", "with\0zero"])
def test_a_command_that_cannot_be_run_refuses_and_is_named(program: str) -> None:
    assert (refusal_of([program], 30.0, {}) or "").startswith(f"{program} cannot be run: ")


def is_over(pid: int) -> bool:
    """Say whether a process has ended, whoever is to take note of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_one_that_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(mark)!r}, 'w').write(str(child.pid)); time.sleep(600)"
    )
    assert "did not answer within 2 s" in asked(program, timeout_s=2.0)
    until(lambda: is_over(int(mark.read_text())))


def test_one_that_writes_without_end_is_read_to_a_bound_and_ended() -> None:
    reason = asked("while True: print('y' * 1000)", timeout_s=2.0)
    assert "did not answer" in reason


def test_the_reason_is_one_short_line_of_text() -> None:
    reason = asked(r"import os; os.write(1, b'\x1b[31m\xff' + b'a' * 999); exit(1)")
    assert reason == ("?[31m\N{REPLACEMENT CHARACTER}" + "a" * 999)[:MAX_REASON]


def test_it_finds_the_environment_that_it_is_given_and_no_input() -> None:
    program = "import os, sys; print(os.environ.get('SUPPLY'), sys.stdin.read()); exit(1)"
    assert asked(program, environ={"SUPPLY": "mains"}) == "mains"
    assert "HOME" in os.environ
    assert asked("import os; print(os.environ.get('HOME')); exit(1)") == "None"


def test_no_shell_reads_its_arguments() -> None:
    program = "import sys; print(sys.argv[1]); exit(1)"
    assert refusal_of([sys.executable, "-c", program, "$(id); *"], 30.0, {}) == "$(id); *"
