"""What is fuzzed: a message as it comes, through codec, guard and pipeline into the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from headwater.settings import Duration
from headwater_agent.codec import FEW
from headwater_agent.events import Label, Record
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.payload import Refusal
from headwater_agent.pipeline_settings import LabelRules
from headwater_agent.reception import Reception
from headwater_agent.settings import AgentSettings, ChannelField, Input, LabelInput, TimeField
from headwater_agent.transport import Message
from tests.agent.model import MINUTE, regression
from tests.agent.mortal import Mortal
from tests.fuzz.seeds import KEYS, VALUES

NOW = 1_700_000_000_000
LIFE = 500
"""Messages after which a device begins anew, so that a run does not grow."""

TOPICS = (
    "tank/a",
    "report/x",
    "site/a/level",
    "site/b/flow",
    "meter/a",
    "log/a/b",
    "label/a",
    "verdict/a",
    "elsewhere",
    "",
)
"""Those of each input; for the empty one, the beginning of the payload is the topic."""

_INPUTS = (
    Input(pattern="tank/{stream}"),
    Input(
        pattern="report/+",
        stream="id",
        time=TimeField(field="time", format="iso8601"),
        channels={"level": ChannelField(unit="cm"), "flow": ChannelField(field="data.q")},
    ),
    Input(pattern="site/{stream}/{channel}", time=TimeField(field="time", format="ns")),
    Input(
        pattern="meter/{stream}", time=TimeField(field="time", format="ms"), numbers_in_text=False
    ),
    Input(pattern="log/#", stream="id", time=TimeField(field="time", format="s")),
)
_LABELS = (
    LabelInput(pattern="label/{stream}", time=TimeField(field="time", format="ms")),
    LabelInput(pattern="verdict/+", id="of", stream="id"),
)


class Target:
    """A device with its reception for each way in which labels find their predictions.

    Attributes
    ----------
    seen, read
        Payloads that came, and records and labels that were found in them.
    refused
        What was not, by reason.
    """

    def __init__(self) -> None:
        self.seen = self.read = 0
        self.refused: Counter[str] = Counter()
        self._receptions = [
            Reception(
                AgentSettings(device="d1", bundle=Path("m"), input=_INPUTS, labels=labels),
                regression(),
            )
            for labels in _LABELS
        ]
        self._begin()

    def __call__(self, data: bytes) -> None:
        """Take a payload after a byte that says where and how it comes, and how often.

        Four bits choose the topic, then one each whether it comes once or as many as are read
        together, whether it is a payload or the recipe of one, and what finds labels; with all
        but the topic's it is retained.

        Raises
        ------
        Exception
            Whatever the agent's loop would have got.
        AssertionError
            When a receipt gets lost, or messages together mean something else than alone.
        """
        choice, payload = (data[0], data[1:]) if data else (0, b"")
        if choice & 32:
            payload = _made(payload[:200])
        topic = TOPICS[(choice & 15) % len(TOPICS)]
        if not topic:
            topic = payload[:600].decode(errors="surrogateescape")
        reception = self._receptions[choice >> 6 & 1]
        count = FEW if choice & 16 else 1
        retained = choice >= 240
        self.seen += 1
        now = NOW + self.seen * MINUTE
        messages = [
            Message(topic, payload, 1, retained, count * self.seen + i) for i in range(count)
        ]
        self._take(reception, messages, now)
        _agree(reception, messages, now)
        if self.seen % LIFE == 0:
            self._begin()

    def _begin(self) -> None:
        self._device = Mortal(
            regression(),
            guard=GuardSettings(records=8),
            labels=LabelRules(outside=True, late=Duration(3_600_000), tolerance=MINUTE),
        )

    def _take(self, reception: Reception, messages: Sequence[Message], now: int) -> None:
        arrived = reception.take(messages, now)
        found = {one.receipt for one in arrived.records} | {one.receipt for one in arrived.labels}
        assert found | {*arrived.receipts} == {message.receipt for message in messages}
        assert bool(arrived.receipts) <= any(reception.refused.values())
        self.read += len(arrived.records) + len(arrived.labels)
        self._device.feed(arrived)
        self._device.commit()
        self.refused += reception.refused
        reception.refused.clear()


def _made(recipe: bytes) -> bytes:
    """Return an object with a key and a value for each two bytes."""
    pairs = zip(recipe[::2], recipe[1::2], strict=False)
    return b"{%s}" % b",".join(
        KEYS[key % len(KEYS)] + b":" + VALUES[value % len(VALUES)] for key, value in pairs
    )


def _agree(reception: Reception, messages: Sequence[Message], now: int) -> None:
    """Assert that messages together mean what each means alone.

    What is no JSON and too deep may be refused for either: how far a decoder gets until it sees
    the one depends on its caller's stack.
    """
    together = reception._sensors.decode_all(messages, now)
    alone = [
        reception._sensors.decode(one.topic, one.payload, now, one.receipt) for one in messages
    ]
    assert list(map(_told, together)) == list(map(_told, alone))


def _told(decoded: Sequence[Record | Label] | Refusal) -> object:
    if isinstance(decoded, Refusal):
        either = decoded.reason in ("json", "deep")
        return ("json or deep", decoded.topic) if either else astuple(decoded)
    return [_plain(item) for item in decoded]


def _plain(item: Any) -> object:
    return (item.stream, item.time, item.values.tobytes(), item.present.tolist(), item.receipt)
