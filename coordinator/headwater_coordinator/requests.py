"""What a person asks of the coordinator, as files: its one writer carries it out when it can.

A command that changes the books cannot write them itself, as the running ServerApp is their one
writer. It leaves a request, and the ServerApp removes it once its effect is durable: at once where
it runs, else when it is started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from headwater.errors import StorageError
from headwater.wire import Name
from headwater_models.files import read_bounded, storage_errors, write_file

_SUFFIX = ".request"
_MAX_BYTES = 4_096


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked about a device, or about an update of it that is in quarantine.

    ``forget``: erase what it contributed and ask it for no more; ``readmit``: ask it again.
    ``release``: accept the update with the number ``refusal`` after all; ``drop``: keep it no
    longer.
    """

    kind: Literal["forget", "readmit", "release", "drop"]
    device: Name
    refusal: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        """Refuse a number where none belongs, and its absence where one does."""
        if (self.refusal is not None) != (self.kind in ("release", "drop")):
            raise ValueError("refusal is for release and drop")


def write_request(folder: Path, request: Request) -> None:
    """Leave a request; a later one about the same device, or update, takes its place.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    with storage_errors(folder, "written"):
        folder.mkdir(mode=0o700, exist_ok=True)
    about = request.device if request.refusal is None else f"{request.device}~{request.refusal}"
    write_file(folder / f"{about}{_SUFFIX}", msgspec.json.encode(request))


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
