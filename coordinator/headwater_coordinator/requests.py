"""What a person asks of the coordinator, as files: its one writer carries it out when it can.

A command that changes the books cannot write them itself, as the running ServerApp is their one
writer. It leaves a request, and the ServerApp removes it once its effect is durable: at once where
it runs, else when it is started. What became of it stands beside for whoever waits.
"""

from __future__ import annotations

from hashlib import sha256
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

_SUBJECTS = ("device", "refusal", "version", "statement", "key", "node")
_ABOUT = {
    "forget": {"device"},
    "readmit": {"device"},
    "release": {"device", "refusal"},
    "drop": {"device", "refusal"},
    "renew": {"statement", "key"},
    "group": {"node"},
}
"""What a request is about; others are about a version."""

Group = Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9][a-z0-9._-]{0,63})?$")]
Fingerprint = Annotated[str, msgspec.Meta(pattern=r"^SHA256:[A-Za-z0-9+/]{1,64}$")]

Text = Annotated[str, msgspec.Meta(max_length=500)]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish, by whom and why.

    ``forget``: erase what a *device* contributed and ask it for no more; ``readmit``: ask it again.
    ``release``: accept its update with the number *refusal*, which is in quarantine, after all;
    ``drop``: keep that no longer. ``release-candidate``, ``reject-candidate``: decide about this
    *version*; ``rollback``: go back to it. ``renew``: put this *statement* of the publisher in
    force, and sign with the release *key* whose public half this is. ``group``: put the device with
    the key *node* into this *group*, or into none.
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
        "group",
    ]
    device: Name | None = None
    refusal: Annotated[int, msgspec.Meta(ge=1)] | None = None
    version: Hash | None = None
    statement: Delegation = ""
    key: PublicKey | None = None
    node: Fingerprint | None = None
    group: Group = ""
    by: Text = "the owner"
    reason: Text = ""

    def __post_init__(self) -> None:
        """Refuse what does not belong to the kind, and the absence of what does."""
        given = {name for name in _SUBJECTS if getattr(self, name) not in (None, "")}
        if given != _ABOUT.get(self.kind, {"version"}) or (self.group and self.kind != "group"):
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
            case Request(kind="group", node=str(node)):
                return e.Grouped(node, self.group)
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
        if request.node is not None:
            about += f"~{sha256(request.node.encode()).hexdigest()[:32]}"
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
