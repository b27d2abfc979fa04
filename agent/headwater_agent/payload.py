"""What records and labels have in common: JSON with limits, fields, numbers, names and times."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Literal

import msgspec

from headwater_agent.settings import TimeField

EARLIEST = 946_684_800_000
"""2000-01-01: an event time before it is a clock that was never set."""

MAX_STREAM = 128
"""Longest name of a stream, in characters."""

MAX_TOPIC = 512
"""Longest topic that is looked at, in characters: thousands of them are remembered."""

MAX_DEPTH = 64
"""How deep arrays and objects may lie in one another."""

MAX_KEYS = 4_096
"""Most keys of one object; those that are repeated count once."""

Reason = Literal[
    "topic", "topic-length", "size", "json", "deep", "keys", "shape", "channel", "time", "stream",
    "label", "retained",
]  # fmt: skip

_MS_PER_UNIT = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
ABSENT = object()
"""Stands for a field that does not occur."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that gives no record: a stable word, and a sentence for the log."""

    reason: Reason
    topic: str
    detail: str

    def __str__(self) -> str:
        return f"message on {self.topic[:200]!r} refused: {self.detail}"


class UnusableError(Exception):
    """One item of a message gives no record."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class FieldPath:
    """A key of a JSON object, or a path such as ``data.0.temp`` where there is no such key."""

    __slots__ = ("_parts", "_whole")

    def __init__(self, text: str) -> None:
        self._whole = text
        self._parts = tuple(text.split(".")) if "." in text else ()

    def find(self, item: object) -> object:
        """Return the value, or ``ABSENT``."""
        if isinstance(item, dict) and self._whole in item:
            return item[self._whole]
        if not self._parts:
            return ABSENT
        for part in self._parts:
            if isinstance(item, dict) and part in item:
                item = item[part]
            elif isinstance(item, list) and part.isdecimal() and int(part) < len(item):
                item = item[int(part)]
            else:
                return ABSENT
        return item


def check_topic(topic: str) -> None:
    """Raise :class:`UnusableError` where a topic is too long to be looked at."""
    if len(topic) > MAX_TOPIC:
        raise UnusableError(
            "topic-length", f"its topic has {len(topic)} characters; {MAX_TOPIC} are read"
        )


def parse(payload: bytes, limit: int) -> object:
    """Read JSON of at most *limit* bytes; NaN and Infinity, which JSON lacks, are read too.

    Raises
    ------
    UnusableError
        When it is no JSON, or larger, deeper or with more keys than is allowed.
    """
    if len(payload) > limit:
        raise UnusableError("size", f"it has {len(payload)} bytes; max_payload is {limit}")
    try:
        try:
            content: object = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            content = json.loads(payload)
    except RecursionError:
        raise UnusableError("deep", "its JSON is nested too deeply") from None
    except (ValueError, UnicodeError) as error:
        raise UnusableError("json", f"it is not JSON ({error})") from None
    if not _is_modest(payload):
        _check_shape(content)
    return content


def _is_modest(payload: bytes) -> bool:
    """Say whether JSON keeps to the limits of depth and keys for sure: by its brackets and colons.

    One that is nested too deeply has as many brackets again that close.
    """
    return len(payload) <= 2 * MAX_DEPTH or (
        payload.count(b"{") + payload.count(b"[") <= MAX_DEPTH and payload.count(b":") <= MAX_KEYS
    )


def _check_shape(content: object) -> None:
    """Raise UnusableError where content is too deep or an object too large, level by level."""
    level = [content]
    for _ in range(MAX_DEPTH):
        objects = [item for item in level if isinstance(item, dict)]
        if any(len(item) > MAX_KEYS for item in objects):
            raise UnusableError("keys", f"an object has more than {MAX_KEYS} keys")
        parts = chain(
            chain.from_iterable(item.values() for item in objects),
            chain.from_iterable(item for item in level if isinstance(item, list)),
        )
        level = [part for part in parts if isinstance(part, dict | list)]
        if not level:
            return
    raise UnusableError("deep", f"its JSON is nested more than {MAX_DEPTH} deep")


def read_number(value: object, *, text: bool) -> float | None:
    """Return a number, NaN for one that is missing, None for what is no number.

    An integer too large for a float is infinite.
    """
    if value is None:
        return math.nan
    if isinstance(value, str):
        return _read_text(value) if text else None
    if not isinstance(value, bool | int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _read_text(text: str) -> float | None:
    if "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def read_stream(value: object) -> str:
    """Return the name of a stream, or raise :class:`UnusableError`."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 2**63 else ""
    if not isinstance(value, str):
        raise UnusableError("stream", "its stream field is missing or is no text")
    if not 1 <= len(value) <= MAX_STREAM or not value.isprintable() or set(value) & set("/+#"):
        raise UnusableError(
            "stream",
            f"the name of its stream is not 1 to {MAX_STREAM} printable characters "
            "without '/', '+' and '#'",
        )
    return value


def read_time(settings: TimeField, path: FieldPath, item: object, received_ms: int) -> int:
    """Return an event time in UTC milliseconds, or raise :class:`UnusableError`."""
    if settings.format == "none":
        return received_ms
    found = path.find(item)
    time = (
        read_iso_ms(found) if settings.format == "iso8601" else _scaled_ms(found, settings.format)
    )
    if time is None:
        raise UnusableError("time", f"its field {settings.field!r} is no time of the stated format")
    if not EARLIEST <= time <= received_ms + settings.ahead:
        raise UnusableError(
            "time", f"its time {time} (UTC ms) lies before 2000 or too far in the future"
        )
    return time


def read_iso_ms(value: object) -> int | None:
    """Return a time of ISO 8601 in UTC milliseconds; None for what is none."""
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
    number = None if isinstance(value, bool) else read_number(value, text=True)
    if number is None or not math.isfinite(number) or abs(number) > 1e30:
        return None
    return round(number * _MS_PER_UNIT[unit])
