"""Outcomes: finished replies that the agent's side hands to the federation client, as files.

An outcome is a safetensors file with at most the tensor ``arrays`` and one entry of metadata,
``reply``, the encoded message. It lies under the SHA-256 of its bytes and appears whole or not
at all. Its layout follows from what it says, so reading is comparing and no byte can hide in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import HeadwaterError, PeerError
from headwater.wire import MAX_FIELDS_BYTES, Reply, decode_reply, encode
from headwater_models.files import read_bounded, write_file

SUFFIX = ".update"
"""Ending of the names of outcome files."""

MAX_OUTCOMES = 1_000
"""More files than this are not looked at in one pass."""

_HEADER_BYTES = 2 * MAX_FIELDS_BYTES
_ALIGN = 8


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A reply and its packed array, float32 ``[n]`` or None; ``name`` is the hash of its file."""

    name: str
    reply: Reply
    array: NDArray[np.float32] | None


class _Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class _Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reply: str


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    metadata: _Metadata = msgspec.field(name="__metadata__")
    arrays: _Tensor | None = None


def encode_outcome(reply: Reply, array: NDArray[np.float32] | None) -> bytes:
    """Return the bytes of an outcome file: the same reply and array give the same bytes."""
    tensor = None
    data = b""
    if array is not None:
        data = np.ascontiguousarray(array, "<f4").tobytes()
        tensor = _Tensor("F32", array.shape, (0, len(data)))
    header = msgspec.json.encode(_Header(_Metadata(encode(reply).decode()), tensor))
    header += b" " * (-len(header) % _ALIGN)
    return len(header).to_bytes(8, "little") + header + data


def write_outcome(share: Path, reply: Reply, array: NDArray[np.float32] | None = None) -> str:
    """Write an outcome into the shared folder and return its name.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    data = encode_outcome(reply, array)
    name = sha256(data).hexdigest()
    write_file(share / f"{name}{SUFFIX}", data)
    return name


def read_outcome(path: Path, elements: int) -> Outcome:
    """Read an outcome file.

    Parameters
    ----------
    path
        Its name must be the hash of its content.
    elements
        The longest array that can be meant; a larger file is not read.

    Raises
    ------
    PeerError
        When a single byte is not as :func:`encode_outcome` lays it out.
    BundleError, StorageError
        When it is no plain file, too large, or cannot be opened.
    """
    data = read_bounded(path, 4 * elements + _HEADER_BYTES)
    name = sha256(data).hexdigest()
    if path.name != f"{name}{SUFFIX}":
        raise PeerError(f"{path} is not named after its content; it was changed or cut off.")
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        header = msgspec.json.decode(data[8:start], type=_Header)
        array = None if header.arrays is None else np.frombuffer(data[start:], "<f4")
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise PeerError(f"{path} is not an outcome: {error}.") from error
    reply = decode_reply(header.metadata.reply.encode())
    outcome = Outcome(name, reply, None if array is None else array.astype(np.float32))
    if encode_outcome(outcome.reply, outcome.array) != data:
        raise PeerError(f"{path} holds more than a reply and its array.")
    return outcome


def find_outcomes(share: Path, elements: int) -> Iterator[Outcome | HeadwaterError]:
    """Read the outcomes in a folder, oldest names first; one that cannot be read is an error."""
    try:
        paths = sorted(share.glob(f"*{SUFFIX}"))[:MAX_OUTCOMES]
    except OSError:
        return
    for path in paths:
        if path.name.startswith("."):
            continue
        try:
            yield read_outcome(path, elements)
        except HeadwaterError as error:
            yield error
