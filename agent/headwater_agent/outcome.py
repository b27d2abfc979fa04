"""Outcomes: finished replies that the agent's side hands to the federation client, as files.

An outcome is a safetensors file with at most one tensor, ``arrays``, ``statistics`` or
``compressed``, and one entry of metadata, ``reply``, the encoded message. It lies under the
SHA-256 of its bytes and appears whole or not at all. Its layout follows from what it says, so
reading is comparing and no byte can hide in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np

from headwater.errors import HeadwaterError, PeerError
from headwater.objects import Vector, name_of
from headwater.wire import (
    ARRAY,
    COMPRESSED,
    MAX_FIELDS_BYTES,
    STATISTICS,
    Reply,
    decode_reply,
    encode,
)
from headwater_models.files import read_bounded, write_file

SUFFIX = ".update"
"""Ending of the names of outcome files."""

MAX_OUTCOMES = 1_000
"""More files than this are not looked at in one pass."""

_TENSORS = {ARRAY: "F32", STATISTICS: "F64", COMPRESSED: "U8"}
"""What safetensors calls the dtype of each."""

_HEADER_BYTES = 2 * MAX_FIELDS_BYTES
_ALIGN = 8


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A reply and its packed vector ``[n]`` or None; ``name`` is the hash of its file."""

    name: str
    reply: Reply
    array: Vector | None


class _Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class _Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reply: str


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    metadata: _Metadata = msgspec.field(name="__metadata__")
    arrays: _Tensor | None = None
    statistics: _Tensor | None = None
    compressed: _Tensor | None = None


def encode_outcome(reply: Reply, array: Vector | None) -> bytes:
    """Return the bytes of an outcome file: the same reply and vector give the same bytes."""
    fields = _Header(_Metadata(encode(reply).decode()))
    data = b""
    if array is not None:
        little = array.dtype.newbyteorder("<")
        data = np.ascontiguousarray(array, little).tobytes()
        tensor = _Tensor(_TENSORS[name_of(array)], array.shape, (0, len(data)))
        fields = msgspec.structs.replace(fields, **{name_of(array): tensor})
    header = msgspec.json.encode(fields)
    header += b" " * (-len(header) % _ALIGN)
    return len(header).to_bytes(8, "little") + header + data


def write_outcome(share: Path, reply: Reply, array: Vector | None = None) -> str:
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


def read_outcome(path: Path, longest: int) -> Outcome:
    """Read an outcome file.

    Parameters
    ----------
    path
        Its name must be the hash of its content.
    longest
        Bytes of the longest vector that can be meant; a larger file is not read.

    Raises
    ------
    PeerError
        When a single byte is not as :func:`encode_outcome` lays it out.
    BundleError, StorageError
        When it is no plain file, too large, or cannot be opened.
    """
    data = read_bounded(path, longest + _HEADER_BYTES)
    name = sha256(data).hexdigest()
    if path.name != f"{name}{SUFFIX}":
        raise PeerError(f"{path} is not named after its content; it was changed or cut off.")
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        header = msgspec.json.decode(data[8:start], type=_Header)
        array = _vector(header, data[start:])
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise PeerError(f"{path} is not an outcome: {error}.") from error
    reply = decode_reply(header.metadata.reply.encode())
    outcome = Outcome(name, reply, array)
    if encode_outcome(outcome.reply, outcome.array) != data:
        raise PeerError(f"{path} holds more than a reply and its array.")
    return outcome


def _vector(header: _Header, data: bytes) -> Vector | None:
    if header.statistics is not None:
        return np.frombuffer(data, "<f8").astype(np.float64)
    if header.compressed is not None:
        return np.frombuffer(data, np.uint8)
    return None if header.arrays is None else np.frombuffer(data, "<f4").astype(np.float32)


def find_outcomes(share: Path, longest: int) -> Iterator[Outcome | HeadwaterError]:
    """Read the outcomes in a folder, oldest names first; one that cannot be read is an error."""
    try:
        paths = sorted(share.glob(f"*{SUFFIX}"))[:MAX_OUTCOMES]
    except OSError:
        return
    for path in paths:
        if path.name.startswith("."):
            continue
        try:
            yield read_outcome(path, longest)
        except HeadwaterError as error:
            yield error
