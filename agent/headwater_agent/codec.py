"""Messages to records: any bytes in, records or a refusal with a reason out; never an exception."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater_agent.columns import RecordRun
from headwater_agent.events import Floats, Record
from headwater_agent.payload import (
    ABSENT,
    FieldPath,
    Refusal,
    UnusableError,
    check_topic,
    parse,
    read_number,
    read_stream,
    read_time,
)
from headwater_agent.plain import LARGEST, PlainPayloads
from headwater_agent.settings import AgentSettings, Input
from headwater_agent.topics import Pattern
from headwater_agent.transport import Message
from headwater_agent.units import Conversion, conversion
from headwater_models.manifest import Manifest

MAX_RECORDS = 10_000
"""Most records that one message may hold."""

FEW = 3
"""Fewer messages are decoded faster one by one."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """A channel: its column, where it stands, and how its unit becomes the model's.

    ``categories`` holds the index of each of its categories' names; empty where it has none.
    """

    column: int
    key: str
    path: FieldPath
    convert: Conversion
    topic: str
    categories: dict[str, int]

    def read(self, value: object, *, text: bool) -> float | None:
        """Return the number in the model's unit, NaN for null, None for what is neither."""
        if isinstance(value, str) and value in self.categories:
            return float(self.categories[value])
        number = read_number(value, text=text)
        return None if number is None else self.convert(number)


