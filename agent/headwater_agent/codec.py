"""Messages to records: any bytes in, records or a refusal with a reason out; never an exception."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater_agent.events import Floats, Record
from headwater_agent.settings import AgentSettings, Input, TimeField
from headwater_agent.topics import Pattern
from headwater_agent.units import Conversion, conversion
from headwater_models.manifest import Manifest

EARLIEST = 946_684_800_000
"""2000-01-01: an event time before it is a clock that was never set."""

MAX_STREAM = 128
"""Longest name of a stream, in characters."""

MAX_RECORDS = 10_000
"""Most records that one message may hold."""

Reason = Literal["topic", "size", "json", "deep", "shape", "channel", "time", "stream", "retained"]

_LARGEST = float(np.finfo(np.float32).max)
_MS_PER_UNIT = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that gives no record: a stable word, and a sentence for the log."""

    reason: Reason
    topic: str
    detail: str

    def __str__(self) -> str:
        return f"message on {self.topic[:200]!r} refused: {self.detail}"


class _UnusableError(Exception):
    """One item of a message gives no record."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class _Path:
    """A key of a JSON object, or a path such as ``data.0.temp`` where there is no such key."""

    __slots__ = ("_parts", "_whole")

    def __init__(self, text: str) -> None:
        self._whole = text
        self._parts = tuple(text.split(".")) if "." in text else ()

    def find(self, item: object) -> object:
        """Return the value, or ``_ABSENT``."""
        if isinstance(item, dict) and self._whole in item:
            return item[self._whole]
        if not self._parts:
            return _ABSENT
        for part in self._parts:
            if isinstance(item, dict) and part in item:
                item = item[part]
            elif isinstance(item, list) and part.isdecimal() and int(part) < len(item):
                item = item[int(part)]
            else:
                return _ABSENT
        return item


@dataclass(frozen=True, slots=True)
class _Cell:
    """A channel: its column, where it stands, and how its unit becomes the model's."""

    column: int
    path: _Path
    convert: Conversion
    topic: str


@dataclass(frozen=True, slots=True)
class _Source:
    """An input, prepared: what its pattern says of a topic and which cells its payload has."""

    settings: Input
    pattern: Pattern
    cells: tuple[_Cell, ...]
    stream: _Path | None
    time: _Path


@dataclass(frozen=True, slots=True)
class _Place:
    """What a topic says: the input it belongs to, the stream (None: not said), its cells."""

    source: _Source
    stream: str | None
    cells: tuple[_Cell, ...]


class Decoder:
    """Decode the messages of all inputs for one model.

    Parameters
    ----------
    settings
        Patterns, field maps, units and limits.
    manifest
        Channels in their order, with the units that the model wants.

    Attributes
    ----------
    counts
        How many cells or items were ``unreadable``, and how many messages were refused, by
        reason.

    Raises
    ------
    SettingsError
        When a channel is not the model's, or a unit cannot become the model's unit.
    """

    def __init__(self, settings: AgentSettings, manifest: Manifest) -> None:
        self.counts: Counter[str] = Counter()
        self._device = settings.device
        self._channels = len(manifest.channels)
        self._sources = tuple(_prepare(item, manifest) for item in settings.inputs)
        self._place = lru_cache(maxsize=16_384)(self._find_place)

    def decode(
        self, topic: str, payload: bytes, received_ms: int, receipt: int
    ) -> list[Record] | Refusal:
        """Decode one message.

        An array gives a record for each item that can be used. ``true`` is 1, ``null`` and what
        is not finite are missing values that were spoken of, a channel that does not occur was
        not; text is read as a number where the settings allow it, anything else counts as
        ``unreadable`` and is missing.

        Parameters
        ----------
        topic, payload
            The message as it came; any text, any bytes.
        received_ms
            Wall clock at receipt, UTC milliseconds.
        receipt
            What the transport wants back, copied into each record.
        """
        try:
            place = self._place(topic)
            return self._records(
                place, _parse(payload, place.source.settings), received_ms, receipt
            )
        except _UnusableError as unusable:
            self.counts[unusable.reason] += 1
            return Refusal(unusable.reason, topic, unusable.detail)

    def _find_place(self, topic: str) -> _Place:
        for source in self._sources:
            names = source.pattern.read(topic)
            if names is None:
                continue
            stream = names.get("stream")
            word = names.get("channel")
            cells = tuple(c for c in source.cells if word is None or c.topic == word)
            if not cells:
                raise _UnusableError("channel", f"{word!r} is no channel of the model")
            if stream is None and source.stream is None:
                stream = self._device
            return _Place(source, None if stream is None else _stream_name(stream), cells)
        raise _UnusableError("topic", "no input has a pattern for it")

    def _records(
        self, place: _Place, content: object, received_ms: int, receipt: int
    ) -> list[Record]:
        items = content if isinstance(content, list) else [content]
        if len(items) > MAX_RECORDS:
            raise _UnusableError(
                "size", f"it holds {len(items)} records; at most {MAX_RECORDS} are read"
            )
        records: list[Record] = []
        refused: _UnusableError | None = None
        for item in items:
            try:
                records.append(self._record(place, item, received_ms, receipt))
            except _UnusableError as unusable:
                refused = unusable
                self.counts["unreadable"] += len(items) > 1
        if not records:
            raise refused or _UnusableError("shape", "the array is empty")
        return records

    def _record(self, place: _Place, item: object, received_ms: int, receipt: int) -> Record:
        source = place.source
        stream = place.stream
        if stream is None and source.stream is not None:
            stream = _stream_name(source.stream.find(item))
        values = np.full(self._channels, np.nan, np.float32)
        present = np.zeros(self._channels, np.bool_)
        readable = self._fill(place, item, values, present)
        if not present.any():
            raise _UnusableError("channel", "none of the model's channels occurs in it")
        if not readable:
            raise _UnusableError("shape", "none of its values is a number")
        return Record(
            stream=stream or self._device,
            time=_event_time(source.settings.time, source.time, item, received_ms),
            values=values,
            present=present,
            received=received_ms,
            receipt=receipt,
        )

    def _fill(self, place: _Place, item: object, values: Floats, present: NDArray[np.bool_]) -> int:
        """Read the cells of one item; return how many were numbers or null."""
        text = place.source.settings.numbers_in_text
        scalar = not isinstance(item, dict | list)
        readable = 0
        for cell in place.cells:
            found = item if scalar and len(place.cells) == 1 else cell.path.find(item)
            if found is _ABSENT:
                continue
            present[cell.column] = True
            number = _number(found, text)
            if number is None:
                self.counts["unreadable"] += 1
                continue
            readable += 1
            number = cell.convert(number)
            if abs(number) <= _LARGEST:
                values[cell.column] = number
        return readable


