"""Processes that a demo or a test starts: each in a session of its own, and none is left behind.

A child gets SIGTERM from the kernel when the process that started it dies, so that even a killed
demo ends everything. Ctrl-C reaches only the demo, which then stops its children in order.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from headwater.errors import UnreachableError
from headwater_coordinator.child import command

PATIENCE_S = 45.0
"""How long a child may take to end: a federation client waits half a minute for an answer."""

TAIL = 5
"""Lines of a child's log that an error quotes."""


class Child:
    """A running program whose output goes to a log file.

    Parameters
    ----------
    name
        What a person calls it.
    arguments
        The program and its arguments.
    log
        File that its output is appended to.
    environment
        All of its environment.
    catches_sigterm
        Whether it ends with 0 when it is asked to; other programs the signal just ends.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        *,
        catches_sigterm: bool = True,
    ) -> None:
        self.name = name
        self.log = log
        self._good_ends = {0} if catches_sigterm else {0, -signal.SIGTERM}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command(arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What it exited with (negative: the signal that ended it); None while it runs."""
        return self._process.poll()

    def tail(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-TAIL:])

    def stop(self, patience_s: float = PATIENCE_S) -> bool:
        """Ask it to end, insist after *patience_s*, and say whether it ended as it should."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(patience_s) in self._good_ends
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False

    def kill(self) -> None:
        """End it at once, as the kernel does where memory is short, and wait for it to be gone."""
        self._process.kill()
        self._process.wait()


class Crew:
    """The children of one run, in the order of their start.

    Parameters
    ----------
    logs
        Folder for a log file of each child.
    environment
        What every child gets as its environment.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._children: list[Child] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, arguments: Sequence[str], *, catches_sigterm: bool = True) -> Child:
        """Start a program under a name that no other child has; see :class:`Child`."""
        child = Child(
            name,
            arguments,
            self._logs / f"{name}.log",
            self._environment,
            catches_sigterm=catches_sigterm,
        )
        self._children.append(child)
        return child

    def again(self, child: Child, arguments: Sequence[str]) -> Child:
        """Start a program in the place of a child that has ended."""
        self._children.remove(child)
        return self.start(child.name, arguments)

    def run(self, name: str, arguments: Sequence[str], seconds: float = 60.0) -> None:
        """Start a program and wait until it ended well.

        Raises
        ------
        UnreachableError
            When it fails or takes longer, with the end of its log.
        """
        child = Child(name, arguments, self._logs / f"{name}.log", self._environment)
        deadline = time.monotonic() + seconds
        while child.exit_code is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if child.exit_code != 0:
            child.stop()
            raise UnreachableError(
                f"{name} failed with exit code {child.exit_code}:\n{child.tail()}"
            )

    def dead(self) -> Iterator[Child]:
        """Yield the children that have ended although nobody stopped them."""
        return (child for child in self._children if child.exit_code is not None)

    def stop(self) -> list[Child]:
        """Stop all, the last started first; return those that did not end as they should."""
        return [child for child in reversed(self._children) if not child.stop()]


@contextmanager
def crew(logs: Path, environment: Mapping[str, str]) -> Iterator[Crew]:
    """Have a crew that is stopped whatever happens."""
    hands = Crew(logs, environment)
    try:
        yield hands
    finally:
        hands.stop()


@contextmanager
def orderly_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind as Ctrl-C does, so that everything that was started is stopped."""

    def leave(number: int, frame: FrameType | None) -> None:
        del frame
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
