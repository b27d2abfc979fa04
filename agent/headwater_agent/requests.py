"""An owner's wishes on their way to the running agent: a file each, taken up in order, answered.

The agent's database has one writer, so whoever wants something done to it leaves a request. The
agent looks for them every second. One that comes while no agent runs waits for the next start.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import msgspec
import numpy as np

from headwater.errors import BundleError, StorageError
from headwater_agent.events import Floats
from headwater_agent.quarantine import Wanted
from headwater_agent.segment import Ints
from headwater_models.files import read_bounded, write_file
from headwater_models.requested import REQUEST

MAX_BYTES = 64 << 20
"""A larger request is not read."""


class Clear(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Put back what the guard keeps aside."""

    wanted: Wanted


class Forget(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Let own contribution and personal model begin again, and delete the examples."""


class Reset(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Begin a new epoch of a stream, for its sensor was replaced."""

    stream: str


class Warm(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Take the history of a stream: R records in the order of their time, in the model's units.

    ``times`` is int64 ``[R]``, UTC milliseconds; ``values`` float32 ``[R, C]``, NaN where missing;
    ``labels`` float32 ``[R]``, NaN where there is none; all little-endian.
    """

    stream: str
    times: bytes
    values: bytes
    labels: bytes

    @classmethod
    def of(cls, stream: str, times: Ints, values: Floats, labels: Floats) -> Warm:
        """Encode arrays."""
        return cls(
            stream,
            times.astype("<i8").tobytes(),
            values.astype("<f4").tobytes(),
            labels.astype("<f4").tobytes(),
        )

    def arrays(self, channels: int) -> tuple[Ints, Floats, Floats]:
        """Return times, values and labels.

        Raises
        ------
        ValueError
            When the lengths do not fit each other.
        """
        times = np.frombuffer(self.times, "<i8").astype(np.int64)
        values = np.frombuffer(self.values, "<f4").astype(np.float32)
        labels = np.frombuffer(self.labels, "<f4").astype(np.float32)
        if len(labels) != len(times):
            raise ValueError(f"{len(labels)} labels for {len(times)} times")
        return times, values.reshape(len(times), channels), labels


Wish = Clear | Forget | Reset | Warm

_wishes: msgspec.msgpack.Decoder[Wish] = msgspec.msgpack.Decoder(Wish)


def ask(folder: Path, wish: Wish) -> Path:
    """Leave a request behind those that wait; return its file, which goes when it is answered.

    Raises
    ------
    StorageError
        When the folder cannot be written.
    """
    newest = max((_number(path) for path in waiting(folder)), default=0)
    path = folder / f"{newest + 1:09d}-{uuid.uuid4().hex}{REQUEST}"
    try:
        write_file(path, msgspec.msgpack.encode(wish))
    except StorageError as error:
        raise StorageError(f"{error} Run this as the agent's user.") from error
    return path


def waiting(folder: Path) -> list[Path]:
    """Return the requests that wait, in the order in which they came."""
    return sorted(path for path in folder.glob(f"[0-9]*{REQUEST}"))


def read(path: Path) -> Wish | None:
    """Return what a request is about; None where it cannot be read."""
    try:
        return _wishes.decode(read_bounded(path, MAX_BYTES))
    except (BundleError, StorageError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _number(path: Path) -> int:
    word = path.name.split("-")[0]
    return int(word) if word.isdecimal() else 0
