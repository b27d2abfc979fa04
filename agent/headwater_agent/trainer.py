"""The trainer: a short-lived, polite process without a network that does one task and ends.

Run as ``python -m headwater_agent.trainer --settings agent.toml --task HASH --sequence N``.
What computes is imported after the process has given up its network, because a process with
threads cannot do so any more.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import sys
from pathlib import Path

from headwater.errors import HeadwaterError
from headwater.logs import configure_logging
from headwater_agent.settings import PASSWORD_VARIABLE, load_settings

NICENESS = 10

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000

_log = logging.getLogger("headwater_agent.trainer")  # not __main__, when it is the process


def leave_network() -> bool:
    """Move this process into a network of its own, without any interface that is up.

    Returns
    -------
    bool
        False where the kernel does not allow it to this user (see ``unshare(2)``).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    return any(
        libc.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET)
    )


def main(arguments: list[str] | None = None) -> int:
    """Do one task; return the exit code."""
    parser = argparse.ArgumentParser(prog="headwater_agent.trainer", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="the agent's settings")
    parser.add_argument("--task", required=True, help="hash of the task")
    parser.add_argument("--sequence", type=int, required=True, help="number of the update")
    parser.add_argument("--log-level", default="info")
    given = parser.parse_args(arguments)
    configure_logging(given.log_level)
    os.nice(NICENESS)
    if leave_network():
        _log.info("running without a network")
    else:
        _log.warning("the kernel does not let this user give up the network; going on with it")
    try:
        settings = load_settings(given.settings, {PASSWORD_VARIABLE: ""})

        from headwater_agent.training import Work  # noqa: PLC0415 - see above

        reply = Work(settings).do(given.task, given.sequence)
    except HeadwaterError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        return error.exit_code
    _log.info("task %s: %s", given.task[:12], type(reply).__name__.lower())
    return 0


if __name__ == "__main__":
    sys.exit(main())
