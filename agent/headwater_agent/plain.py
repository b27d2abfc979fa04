"""The common payload, read in one pass: a JSON object with a number for each channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain, compress
from operator import itemgetter
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_agent.columns import RecordRun
from headwater_agent.events import Floats, Record
from headwater_agent.payload import EARLIEST, UnusableError, read_iso_ms, read_stream
from headwater_agent.settings import Input
from headwater_agent.units import Conversion

PER_MS = {"s": 1000.0, "ms": 1.0}
"""Milliseconds in a unit whose times may have a fraction."""

PER_US = {"us": 1_000, "ns": 1_000_000}
"""How many units make a millisecond, where times are whole numbers."""

LARGEST = float(np.finfo(np.float32).max)
"""From here on a value is infinite."""

FEW = 64
"""Fewer records are worth no columns."""

_FAR = 2**53

_BRACKETS = 500
"""With more of them nothing is plain: how deep a decoder gets depends on who calls it."""

Fields = tuple[Any, ...]
"""What a payload holds: a number or None for each channel; then time and stream, where wanted."""


class PlainPayloads:
    """Read payloads of one input into a type made from its settings.

    What it reads is what :class:`.Decoder` would read, much faster; whatever is not so simple
    (text for a number, a channel left out, an array) it leaves to that.

    Parameters
    ----------
    settings
        Stream and time fields.
    keys
        The key of each cell in the payload.
    columns
        The channel of each cell.
    conversions
        How the unit of each becomes the model's.
    channels
        Number of channels C.
    """

    def __init__(
        self,
        settings: Input,
        keys: Sequence[str],
        *,
        columns: Sequence[int],
        conversions: Sequence[Conversion],
        channels: int,
    ) -> None:
        self._time = settings.time
        self._ahead = int(settings.time.ahead)
        self._largest = settings.max_payload
        self._cells = len(keys)
        self._numbers = itemgetter(slice(self._cells))
        self._columns = np.array(columns)
        self._all_in_order = list(columns) == list(range(channels))
        self._scale = np.array([conversion.scale for conversion in conversions])
        self._offset = np.array([conversion.offset for conversion in conversions])
        self._conversions = [
            (column, convert.scale, convert.offset)
            for column, convert in zip(columns, conversions, strict=True)
        ]
        self._missing = np.full(channels, np.nan, np.float32)
        self._channels = channels
        self._present = np.zeros(channels, np.bool_)
        self._present[self._columns] = True
        self._named = bool(settings.stream)
        fields: list[tuple[str, Any]] = [(key, float | None) for key in keys]
        if settings.time.format != "none":
            fields.append((settings.time.field, _time_type(settings.time.format)))
        if settings.stream:
            fields.append((settings.stream, str | int))
        self._numeric = not settings.stream and settings.time.format in PER_MS
        self._decode = msgspec.json.Decoder(_struct(fields)).decode
        self._decode_whole = msgspec.json.Decoder(_struct(fields, whole=True)).decode
        self._stream = lru_cache(maxsize=16_384)(read_stream)

    @staticmethod
    def suit(settings: Input, keys: Sequence[str]) -> bool:
        """Say whether the payloads of an input can be so simple: each key wanted once.

        One with a dot may be a key, which comes before a path; where it is none, nothing is plain.
        """
        used = [key for key in (*keys, settings.time.field, settings.stream) if key]
        return len(set(used)) == len(used)

    def read(self, payload: bytes) -> Fields | None:
        """Return what a payload holds, or None where it is not plain.

        Nothing is made of keys that nobody asked for, so what they hold is bounded by the size of
        the payload alone: it may lie deep, be many, or be no text.
        """
        size = len(payload)
        if size > self._largest or (
            size > 2 * _BRACKETS and payload.count(b"[") + payload.count(b"{") > _BRACKETS
        ):
            return None
        try:
            found: Fields = msgspec.structs.astuple(self._decode(payload))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return None if msgspec.UNSET in found else found

    def records(
        self,
        payloads: Sequence[bytes],
        streams: Sequence[str | None],
        receipts: Sequence[int],
        received_ms: int,
    ) -> RecordRun | list[Record | None]:
        """Return a record for each payload; None where it is not plain, or has no stream or time.

        Parameters
        ----------
        payloads
            As they came, at least one.
        streams
            What the topics say, None where the payload names the stream.
        receipts
            What the transport wants back.
        received_ms
            Wall clock at receipt, UTC milliseconds.
        """
        read = self._read_all(payloads)
        if all(read):
            return self._records(cast("Sequence[Fields]", read), streams, receipts, received_ms)
        found = [fields for fields in read if fields]
        if not found:
            return [None] * len(read)
        own, wanted = list(compress(streams, read)), list(compress(receipts, read))
        records = iter(self._records(found, own, wanted, received_ms))
        return [next(records) if fields else None for fields in read]

    def _read_all(self, payloads: Sequence[bytes]) -> Sequence[Fields | None]:
        """Return what :meth:`read` does of each payload; faster where all are short and plain."""
        if max(map(len, payloads)) <= min(self._largest, 2 * _BRACKETS):
            with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return list(map(msgspec.structs.astuple, map(self._decode_whole, payloads)))
        return list(map(self.read, payloads))

    def _records(
        self,
        found: Sequence[Fields],
        streams: Sequence[str | None],
        receipts: Sequence[int],
        received_ms: int,
    ) -> RecordRun | list[Record | None]:
        numbers = self._numbers_of(found)
        times, usable = self._times(found, numbers, received_ms)
        values = self._values(numbers)
        names = streams
        if self._named:
            names = [
                self._name(fields[-1]) if name is None else name
                for fields, name in zip(found, streams, strict=True)
            ]
        first = names[0]
        many = len(names) >= FEW
        if many and first and names.count(first) == len(names) and usable.all():
            return RecordRun(first, times, values, self._present, received_ms, receipts)
        return [
            Record(name, time, cells, self._present, received_ms, receipt)
            if fits and name
            else None
            for name, time, cells, receipt, fits in zip(
                names, times.tolist(), values, receipts, usable.tolist(), strict=True
            )
        ]

    def record(
        self, fields: Fields, stream: str | None, receipt: int, received_ms: int
    ) -> Record | None:
        """Return what :meth:`records` does for one payload, without arrays over many."""
        time = self._time_of(fields, received_ms)
        name = self._name(fields[-1]) if stream is None else stream
        if not name or not EARLIEST <= time <= received_ms + self._ahead:
            return None
        values = self._missing.copy()
        for (column, scale, offset), number in zip(self._conversions, fields, strict=False):
            if number is not None:
                value = scale * number + offset
                far = not -LARGEST <= value <= LARGEST
                values[column] = math.copysign(math.inf, value) if far else value
        return Record(name, time, values, self._present, received_ms, receipt)

    def _time_of(self, fields: Fields, received_ms: int) -> int:
        """Return the event time, UTC milliseconds, which need not be one that is possible."""
        unit = self._time.format
        if unit in PER_MS:
            exact: float = fields[self._cells] * PER_MS[unit]
            return round(exact) if abs(exact) < _FAR else 0
        if unit in PER_US:
            time: int = fields[self._cells] // PER_US[unit]
            return time
        return received_ms if unit == "none" else read_iso_ms(fields[self._cells]) or 0

    def _numbers_of(self, found: Sequence[Fields]) -> NDArray[np.float64]:
        """Return the numbers of all cells, and the times after them where all else are numbers."""
        parts = found if self._numeric else map(self._numbers, found)
        numbers = np.array(list(chain.from_iterable(parts)), np.float64)
        return numbers.reshape(len(found), -1)

    def _values(self, numbers: NDArray[np.float64]) -> Floats:
        with np.errstate(over="ignore"):
            scaled = self._scale * numbers[:, : self._cells] + self._offset
            given: Floats = scaled.astype(np.float32)
        if self._all_in_order:
            return given
        values = np.full((len(given), self._channels), np.nan, np.float32)
        values[:, self._columns] = given
        return values

    def _times(
        self, found: Sequence[Fields], numbers: NDArray[np.float64], received_ms: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the event times in UTC milliseconds, and which of them are times."""
        unit, place = self._time.format, self._cells
        if unit == "none":
            return np.full(len(found), received_ms), np.ones(len(found), np.bool_)
        said = [] if self._numeric else [fields[place] for fields in found]
        if unit == "iso8601":
            exact = np.array([read_iso_ms(text) or 0 for text in said], np.float64)
        elif unit in PER_US:
            exact = np.array([min(max(time // PER_US[unit], 0), _FAR) for time in said], np.float64)
        else:
            exact = np.rint(
                (numbers[:, place] if self._numeric else np.array(said, float)) * PER_MS[unit]
            )
        usable = (exact >= EARLIEST) & (exact <= received_ms + self._ahead)
        return np.where(usable, exact, 0).astype(np.int64), usable

    def _name(self, said: str | int) -> str | None:
        try:
            return self._stream(said)
        except UnusableError:
            return None


def _time_type(unit: str) -> Any:
    return str if unit == "iso8601" else int if unit in PER_US else float


def _struct(fields: Sequence[tuple[str, Any]], *, whole: bool = False) -> type[msgspec.Struct]:
    """Return a type with these keys, each of which may be left out unless it is to be *whole*."""
    default = msgspec.NODEFAULT if whole else msgspec.UNSET
    return msgspec.defstruct(
        "Payload",
        [
            (
                f"field_{i}",
                kind if whole else kind | msgspec.UnsetType,
                msgspec.field(default=default, name=key),
            )
            for i, (key, kind) in enumerate(fields)
        ],
        gc=False,
    )
