"""A Flower message, taken apart strictly: the two records of the protocol and nothing else.

Flower sends a message as a tree of objects, each under the SHA-256 of its bytes: a head
``<type> <children> <length of body>``, a zero byte, and the body. Flower's own reader makes
whatever the heads name and believes the sizes in them; this one knows the one form that is
allowed and allocates nothing on the sender's word.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import PeerError
from headwater.wire import ARRAY, COMPRESSED, MAX_FIELDS_BYTES, STATISTICS

RECORD = "headwater"
"""Name of the record whose one entry, ``fields``, is the encoded message."""

FIELDS = "fields"

MAX_ARRAY_BYTES = 128 * 2**20
"""Longest array that is put together where the caller knows no tighter bound."""

Vector = NDArray[Any]
"""What a message may carry, by its name: ``arrays`` are float32, ``statistics`` float64,
``compressed`` uint8."""

_DTYPES = {ARRAY: "float32", STATISTICS: "float64", COMPRESSED: "uint8"}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_Config = Callable[[bytes], Mapping[str, object]]


def name_of(vector: Vector) -> str:
    """Return the name under which a vector is sent."""
    return _NAMES.get(vector.dtype, ARRAY)


def digest(fields: bytes, vector: Vector | None) -> str:
    """Return the hash of what a message says, the same for who sends and who receives it.

    Parameters
    ----------
    fields
        Still encoded.
    vector
        float32, float64 or uint8 ``[n]``, or None.

    Returns
    -------
    str
        SHA-256, in hexadecimal.
    """
    found = sha256(b"headwater message 1\n%d\n" % len(fields) + fields)
    if vector is not None:
        found.update(f"{name_of(vector)}\n".encode())
        found.update(np.ascontiguousarray(vector, vector.dtype.newbyteorder("<")).data)
    return found.hexdigest()


def read_message(
    root: str,
    contents: Mapping[str, bytes],
    read_config: _Config,
    *,
    sender: str,
    limit: int = MAX_ARRAY_BYTES,
    vectors: Collection[str] = (ARRAY,),
) -> tuple[bytes, Vector | None]:
    """Read the encoded fields and the packed vector out of a message's objects.

    Parameters
    ----------
    root
        Name of the message's own object.
    contents
        The bytes of each object by its name; the caller has bounded their number and size.
    read_config
        Decodes a whole ``ConfigRecord`` object; raises ValueError when it is not one.
    sender
        Who sent it, for the sentence: ``coordinator`` or ``device``.
    limit
        Bytes that the vector may have once it is put together: parts may be named repeatedly.
    vectors
        Names of those that may come, one at most.

    Returns
    -------
    tuple
        The fields, and a vector of the dtype of its name, or None.

    Raises
    ------
    PeerError
        When a hash, a type, a name, a dtype, a shape or a size is not what the protocol has.
    """
    try:
        _, (top,) = _open(contents, root, "Message")
        records = _names(contents, top, "RecordDict")
        allowed = ({RECORD}, *({RECORD, name} for name in vectors))
        _demand(set(records) in allowed, "its records are others than ours")
        fields = _fields(contents, records.pop(RECORD), read_config)
        found = [_vector(contents, name, record, limit) for name, record in records.items()]
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise PeerError(
            f"The {sender} sent a message that is not one of this protocol "
            f"({str(error) or type(error).__name__}); it was dropped."
        ) from error
    return fields, found[0] if found else None


def _demand(holds: bool, complaint: str) -> None:
    if not holds:
        raise ValueError(complaint)


def _open(contents: Mapping[str, bytes], name: str, kind: str) -> tuple[bytes, list[str]]:
    """Return the body of an object and the names of its children."""
    content = contents[name]
    _demand(sha256(content).hexdigest() == name, "a part has a wrong hash")
    head, divider, body = content.partition(b"\x00")
    found, children, length = head.decode("ascii").split(" ")
    _demand(bool(divider) and found == kind, f"a {kind} was expected, not a {found[:32]}")
    _demand(int(length) == len(body), f"a {kind} has a wrong length")
    return body, children.split(",") if children else []


def _names(contents: Mapping[str, bytes], name: str, kind: str) -> dict[str, str]:
    """Return the named children of a record."""
    body, children = _open(contents, name, kind)
    names = json.loads(body)
    _demand(isinstance(names, dict) and set(names.values()) == set(children), f"{kind} is broken")
    return {str(key): str(value) for key, value in names.items()}


def _fields(contents: Mapping[str, bytes], name: str, read_config: _Config) -> bytes:
    _open(contents, name, "ConfigRecord")
    _demand(len(contents[name]) <= MAX_FIELDS_BYTES + 256, "its fields are too long")
    config = read_config(contents[name])
    fields = config.get(FIELDS)
    _demand(set(config) == {FIELDS}, "its record holds more than the fields")
    if not isinstance(fields, bytes):
        raise TypeError("its fields are not bytes")
    return fields


def _vector(contents: Mapping[str, bytes], name: str, record: str, limit: int) -> Vector:
    arrays = _names(contents, record, "ArrayRecord")
    _demand(set(arrays) == {name}, "its arrays are others than ours")
    body, children = _open(contents, arrays[name], "Array")
    described = json.loads(body)
    shape, order, dtype = described["shape"], described["arraychunk_ids"], _DTYPES[name]
    _demand(
        described["dtype"] == dtype and described["stype"] == "numpy.ndarray",
        f"its {name} are not {dtype}",
    )
    _demand(len(shape) == 1 and isinstance(shape[0], int), "its array is not a vector")
    chunks = [_open(contents, child, "ArrayChunk")[0] for child in children]
    _demand(sum(len(chunks[i]) for i in order) <= limit, "its array is too long")
    return _read_npy(b"".join(chunks[i] for i in order), shape[0], np.dtype(dtype))


def _read_npy(data: bytes, length: int, wanted: np.dtype[Any]) -> Vector:
    """Read NumPy's file format without believing the shape in it."""
    file = io.BytesIO(data)
    _demand(np.lib.format.read_magic(file) == (1, 0), "its array has an unknown format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    little = wanted.newbyteorder("<")
    _demand(dtype == little and shape == (length,), "its array is not what it says")
    _demand(len(data) - file.tell() == wanted.itemsize * length, "its array has a wrong length")
    return np.frombuffer(data, little, offset=file.tell()).astype(wanted)
