"""What a person asks of the coordinator, as files: its one writer carries it out when it can.

A command that changes the books cannot write them itself, as the running ServerApp is their one
writer. It leaves a request, and the ServerApp removes it once its effect is durable: at once where
it runs, else when it is started. What became of it stands beside for whoever waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from headwater.errors import StorageError
from headwater.wire import Hash, Name
from headwater_models.files import read_bounded, storage_errors, write_file

PATIENCE_S = 20.0
"""Seconds that a running coordinator is given to answer."""

_SUFFIX, _ANSWER = ".request", ".answer"
_MAX_BYTES = 4_096

Text = Annotated[str, msgspec.Meta(max_length=500)]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish, by whom and why.

    ``forget``: erase what a *device* contributed and ask it for no more; ``readmit``: ask it again.
    ``release``: accept its update with the number *refusal*, which is in quarantine, after all;
    ``drop``: keep that no longer. ``release-candidate``, ``reject-candidate``: decide about this
    *version*; ``rollback``: go back to it.
    """

    kind: Literal[
        "forget",
        "readmit",
        "release",
        "drop",
        "release-candidate",
        "reject-candidate",
        "rollback",
    ]
    device: Name | None = None
    refusal: Annotated[int, msgspec.Meta(ge=1)] | None = None
    version: Hash | None = None
    by: Text = "the owner"
    reason: Text = ""

    def __post_init__(self) -> None:
        """Refuse what does not belong to the kind, and the absence of what does."""
        given = (self.device is not None, self.refusal is not None, self.version is not None)
        held = self.kind in ("release", "drop")
        about_device = held or self.kind in ("forget", "readmit")
        if given != (about_device, held, not about_device):
            raise ValueError(f"{self.kind} is about something else")


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a request: whether it was done, and a sentence about it."""

    done: bool
    text: str


def write_request(folder: Path, request: Request) -> Path:
    """Leave a request; a later one about the same device, update or kind takes its place.

    Returns
    -------
    Path
        Its file, for :func:`await_answer`.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    with storage_errors(folder, "written"):
        folder.mkdir(mode=0o700, exist_ok=True)
        about = request.device or f"_{request.kind}"
        about += "" if request.refusal is None else f"~{request.refusal}"
        path = folder / f"{about}{_SUFFIX}"
        path.with_suffix(_ANSWER).unlink(missing_ok=True)
    write_file(path, msgspec.json.encode(request))
    return path


def find_requests(folder: Path) -> list[Path]:
    """Return the files of the requests that are there."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def read_request(path: Path) -> Request:
    """Read a request.

    Raises
    ------
    BundleError, StorageError
        When it is damaged, no plain file, or cannot be read.
    """
    data = read_bounded(path, _MAX_BYTES)
    try:
        return msgspec.json.decode(data, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} is no request: {error}.") from error


def settle(path: Path, answer: Answer) -> None:
    """Remove a request; whoever waits for it is told, unless the disk is full."""
    with suppress(StorageError):
        write_file(path.with_suffix(_ANSWER), msgspec.json.encode(answer))
    path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the answers that nobody waited for."""
    for path in folder.glob(f"*{_ANSWER}"):
        path.unlink(missing_ok=True)


def await_answer(
    path: Path, alive: Callable[[], bool], patience_s: float = PATIENCE_S
) -> Answer | None:
    """Wait for the answer to a request.

    Parameters
    ----------
    path
        What :func:`write_request` returned.
    alive
        Says whether a coordinator runs; while none does, nobody waits.
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
    found = path.with_suffix(_ANSWER)
    if path.exists() or not found.exists():
        return None
    answer = msgspec.json.decode(read_bounded(found, _MAX_BYTES), type=Answer)
    found.unlink(missing_ok=True)
    return answer
