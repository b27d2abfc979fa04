"""Messages as they came to an event for the core: decoded together, what is useless counted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from headwater_agent.codec import Decoder
from headwater_agent.columns import RecordRun
from headwater_agent.events import Arrived, Label, Record
from headwater_agent.label_codec import LabelDecoder
from headwater_agent.payload import Refusal
from headwater_agent.settings import AgentSettings
from headwater_agent.transport import Message
from headwater_models.manifest import Manifest

_log = logging.getLogger(__name__)


class Reception:
    """Decode the messages of a wake-up.

    Parameters
    ----------
    settings
        Inputs and labels.
    manifest
        The model's channels.

    Attributes
    ----------
    refused
        Messages refused since somebody took the counts away, by reason (``refused-json``), and
        the values and items of arrays that were ``unreadable`` in what was read.

    Raises
    ------
    SettingsError
        When the inputs do not fit the model.
    """

    def __init__(self, settings: AgentSettings, manifest: Manifest) -> None:
        self.refused: Counter[str] = Counter()
        self._sensors = Decoder(settings, manifest)
        self._labels = (
            LabelDecoder(settings.labels, settings.device, manifest) if settings.labels else None
        )
        self._decoders: list[Decoder | LabelDecoder] = [self._sensors]
        if self._labels is not None:
            self._decoders.append(self._labels)
        self._said: set[str] = set()

    def trust_clock(self, *, right: bool) -> None:
        """Say whether the time of receipt may stand for a record's own."""
        self._sensors.timeless = not right

    def take(self, messages: Sequence[Message], received: int) -> Arrived:
        """Return what messages hold, to be settled later.

        Parameters
        ----------
        messages
            As they came.
        received
            Wall clock at receipt, UTC milliseconds.
        """
        decoded_all = self._decode(messages, received)
        if type(decoded_all) is RecordRun:
            return Arrived(decoded_all, settle=False)
        records: list[Record] = []
        labels: list[Label] = []
        order: list[int] = []
        useless: list[int] = []
        for message, decoded in zip(messages, decoded_all, strict=True):
            if isinstance(decoded, Refusal):
                self._count(decoded)
                if message.receipt:
                    useless.append(message.receipt)
                continue
            if self._labels is None:
                records += cast("list[Record]", decoded)
                continue
            for item in decoded:
                if isinstance(item, Record):
                    records.append(item)
                else:
                    labels.append(item)
                    order.append(len(records))
        for decoder in self._decoders:
            if decoder.unreadable:
                self.refused["unreadable"] += decoder.unreadable
                decoder.unreadable = 0
        return Arrived(
            tuple(records), tuple(labels), tuple(order), receipts=tuple(useless), settle=False
        )

    def _decode(
        self, messages: Sequence[Message], received: int
    ) -> RecordRun | Iterable[Sequence[Record | Label] | Refusal]:
        """Return what each message holds: those of sensors are decoded together."""
        if self._labels is None:
            for message in messages:
                if message.retained:
                    break
            else:
                return self._sensors.decode_together(messages, received)
        return self._decode_apart(messages, received)

    def _decode_apart(
        self, messages: Sequence[Message], received: int
    ) -> Iterator[Sequence[Record | Label] | Refusal]:
        """Yield what each message holds, where they are not all of sensors."""
        labels = self._labels
        of_labels = {m.topic for m in messages if labels is not None and labels.reads(m.topic)}
        sensors = [m for m in messages if not m.retained and m.topic not in of_labels]
        records = iter(self._sensors.decode_all(sensors, received))
        for message in messages:
            if message.retained:
                detail = "it was retained, so its age is unknown"
                yield Refusal("retained", message.topic, detail)
            elif labels is not None and message.topic in of_labels:
                yield labels.decode(message.topic, message.payload, received, message.receipt)
            else:
                yield next(records)

    def _count(self, refusal: Refusal) -> None:
        if refusal.reason not in self._said:
            _log.warning("%s (further ones of this kind are only counted)", refusal)
            self._said.add(refusal.reason)
        self.refused[f"refused-{refusal.reason}"] += 1
