"""Messages of the label topic to labels: any bytes in, labels or a refusal out."""

from __future__ import annotations

from headwater_agent.events import Label
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
from headwater_agent.settings import LabelInput
from headwater_agent.topics import Pattern
from headwater_models.judging import has_meaning
from headwater_models.manifest import Manifest

MAX_LABELS = 10_000
"""Most labels that one message may hold."""

MAX_ID = 64
"""Longest id of a prediction, in characters."""


class LabelDecoder:
    """Decode the label topic of a model.

    Parameters
    ----------
    settings
        Pattern, fields and limits.
    device
        The stream of a message that names none.
    manifest
        Task and classes.

    Attributes
    ----------
    unreadable
        How many labels were left out of arrays that held others.
    """

    def __init__(self, settings: LabelInput, device: str, manifest: Manifest) -> None:
        self.unreadable = 0
        self._settings = settings
        self._device = device
        self._manifest = manifest
        self._pattern = Pattern.parse(settings.pattern)
        self._classes = {name: float(i) for i, name in enumerate(manifest.classes)}
        self._id = FieldPath(settings.id)
        self._value = FieldPath(settings.value)
        self._stream = FieldPath(settings.stream)
        self._time = FieldPath(settings.time.field)

    def reads(self, topic: str) -> bool:
        """Say whether the topic is one of labels."""
        return self._pattern.read(topic) is not None

    def decode(
        self, topic: str, payload: bytes, received_ms: int, receipt: int
    ) -> list[Label] | Refusal:
        """Decode one message; an array gives a label for each item that can be used.

        Parameters
        ----------
        topic, payload
            The message as it came, on a topic that :meth:`reads` is true of; any bytes.
        received_ms
            Wall clock at receipt, UTC milliseconds: the time of a label that says none.
        receipt
            What the transport wants back, copied into each label.
        """
        try:
            check_topic(topic)
            content = parse(payload, self._settings.max_payload)
            return self._labels(topic, content, received_ms, receipt)
        except UnusableError as unusable:
            return Refusal(unusable.reason, topic, unusable.detail)

    def _labels(self, topic: str, content: object, received_ms: int, receipt: int) -> list[Label]:
        items = content if isinstance(content, list) else [content]
        if len(items) > MAX_LABELS:
            raise UnusableError(
                "size", f"it holds {len(items)} labels; at most {MAX_LABELS} are read"
            )
        named = (self._pattern.read(topic) or {}).get("stream")
        labels: list[Label] = []
        refused: UnusableError | None = None
        for item in items:
            try:
                labels.append(self._label(named, item, received_ms, receipt))
            except UnusableError as unusable:
                refused = unusable
                self.unreadable += len(items) > 1
        if not labels:
            raise refused or UnusableError("shape", "the array is empty")
        return labels

    def _label(self, named: str | None, item: object, received_ms: int, receipt: int) -> Label:
        value = self._read_value(self._value.find(item) if isinstance(item, dict) else item)
        if self._settings.id:
            known = self._id.find(item)
            if not isinstance(known, str) or not 0 < len(known) <= MAX_ID:
                raise UnusableError(
                    "label", f"its field {self._settings.id!r} names no prediction's id"
                )
            return Label(value, id=known, receipt=receipt)
        if self._settings.stream:
            stream = read_stream(self._stream.find(item))
        else:
            stream = self._device if named is None else read_stream(named)
        time = read_time(self._settings.time, self._time, item, received_ms)
        return Label(value, stream=stream, time=time, receipt=receipt)

    def _read_value(self, found: object) -> float:
        if isinstance(found, str) and found in self._classes:
            return self._classes[found]
        number = None if found is ABSENT else read_number(found, text=True)
        if number is None or not has_meaning(self._manifest, number):
            raise UnusableError("label", f"it holds no label of a {self._manifest.task} model")
        return number