def _prepare(item: Input, manifest: Manifest) -> _Source:
    pattern = Pattern.parse(item.pattern)
    columns = {channel.name: i for i, channel in enumerate(manifest.channels)}
    by_topic = "channel" in pattern.names
    cells = []
    for name in item.channels or columns:
        where = f"input {item.pattern!r}: channels.{name}"
        if name not in columns:
            raise SettingsError(
                f"{where}: model {manifest.name} has no such channel; it has {', '.join(columns)}."
            )
        chosen = item.channels.get(name)
        field, unit, topic = (chosen.field, chosen.unit, chosen.topic) if chosen else ("", "", "")
        try:
            convert = conversion(unit, manifest.channels[columns[name]].unit)
        except ValueError as error:
            raise SettingsError(f"{where}.unit: {error}.") from error
        path = _Path(field or ("value" if by_topic else name))
        cells.append(_Cell(columns[name], path, convert, topic or name))
    stream = _Path(item.stream) if item.stream else None
    return _Source(item, pattern, tuple(cells), stream, _Path(item.time.field))


def _parse(payload: bytes, settings: Input) -> object:
    """Read JSON with the limits of the input; NaN and Infinity, which JSON lacks, are read too."""
    if len(payload) > settings.max_payload:
        raise _UnusableError(
            "size", f"it has {len(payload)} bytes; max_payload is {settings.max_payload}"
        )
    try:
        try:
            content: object = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            content = json.loads(payload)
    except RecursionError:
        raise _UnusableError("deep", "its JSON is nested too deeply") from None
    except (ValueError, UnicodeError) as error:
        raise _UnusableError("json", f"it is not JSON ({error})") from None
    return content


def _number(value: object, text: bool) -> float | None:
    """Return a number, NaN for one that is missing, None for what is no number."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        if not text or "_" in value:
            return None
    elif not isinstance(value, bool | int | float):
        return None
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:
        return math.nan


def _stream_name(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 2**63 else ""
    if not isinstance(value, str):
        raise _UnusableError("stream", "its stream field is missing or is no text")
    if not 1 <= len(value) <= MAX_STREAM or not value.isprintable() or set(value) & set("/+#"):
        raise _UnusableError(
            "stream",
            f"the name of its stream is not 1 to {MAX_STREAM} printable characters "
            "without '/', '+' and '#'",
        )
    return value


def _event_time(settings: TimeField, path: _Path, item: object, received_ms: int) -> int:
    if settings.format == "none":
        return received_ms
    found = path.find(item)
    time = _iso_ms(found) if settings.format == "iso8601" else _scaled_ms(found, settings.format)
    if time is None:
        raise _UnusableError(
            "time", f"its field {settings.field!r} is no time of the stated format"
        )
    if not EARLIEST <= time <= received_ms + settings.ahead:
        raise _UnusableError(
            "time", f"its time {time} (UTC ms) lies before 2000 or too far in the future"
        )
    return time


def _iso_ms(value: object) -> int | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def _scaled_ms(value: object, unit: str) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and unit in ("us", "ns"):
        return value // {"us": 1_000, "ns": 1_000_000}[unit]
    number = None if isinstance(value, bool) else _number(value, True)
    if number is None or not math.isfinite(number) or abs(number) > 1e30:
        return None
    return round(number * _MS_PER_UNIT[unit])
