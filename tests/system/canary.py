"""Looks for planted sensor values in bytes, whatever they were packed into on the way.

A canary is a row of unlikely values, one for each channel, planted over some hours of a stream.
A leak of rows holds the values side by side, a leak of a series holds one of them again and
again; both are looked for as float16, float32 and float64 in both byte orders and as decimal
text, raw and scaled, inside base64, zlib and gzip layers around each other.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

DEPTH = 3
"""Layers of packing that are opened."""

MAX_UNPACKED = 64 * 2**20

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_RUNS = {"e": 4, "f": 2, "d": 2}
"""How many values must follow one another to be no accident: fewer bytes, more values."""


@dataclass(frozen=True)
class Scaling:
    """One way in which values may have been changed: ``(value - shift) / scale`` by channel."""

    name: str
    shift: tuple[float, ...]
    scale: tuple[float, ...]


@dataclass(frozen=True)
class Pattern:
    """Bytes that must not occur, and what they would mean."""

    name: str
    content: bytes


def patterns(row: Sequence[float], scalings: Sequence[Scaling]) -> list[Pattern]:
    """Return everything that a planted row could look like."""
    raw = Scaling("raw", (0.0,) * len(row), (1.0,) * len(row))
    made: list[Pattern] = []
    for scaling in (raw, *scalings):
        values = (np.array(row) - scaling.shift) / scaling.scale
        made.extend(_binary(scaling.name, values))
        made.extend(_text(scaling.name, values))
    return made


def find(body: bytes, wanted: Sequence[Pattern]) -> set[str]:
    """Return the names of the patterns that occur in a message, unpacked layer by layer."""
    return {
        f"{layer}{pattern.name}"
        for layer, content in _layers(body, DEPTH)
        for pattern in wanted
        if pattern.content in content
    }


def _binary(name: str, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Iterator[Pattern]:
    for code, run in _RUNS.items():
        for order in "<>":
            packed = values.astype(f"{order}f{np.dtype(code).itemsize}")
            for start in range(len(values) - run + 1):
                across = packed[start : start + run].tobytes()
                yield Pattern(f"{name} row as {order}{code}", across)
            for at in range(len(packed)):
                series = packed[at : at + 1].tobytes() * run
                yield Pattern(f"{name} series as {order}{code}", series)


def _text(name: str, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Iterator[Pattern]:
    for value in values:
        for text in {repr(float(value)), str(np.float32(value)), f"{value:.4f}", f"{value:.6g}"}:
            if len(text.strip("-0.")) >= 5:
                yield Pattern(f"{name} as text", text.encode())


def _layers(body: bytes, depth: int) -> Iterator[tuple[str, bytes]]:
    yield "", body
    if depth == 0:
        return
    for name, content in (*_inflated(body), *_decoded(body)):
        for inner, deeper in _layers(content, depth - 1):
            yield f"{name}{inner}", deeper


def _inflated(body: bytes) -> Iterator[tuple[str, bytes]]:
    for name, head, window in (("zlib > ", b"\x78", 15), ("gzip > ", b"\x1f\x8b", 31)):
        start = body.find(head)
        while start >= 0:
            opener = zlib.decompressobj(window)
            try:
                content = opener.decompress(body[start:], MAX_UNPACKED)
            except zlib.error:
                content = b""
            if len(content) >= 8:
                yield name, content
            start = body.find(head, start + 1)


def _decoded(body: bytes) -> Iterator[tuple[str, bytes]]:
    for found in _BASE64.finditer(body):
        text = found[0].rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        for skip in range(4):  # a run may have swallowed letters before the encoded text
            part = text[skip:]
            part = part[: len(part) - (len(part) % 4 == 1)]
            try:
                yield "base64 > ", base64.b64decode(part + b"=" * (-len(part) % 4))
            except binascii.Error:
                continue
