"""Updates with fewer bytes: what a packed float32 vector becomes on the wire, and back.

Half precision; whole numbers with a scale for each array (Alistarh et al., QSGD, NeurIPS 2017, to
the nearest); or those of the largest entries alone (Aji and Heafield, EMNLP 2017). What is lost
belongs into the next update (error feedback: Karimireddy et al., ICML 2019); keeping it is the
sender's business.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headwater.errors import PeerError
from headwater_models.arrays import packed_size
from headwater_models.manifest import Manifest

Method = Literal["float16", "int8", "top-k"]

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_LARGEST_HALF = 65_504.0
_LEVELS = 127
_LEVEL = 6
"""Of zlib; a higher one takes three times as long for one byte in a hundred."""


def compress(vector: Floats, manifest: Manifest, method: Method, keep: float = 1.0) -> Bytes:
    """Return the bytes that stand for a vector.

    Parameters
    ----------
    vector
        The shared arrays of the manifest packed, float32 ``[n]``, finite.
    manifest
        Of the model.
    method
        How; the first byte says it.
    keep
        Share of the entries that ``top-k`` keeps, at least one.

    Returns
    -------
    numpy.ndarray
        uint8 ``[m]``.
    """
    body = _FORMATS[method].encode(vector, _ends(manifest), keep)
    return np.frombuffer(bytes([_CODES[method]]) + zlib.compress(body, _LEVEL), np.uint8)


def decompress(data: Bytes, manifest: Manifest) -> Floats:
    """Return the vector that bytes stand for, float32 ``[n]``.

    Not more is unpacked than the model has.

    Raises
    ------
    PeerError
        When they are not what :func:`compress` makes for this model.
    """
    method, body = _unpacked(data, manifest)
    try:
        return _FORMATS[method].decode(body, packed_size(manifest), _ends(manifest))
    except ValueError as error:
        raise _unreadable(error) from error


def check_compressed(data: Bytes, manifest: Manifest, method: Method) -> None:
    """Refuse bytes that hold anything but a finite vector, or were compressed in another way.

    There is one way to write down a vector's parts, so nothing can hide between them. It is that
    of this machine's zlib; what another machine compressed need not pass.

    Raises
    ------
    PeerError
        Saying what is wrong.
    """
    found, body = _unpacked(data, manifest)
    if found != method:
        raise PeerError(f"An update was compressed as {found}; {method} was asked for.")
    if not np.isfinite(decompress(data, manifest)).all():
        raise PeerError("A compressed update holds a value that is not finite.")
    if zlib.compress(body, _LEVEL) != data[1:].tobytes():
        raise PeerError("A compressed update holds more than its vector.")


def _unpacked(data: Bytes, manifest: Manifest) -> tuple[Method, bytes]:
    """Return the method, and what was packed."""
    method = next((name for name, code in _CODES.items() if data[:1].tolist() == [code]), None)
    if method is None:
        raise PeerError("A compressed update is in no format that is known here.")
    size, count = packed_size(manifest), len(manifest.shared)
    unpacker = zlib.decompressobj()
    try:
        body = unpacker.decompress(data[1:].tobytes(), 4 * count + 2 * size + (size + 7) // 8 + 1)
        _demand(unpacker.eof and not unpacker.unused_data)
    except (zlib.error, ValueError) as error:
        raise _unreadable(error) from error
    return method, body


def _unreadable(error: Exception) -> PeerError:
    return PeerError(f"A compressed update cannot be read: {error}.")


@dataclass(frozen=True, slots=True)
class _Format:
    encode: Callable[[Floats, list[int], float], bytes]
    decode: Callable[[bytes, int, list[int]], Floats]


def _encode_half(vector: Floats, ends: list[int], keep: float) -> bytes:
    del ends, keep
    return vector.clip(-_LARGEST_HALF, _LARGEST_HALF).astype("<f2").tobytes()


def _decode_half(body: bytes, size: int, ends: list[int]) -> Floats:
    del ends
    _demand(len(body) == 2 * size)
    return np.frombuffer(body, "<f2").astype(np.float32)


def _encode_whole(vector: Floats, ends: list[int], keep: float) -> bytes:
    del keep
    scales, levels = _quantised(vector, ends)
    return scales + levels.tobytes()


def _decode_whole(body: bytes, size: int, ends: list[int]) -> Floats:
    _demand(len(body) == 4 * len(ends) + size)
    return _scaled(np.frombuffer(body, np.int8, offset=4 * len(ends)), body, ends)


def _encode_largest(vector: Floats, ends: list[int], keep: float) -> bytes:
    count = min(max(1, round(keep * vector.size)), vector.size)
    largest = np.zeros(vector.size, np.bool_)
    largest[np.argpartition(np.abs(vector), vector.size - count)[vector.size - count :]] = True
    scales, levels = _quantised(np.where(largest, vector, 0), ends)
    return scales + np.packbits(largest).tobytes() + levels[largest].tobytes()


def _decode_largest(body: bytes, size: int, ends: list[int]) -> Floats:
    start = 4 * len(ends)
    stop = start + (size + 7) // 8
    _demand(len(body) >= stop)
    bits = np.unpackbits(np.frombuffer(body[start:stop], np.uint8)).astype(np.bool_)
    _demand(not bits[size:].any() and len(body) == stop + int(bits.sum()))
    levels = np.zeros(size, np.int8)
    levels[bits[:size]] = np.frombuffer(body, np.int8, offset=stop)
    return _scaled(levels, body, ends)


def _quantised(vector: Floats, ends: list[int]) -> tuple[bytes, NDArray[np.int8]]:
    """Return a scale for each array, encoded, and the nearest multiples of it."""
    parts = np.split(vector, ends[:-1])
    scales = np.array([np.abs(part).max(initial=0) / _LEVELS for part in parts], "<f4")
    steps = np.repeat(scales, np.diff([0, *ends]))
    levels = np.divide(vector, steps, out=np.zeros_like(vector), where=steps > 0)
    return scales.tobytes(), np.rint(levels).clip(-_LEVELS, _LEVELS).astype(np.int8)


def _scaled(levels: NDArray[np.int8], body: bytes, ends: list[int]) -> Floats:
    scales = np.frombuffer(body, "<f4", count=len(ends))
    _demand(bool(np.isfinite(scales).all() and (scales >= 0).all()))
    steps: Floats = np.repeat(scales.astype(np.float32), np.diff([0, *ends]))
    return levels.astype(np.float32) * steps


def _demand(holds: bool) -> None:
    if not holds:
        raise ValueError("it is not laid out as the model is")


def _ends(manifest: Manifest) -> list[int]:
    """Return where each shared array ends in the packed vector."""
    sizes = [array.size for array in manifest.shared]
    return list(accumulate(sizes))


_FORMATS: Mapping[Method, _Format] = {
    "float16": _Format(_encode_half, _decode_half),
    "int8": _Format(_encode_whole, _decode_whole),
    "top-k": _Format(_encode_largest, _decode_largest),
}
_CODES: Mapping[Method, int] = {"float16": 1, "int8": 2, "top-k": 3}
