"""What became of a request that a person left as a file, for the one program that may act on it.

The program removes the request once its effect is durable, and leaves an answer beside for whoever
waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from headwater.errors import StorageError
from headwater_models.files import read_bounded, write_file

PATIENCE_S = 20.0
"""Seconds that a running program is given to answer."""

MAX_ANSWER = 65_536
"""A longer answer is not read."""

REQUEST, ANSWER = ".request", ".answer"
"""How the names of the files end."""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a request: whether it was done, and a sentence about it."""

    done: bool
    text: str


def settle(path: Path, answer: Answer) -> None:
    """Remove a request; whoever waits for it is told, unless the disk is full."""
    with suppress(StorageError):
        write_file(path.with_suffix(ANSWER), msgspec.json.encode(answer))
    path.unlink(missing_ok=True)


def await_answer(
    path: Path, alive: Callable[[], bool], patience_s: float = PATIENCE_S
) -> Answer | None:
    """Wait for the answer to a request.

    Parameters
    ----------
    path
        Of the request.
    alive
        Says whether the program runs; while it does not, nobody waits.
    patience_s
        Seconds to wait at most.

    Returns
    -------
    Answer or None
        None where there is none yet. The request waits on.
    """
    end = time.monotonic() + patience_s
    while path.exists() and alive() and time.monotonic() < end:
        time.sleep(0.1)
    found = path.with_suffix(ANSWER)
    if path.exists() or not found.exists():
        return None
    answer = msgspec.json.decode(read_bounded(found, MAX_ANSWER), type=Answer)
    found.unlink(missing_ok=True)
    return answer


def sweep(folder: Path) -> None:
    """Remove the answers that nobody waited for."""
    for path in folder.glob(f"*{ANSWER}"):
        path.unlink(missing_ok=True)
