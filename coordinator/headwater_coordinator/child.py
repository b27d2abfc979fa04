"""Run a program that ends when the process that started it ends, however that happens.

``python -m headwater_coordinator.child PARENT_PID PROGRAM ARGUMENT...`` asks the kernel for
SIGTERM at the death of its parent and then becomes the program. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def command(arguments: Sequence[str]) -> list[str]:
    """Return the command line that runs *arguments* as a child of this process."""
    return [sys.executable, "-m", __spec__.name, str(os.getpid()), *arguments]


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent died, so that they can be waited for."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM at the death of the process that started this one."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def _become(parent: int, arguments: list[str]) -> None:
    end_with_parent()
    if os.getppid() != parent:  # it died before the kernel knew what to do then
        sys.exit(0)
    os.execvp(arguments[0], arguments)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
