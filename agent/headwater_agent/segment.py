"""The bytes of one segment of the agent's log: whole numbers, float32 cells and texts in columns.

Whole numbers are stored as their distance from the column's smallest in as few bytes as the
largest of them needs, none where all are equal (frame of reference; Goldstein, Ramakrishnan and
Shaft, ICDE 1998). Real numbers go as the whole number of their 64 bits. Texts are deflated where
that is shorter. Each part has a checksum, and what does not decode is damage, never data.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import StorageError

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]
Floats = NDArray[np.float32]

MAX_COUNT = 1 << 24
"""Most entries of a segment that are believed."""

_COLUMN = struct.Struct("<qB")
_SUMS = struct.Struct("<III")
_WIDTHS = {0: None, 1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}
_LEVEL = 1
_WORTH = 64
"""Bytes of text from which on deflating them is tried."""
_UTF8 = 4
"""Most bytes of a character."""


class DamagedError(StorageError):
    """A database, or a part of it, cannot be what was written."""


class Segment(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Entries of one kind as they are stored.

    ``columns`` holds the whole numbers and the checksums of the others; ``cells`` is float32
    ``[count, F]`` in C order, little-endian; ``texts`` are joined, a str, or deflated bytes.
    """

    count: int
    columns: bytes
    cells: bytes = b""
    texts: str | bytes = ""


def encode(columns: Sequence[Ints], cells: bytes = b"", texts: str = "") -> Segment:
    """Lay entries out.

    Parameters
    ----------
    columns
        At least one int64 ``[N]``. Where there are texts, the last holds the length of each.
    cells
        float32 ``[N, F]`` in C order, little-endian.
    texts
        The texts of the entries, joined.
    """
    heads, bodies = [], []
    for column in columns:
        head, body = _narrow(column)
        heads.append(head)
        bodies.append(body)
    kept = _deflate(texts)
    raw = b"".join((*heads, *bodies))
    text_sum = zlib.crc32(kept if isinstance(kept, bytes) else kept.encode())
    count = len(columns[0])
    sums = _SUMS.pack(zlib.crc32(cells), text_sum, zlib.crc32(raw, count))
    return Segment(count, raw + sums, cells, kept)


def decode_columns(count: object, raw: object, width: int) -> Ints:
    """Return the whole numbers, int64 ``[width, count]``.

    Raises
    ------
    DamagedError
        When these are not the bytes that were written.
    """
    if not isinstance(count, int) or not isinstance(raw, bytes):
        raise _damaged()
    if not 0 < count <= MAX_COUNT or len(raw) < width * _COLUMN.size + _SUMS.size:
        raise _damaged()
    end = len(raw) - _SUMS.size
    if _SUMS.unpack_from(raw, end)[2] != zlib.crc32(memoryview(raw)[:end], count):
        raise _damaged()
    table = np.empty((width, count), np.int64)
    place = width * _COLUMN.size
    for index in range(width):
        base, size = _COLUMN.unpack_from(raw, index * _COLUMN.size)
        table[index] = base
        if size:
            if size not in _WIDTHS or place + size * count > end:
                raise _damaged()
            far = np.frombuffer(raw, _WIDTHS[size], count, place)
            table[index] += far.view(np.int64) if size == _WIDE else far
            place += size * count
    if place != end:
        raise _damaged()
    return table


def decode_cells(count: int, raw: bytes, cells: object) -> Floats:
    """Return the cells of a segment with these columns, float32 ``[count, F]``; raises as above."""
    if (
        not isinstance(cells, bytes)
        or len(cells) % (4 * count)
        or zlib.crc32(cells) != _sums(raw)[0]
    ):
        raise _damaged()
    return np.frombuffer(cells, "<f4").reshape(count, -1)


def decode_texts(lengths: Ints, raw: bytes, texts: object) -> list[str]:
    """Return the texts of a segment with these lengths and columns; raises as above."""
    kept = texts if isinstance(texts, bytes) else str(texts).encode()
    if zlib.crc32(kept) != _sums(raw)[1]:
        raise _damaged()
    ends = np.cumsum(lengths).tolist()
    joined = _inflate(texts, _UTF8 * ends[-1]) if isinstance(texts, bytes) else str(texts)
    if ends[-1] != len(joined) or lengths.min() < 0:
        raise _damaged()
    return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def whole(values: Sequence[int]) -> Ints:
    """Return whole numbers as a column; quick where all are equal."""
    first = values[0]
    if values.count(first) == len(values):
        return np.full(len(values), first, np.int64)
    return np.array(values, np.int64)


def bits(values: Sequence[float]) -> Ints:
    """Return real numbers as a column of their bits."""
    return np.array(values, "<f8").view(np.int64)


def reals(column: Ints) -> Reals:
    """Return the real numbers of a column of bits."""
    return np.ascontiguousarray(column).view(np.float64)


_WIDE = 8


def _narrow(column: Ints) -> tuple[bytes, bytes]:
    base, last = int(column.min()), int(column.max())
    reach = last - base
    if reach == 0:
        return _COLUMN.pack(base, 0), b""
    if reach >= 1 << 32:
        return _COLUMN.pack(0, _WIDE), column.astype("<i8").tobytes()
    size = 1 if reach < 1 << 8 else 2 if reach < 1 << 16 else 4
    return _COLUMN.pack(base, size), (column - base).astype(_WIDTHS[size]).tobytes()


def _sums(raw: bytes) -> tuple[int, int, int]:
    cells, texts, columns = _SUMS.unpack_from(raw, len(raw) - _SUMS.size)
    return cells, texts, columns


def _deflate(texts: str) -> str | bytes:
    plain = texts.encode()
    if len(plain) < _WORTH:
        return texts
    shorter = zlib.compress(plain, _LEVEL)
    return shorter if len(shorter) < len(plain) else texts


def _inflate(deflated: bytes, most: int) -> str:
    reader = zlib.decompressobj()
    try:
        plain = reader.decompress(deflated, most + 1)
        if len(plain) > most or not reader.eof:
            raise _damaged()
        return plain.decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise _damaged() from error


def _damaged() -> DamagedError:
    return DamagedError("a part of the agent's log is damaged (its checksum or length is wrong)")
