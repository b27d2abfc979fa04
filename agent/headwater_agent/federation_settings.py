"""What the federation client is told: whom it talks to, how often, and when it may."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from headwater.settings import Duration


class Federation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The coordinator, how often it is asked for work, and when that is allowed.

    Resident, the client asks every ``poll``; with ``every``, a timer that ``headwater agent
    install`` sets up starts it that often instead, and it ends when nothing is owed any more.
    ``hours`` are parts of the local day such as ``22:00-06:00``; without any, it may be at all
    hours. ``allow`` is a command, its program by an absolute path, which says by exit code 0 that
    the client may run now, and otherwise by the first line that it writes why not. ``nice`` is the
    least niceness that the client runs under.
    """

    enabled: bool = False
    coordinator: str = ""
    ca: Path | None = None
    poll: Duration = Duration(15_000)
    every: Duration | None = None
    key: Path | None = None
    hours: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    allow_timeout: Duration = Duration(10_000)
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 10
