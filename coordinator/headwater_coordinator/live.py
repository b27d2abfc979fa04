"""What the running coordinator is about, in a file beside its books, for whoever looks."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import msgspec

from headwater.errors import BundleError, StorageError
from headwater_coordinator.federation.discipline import Standing
from headwater_models.files import read_bounded, write_file

EVERY_MS = 1_000
"""The file is replaced when something changed, and no more often than this."""

_MAX_BYTES = 4_096

_log = logging.getLogger(__name__)


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """Where the federation stands."""

    discipline: str
    """``rounds`` or ``buffered``."""
    phase: str
    round: int
    asked: int
    open: int
    """Devices that were asked for an update and have not answered."""
    accepted: int
    wanted: int
    """Updates that make a candidate: of the round, or in the buffer."""
    online: int

    @classmethod
    def of(cls, discipline: str, number: int, online: int, standing: Standing) -> Live:
        """Put together what the core says of itself."""
        return cls(discipline=discipline, round=number, online=online, **asdict(standing))


class Board:
    """Shows where the federation stands.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown: Live | None = None
        self._next_ms = 0

    def show(self, live: Live, now: int) -> None:
        """Replace the file where it is time; a disk that refuses is only told of."""
        if live == self._shown or now < self._next_ms:
            return
        try:
            write_file(self._path, msgspec.json.encode(live))
        except StorageError as error:
            _log.warning("%s", error)
        self._shown, self._next_ms = live, now + EVERY_MS


def read_live(path: Path) -> Live | None:
    """Return what was shown last; None where nothing was, or it cannot be read."""
    try:
        return msgspec.json.decode(read_bounded(path, _MAX_BYTES), type=Live)
    except (BundleError, StorageError, msgspec.DecodeError, UnicodeDecodeError):
        return None