@dataclass(frozen=True, slots=True)
class _Source:
    """An input, prepared: what its pattern says of a topic and which cells its payload has.

    ``plain`` reads most of its payloads, unless they cannot be as simple as that.
    """

    settings: Input
    pattern: Pattern
    cells: tuple[_Cell, ...]
    stream: FieldPath | None
    time: FieldPath
    plain: PlainPayloads | None


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
    unreadable
        How many cells, and items of arrays, were left out of what could be read.
    timeless
        Whether the time of receipt is nothing to go by: records without a time of their own are
        marked whole.

    Raises
    ------
    SettingsError
        When a channel is not the model's, or a unit cannot become the model's unit.
    """

    def __init__(self, settings: AgentSettings, manifest: Manifest) -> None:
        self.unreadable = 0
        self.timeless = False
        self._device = settings.device
        self._channels = len(manifest.channels)
        self._sources = tuple(_prepare(item, manifest) for item in settings.inputs)
        self._place = lru_cache(maxsize=16_384)(self._find_place)

    def decode_all(
        self, messages: Sequence[Message], received_ms: int
    ) -> list[list[Record] | Refusal]:
        """Decode messages that came together; each as :meth:`decode` does."""
        found = self.decode_together(messages, received_ms)
        return [[record] for record in found] if type(found) is RecordRun else found

    def decode_together(
        self, messages: Sequence[Message], received_ms: int
    ) -> RecordRun | list[list[Record] | Refusal]:
        """Decode messages as :meth:`decode_all` does; what they hold in columns where it can be.

        That is where each of them holds a plain record of the same stream.

        Parameters
        ----------
        messages
            As they came.
        received_ms
            Wall clock at receipt, UTC milliseconds.
        """
        if len(messages) < FEW:
            return list(map(self._decode_alone, messages, repeat(received_ms)))
        records = self._plain_records(messages, received_ms)
        if type(records) is RecordRun:
            return records
        return [
            [record]
            if record is not None
            else self.decode(message.topic, message.payload, received_ms, message.receipt)
            for record, message in zip(records, messages, strict=True)
        ]

    def _decode_alone(self, message: Message, received_ms: int) -> list[Record] | Refusal:
        """Decode one message without arrays over many."""
        if (found := self._plain_of(message.topic)) is not None:
            plain, stream = found
            if (fields := plain.read(message.payload)) is not None:
                record = plain.record(fields, stream, message.receipt, received_ms)
                if record is not None:
                    return [record]
        return self.decode(message.topic, message.payload, received_ms, message.receipt)

    def _plain_records(
        self, messages: Sequence[Message], received_ms: int
    ) -> RecordRun | list[Record | None]:
        """Return the record of each message; None for what is not plain."""
        made: list[Record | None] = [None] * len(messages)
        for plain, (places, streams) in self._places_of_plain(messages).items():
            whole = len(places) == len(messages)
            own = messages if whole else [messages[place] for place in places]
            payloads = [message.payload for message in own]
            receipts = [message.receipt for message in own]
            records = plain.records(payloads, streams, receipts, received_ms)
            if whole:
                return records
            for place, record in zip(places, records, strict=True):
                made[place] = record
        return made

    def _places_of_plain(
        self, messages: Sequence[Message]
    ) -> dict[PlainPayloads, tuple[Sequence[int], Sequence[str | None]]]:
        """Return the messages to be read in each way of what is plain, and their streams."""
        topics = [message.topic for message in messages]
        if topics.count(topics[0]) == len(topics):
            if (alone := self._plain_of(topics[0])) is None:
                return {}
            return {alone[0]: (range(len(topics)), [alone[1]] * len(topics))}
        columns: dict[PlainPayloads, tuple[list[int], list[str | None]]] = {}
        last, found = "", None
        for place, topic in enumerate(topics):
            if topic is not last:
                last = topic
                if (found := self._plain_of(topic)) is not None:
                    plain, stream = found
                    places, streams = columns.setdefault(plain, ([], []))
            if found is not None:
                places.append(place)
                streams.append(stream)
        return {**columns}

    def _plain_of(self, topic: str) -> tuple[PlainPayloads, str | None] | None:
        """Return how what is plain on a topic is read, and the stream that the topic names."""
        try:
            place = self._place(topic)
        except UnusableError:
            return None
        plain = place.source.plain
        if plain is None or (self.timeless and self._is_timeless(place.source)):
            return None
        return plain, place.stream

    def decode(
        self, topic: str, payload: bytes, received_ms: int, receipt: int
    ) -> list[Record] | Refusal:
        """Decode one message.

        An array gives a record for each item that can be used. ``true`` is 1; ``null`` and NaN are
        missing values that were spoken of, a channel that does not occur was not; what is too
        large for float32 is infinite. Text is read as a number where the settings allow it,
        anything else counts as ``unreadable`` and is missing.

        What is no JSON, or too deep or large, only in keys that nobody asked for is read
        nevertheless where it is plain: messages that come together are not looked at there, and
        what a message means does not depend on its company.

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
                place, parse(payload, place.source.settings.max_payload), received_ms, receipt
            )
        except UnusableError as unusable:
            alone = Message(topic, payload, 0, retained=False, receipt=receipt)
            (record,) = self._plain_records([alone], received_ms)
            if record is not None:
                return [record]
            return Refusal(unusable.reason, topic, unusable.detail)

    def _find_place(self, topic: str) -> _Place:
        check_topic(topic)
        for source in self._sources:
            names = source.pattern.read(topic)
            if names is None:
                continue
            stream = names.get("stream")
            word = names.get("channel")
            cells = tuple(c for c in source.cells if word is None or c.topic == word)
            if not cells:
                raise UnusableError("channel", f"{word!r} is no channel of the model")
            if stream is None and source.stream is None:
                stream = self._device
            return _Place(source, None if stream is None else read_stream(stream), cells)
        raise UnusableError("topic", "no input has a pattern for it")

    def _records(
        self, place: _Place, content: object, received_ms: int, receipt: int
    ) -> list[Record]:
        items = content if isinstance(content, list) else [content]
        if len(items) > MAX_RECORDS:
            raise UnusableError(
                "size", f"it holds {len(items)} records; at most {MAX_RECORDS} are read"
            )
        records: list[Record] = []
        refused: UnusableError | None = None
        for item in items:
            try:
                records.append(self._record(place, item, received_ms, receipt))
            except UnusableError as unusable:
                refused = unusable
                self.unreadable += len(items) > 1
        if not records:
            raise refused or UnusableError("shape", "the array is empty")
        return records

    def _record(self, place: _Place, item: object, received_ms: int, receipt: int) -> Record:
        source = place.source
        stream = place.stream
        if stream is None and source.stream is not None:
            stream = read_stream(source.stream.find(item))
        values = np.full(self._channels, np.nan, np.float32)
        present = np.zeros(self._channels, np.bool_)
        readable = self._fill(place, item, values, present)
        if not present.any():
            raise UnusableError("channel", "none of the model's channels occurs in it")
        if not readable:
            raise UnusableError("shape", "none of its values is a number")
        return Record(
            stream=stream or self._device,
            time=read_time(source.settings.time, source.time, item, received_ms),
            values=values,
            present=present,
            received=received_ms,
            receipt=receipt,
            marked=present if self._is_timeless(source) else None,
        )

    def _is_timeless(self, source: _Source) -> bool:
        return self.timeless and source.settings.time.format == "none"

    def _fill(self, place: _Place, item: object, values: Floats, present: NDArray[np.bool_]) -> int:
        """Read the cells of one item; return how many were numbers or null."""
        text = place.source.settings.numbers_in_text
        scalar = not isinstance(item, dict | list)
        readable = 0
        for cell in place.cells:
            found = item if scalar and len(place.cells) == 1 else cell.path.find(item)
            if found is ABSENT:
                continue
            present[cell.column] = True
            number = cell.read(found, text=text)
            if number is None:
                self.unreadable += 1
                continue
            readable += 1
            if abs(number) > LARGEST:
                number = math.copysign(math.inf, number)
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
        channel = manifest.channels[columns[name]]
        try:
            convert = conversion(unit, channel.unit)
        except ValueError as error:
            raise SettingsError(f"{where}.unit: {error}.") from error
        key = field or ("value" if by_topic else name)
        categories = {category: i for i, category in enumerate(channel.categories)}
        path = FieldPath(key)
        cells.append(_Cell(columns[name], key, path, convert, topic or name, categories))
    stream = FieldPath(item.stream) if item.stream else None
    return _Source(
        item,
        pattern,
        tuple(cells),
        stream,
        FieldPath(item.time.field),
        _plain(item, cells, manifest),
    )


def _plain(item: Input, cells: Sequence[_Cell], manifest: Manifest) -> PlainPayloads | None:
    """Return how plain payloads of an input are read, if there can be any."""
    keys = [cell.key for cell in cells]
    by_topic = "channel" in Pattern.parse(item.pattern).names
    if by_topic or any(cell.categories for cell in cells) or not PlainPayloads.suit(item, keys):
        return None
    return PlainPayloads(
        item,
        keys,
        columns=[cell.column for cell in cells],
        conversions=[cell.convert for cell in cells],
        channels=len(manifest.channels),
    )
