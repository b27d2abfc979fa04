"""The trainer: a short-lived, polite process without a network that does one thing and ends.

Run as ``python -m headwater_agent.trainer --settings agent.toml --task HASH --sequence N`` for a
task of the coordinator, or with ``--refine VERSION`` for the personal model.
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
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--task", help="hash of a task to do")
    what.add_argument("--refine", metavar="VERSION", help="refine the personal model from it")
    parser.add_argument("--sequence", type=int, default=0, help="number of the update")
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

        work = Work(settings)
        if given.refine:
            said = "refined" if work.refine(given.refine) else "too few examples to refine"
        else:
            said = type(work.do(given.task, given.sequence)).__name__.lower()
    except HeadwaterError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        return error.exit_code
    _log.info("%s: %s", (given.task or given.refine)[:12], said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
