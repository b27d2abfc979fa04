"""What the owner has paused: a file that agent and federation client look at, and obey.

It is state and no request, so it holds at once for a federation client without an agent, and for
an agent that is started later.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import msgspec

from headwater.errors import BundleError, StorageError
from headwater_models.files import read_bounded, write_file

Part = Literal["learning", "federation"]
"""What can be paused."""

PARTS: tuple[Part, ...] = get_args(Part)

FILE = "paused.json"
"""Its name in the shared folder, which the agent's user writes and the client may read."""

MAX_BYTES = 4_096


class _Paused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    paused: tuple[Part, ...]


def read_pauses(share: Path) -> tuple[Part, ...]:
    """Return what is paused; everything, where the file is there and cannot be read.

    Who paused something must not find it running because a file was damaged.
    """
    path = share / FILE
    if not path.exists():
        return ()
    try:
        return msgspec.json.decode(read_bounded(path, MAX_BYTES), type=_Paused).paused
    except (BundleError, StorageError, msgspec.DecodeError, UnicodeDecodeError):
        return PARTS if path.exists() else ()


def write_pauses(share: Path, parts: tuple[Part, ...]) -> None:
    """Say what is paused from now on, and nothing else is.

    Raises
    ------
    StorageError
        When the folder cannot be written.
    """
    path = share / FILE
    try:
        if parts:
            write_file(path, msgspec.json.encode(_Paused(parts)))
        else:
            path.unlink(missing_ok=True)
    except (OSError, StorageError) as error:
        raise StorageError(f"{path} cannot be written; run this as the agent's user.") from error
