"""What a person asks of the coordinator, as files: its one writer carries it out when it can.

A command that changes the books cannot write them itself, as the running ServerApp is their one
writer. It leaves a request, and the ServerApp removes it once its effect is durable: at once where
it runs, else when it is started. What became of it stands beside for whoever waits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from headwater.errors import SettingsError, StorageError
from headwater.wire import Delegation, Hash, Name
from headwater_coordinator import events as e
from headwater_models.files import read_bounded, storage_errors, write_file
from headwater_models.keys import PublicKey
from headwater_models.requested import ANSWER, REQUEST

_MAX_BYTES = 65_536

_ABOUT = {
    **dict.fromkeys(("forget", "readmit"), (True, False, False, False, False)),
    **dict.fromkeys(("release", "drop"), (True, True, False, False, False)),
    "renew": (False, False, False, True, True),
}
"""Whether a request names device, refusal, version, statement and key; others name a version."""

Text = Annotated[str, msgspec.Meta(max_length=500)]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish, by whom and why.

    ``forget``: erase what a *device* contributed and ask it for no more; ``readmit``: ask it again.
    ``release``: accept its update with the number *refusal*, which is in quarantine, after all;
    ``drop``: keep that no longer. ``release-candidate``, ``reject-candidate``: decide about this
    *version*; ``rollback``: go back to it. ``renew``: put this *statement* of the publisher in
    force, and sign with the release *key* whose public half this is.
    """

    kind: Literal[
        "forget",
        "readmit",
        "release",
        "drop",
        "release-candidate",
        "reject-candidate",
        "rollback",
        "renew",
    ]
    device: Name | None = None
    refusal: Annotated[int, msgspec.Meta(ge=1)] | None = None
    version: Hash | None = None
    statement: Delegation = ""
    key: PublicKey | None = None
    by: Text = "the owner"
    reason: Text = ""

    def __post_init__(self) -> None:
        """Refuse what does not belong to the kind, and the absence of what does."""
        subjects = (self.device, self.refusal, self.version, self.statement or None, self.key)
        given = tuple(subject is not None for subject in subjects)
        if given != _ABOUT.get(self.kind, (False, False, True, False, False)):
            raise ValueError(f"{self.kind} is about something else")

    @property
    def event(self) -> e.Event:
        """What it is to the core, unless it is about an update in quarantine, or about keys."""
        match self:
            case Request(kind="forget", device=str(device)):
                return e.ErasureAsked(device)
            case Request(kind="readmit", device=str(device)):
                return e.ReadmissionAsked(device)
            case Request(kind="rollback", version=str(version)):
                return e.RollbackAsked(version, self.reason)
            case _:
                passed = self.kind == "release-candidate"
                return e.CandidateDecided(self.version or "", passed, self.reason)


def write_request(folder: Path, request: Request) -> Path:
    """Leave a request; a later one about the same device, update or kind takes its place.

    Returns
    -------
    Path
        Its file, for :func:`headwater_models.requested.await_answer`.

    Raises
    ------
    SettingsError
        When it says more than fits.
    StorageError
        When it cannot be written.
    """
    data = msgspec.json.encode(request)
    try:
        msgspec.json.decode(data, type=Request)
    except msgspec.ValidationError as error:
        raise SettingsError(f"This cannot be asked for: {error}.") from error
    with storage_errors(folder, "written"):
        folder.mkdir(mode=0o700, exist_ok=True)
        about = request.device or f"_{request.kind}"
        about += "" if request.refusal is None else f"~{request.refusal}"
        path = folder / f"{about}{REQUEST}"
        path.with_suffix(ANSWER).unlink(missing_ok=True)
    write_file(path, data)
    return path


def find_requests(folder: Path) -> list[Path]:
    """Return the files of the requests that are there."""
    return sorted(folder.glob(f"*{REQUEST}"))


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
