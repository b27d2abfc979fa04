"""A command of the device's owner that says whether something may happen now.

It is run without a shell, without input and without the broker's password, for a bounded time, and
a bounded part of its output is kept. Exit code 0 allows; anything else means not now, and the first
line that it wrote says why.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

MAX_OUTPUT_BYTES = 4_096
MAX_REASON = 200
"""Characters of the reason that are shown."""


def refusal_of(command: Sequence[str], timeout_s: float, environ: Mapping[str, str]) -> str | None:
    """Run a command and return why it refuses, or None when it allows.

    Parameters
    ----------
    command
        The program and its arguments.
    timeout_s
        After this it and all that it started is killed, which is a refusal.
    environ
        What it finds in its environment.
    """
    name = command[0]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"{name} cannot be run: {error}"
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    deadline = time.monotonic() + timeout_s
    with process.stdout:
        output = _read(process.stdout, deadline)
        try:
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return f"{name} did not answer within {timeout_s:g} s"
        finally:
            _end(process)
    return None if code == 0 else _first_line(output) or f"{name} ended with code {code}"


def _read(pipe: IO[bytes], deadline: float) -> bytes:
    """Read until the end or the deadline; keep what is within the limit."""
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0 and selector.select(left):
            chunk = os.read(pipe.fileno(), MAX_OUTPUT_BYTES)
            if not chunk:
                break
            output += chunk[: MAX_OUTPUT_BYTES - len(output)]
    return output


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the command and of what it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _first_line(output: bytes) -> str:
    """Return the first line with anything in it, as text that a terminal can be shown."""
    lines = output.decode("utf-8", errors="replace").splitlines()
    line = next((line.strip() for line in lines if line.strip()), "")
    return "".join(c if c.isprintable() else "?" for c in line)[:MAX_REASON]
