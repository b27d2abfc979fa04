from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from headwater_agent.codec import FEW
from headwater_agent.events import Arrived
from headwater_agent.payload import MAX_TOPIC
from headwater_agent.reception import Reception
from headwater_agent.settings import AgentSettings, Input, LabelInput, TimeField
from headwater_agent.transport import Message
from tests.agent.model import regression

NOW = 1_700_000_000_000


def reception() -> Reception:
    settings = AgentSettings(
        device="d1",
        bundle=Path("m"),
        input=Input(pattern="tank/{stream}"),
        labels=LabelInput(pattern="label/{stream}"),
    )
    return Reception(settings, regression())


def message(topic: str, payload: object, receipt: int, *, retained: bool = False) -> Message:
    return Message(topic, json.dumps(payload).encode(), 1, retained, receipt)


READING = {"level": 1.5, "flow": 2.5}


def take(*messages: Message) -> Arrived:
    return reception().take(messages, NOW)


def test_records_and_labels_keep_their_order() -> None:
    arrived = take(
        message("tank/a", READING, 1),
        message("label/a", 7.0, 2),
        message("tank/b", READING, 3),
        message("tank/a", [READING, READING], 4),
        message("label/b", 8.0, 5),
    )
    assert [(r.stream, r.receipt) for r in arrived.records] == [
        ("a", 1),
        ("b", 3),
        ("a", 4),
        ("a", 4),
    ]
    assert [(label.value, label.receipt) for label in arrived.labels] == [(7.0, 2), (8.0, 5)]
    assert (arrived.order, arrived.receipts, arrived.settle) == ((1, 4), (), False)


def test_what_is_useless_gives_its_receipt_back_and_is_counted() -> None:
    receiving = reception()
    arrived = receiving.take(
        [
            message("tank/a", READING, 1, retained=True),
            message("label/a", 7.0, 2, retained=True),
            message("tank/a", "soon", 3),
            message("elsewhere", READING, 4),
            message("label/a", {}, 5),
            message("tank/a", "soon", 0),
            message("tank/a", READING, 6),
        ],
        NOW,
    )
    assert [record.receipt for record in arrived.records] == [6]
    assert arrived.receipts == (1, 2, 3, 4, 5)
    assert receiving.refused == {
        "refused-retained": 2,
        "refused-channel": 2,
        "refused-topic": 1,
        "refused-label": 1,
    }


@pytest.mark.parametrize("topic", ["tank/a", "label/a"])
@pytest.mark.parametrize("count", [1, FEW])
@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b" " * 70_000, "size"),
        (b"[" * 100 + b"]" * 100, "deep"),
        (b"[" * 5_000, "deep"),
        (b"{%s}" % b",".join(b'"%d":1' % i for i in range(5_000)), "keys"),
        (b'{"level": 1, "flow": 2', "json"),
        (b"\xff", "json"),
    ],
)
def test_what_breaks_a_limit_is_counted_by_its_reason(
    topic: str, count: int, payload: bytes, reason: str
) -> None:
    receiving = reception()
    arrived = receiving.take([Message(topic, payload, 1, False, 9)] * count, NOW)
    assert receiving.refused == {f"refused-{reason}": count}
    assert arrived.receipts == (9,) * count


@pytest.mark.parametrize("pattern", ["tank", "label"])
def test_a_topic_that_is_too_long_is_counted(pattern: str) -> None:
    receiving = reception()
    receiving.take([message(f"{pattern}/{'t' * MAX_TOPIC}", READING, 1)], NOW)
    assert receiving.refused == {"refused-topic-length": 1}


def test_what_was_left_out_of_messages_is_counted() -> None:
    receiving = reception()
    receiving.take(
        [
            message("tank/a", {"level": "soon", "flow": 1}, 1),
            message("tank/a", [READING, "soon"], 2),
            message("label/a", [1, "soon"], 3),
        ],
        NOW,
    )
    receiving.take([message("tank/a", READING, 4)], NOW)
    assert receiving.refused == {"unreadable": 3}


def test_each_kind_of_refusal_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        take(*(message("tank/a", "soon", 0) for _ in range(5)), message("x", READING, 0))
    assert len(caplog.records) == 2


@pytest.mark.parametrize("form", ["none", "ms"])
@pytest.mark.parametrize("count", [1, 9])
def test_by_a_clock_that_is_not_set_no_record_without_a_time_is_learned(
    form: str, count: int
) -> None:
    settings = AgentSettings(
        device="d1",
        bundle=Path("m"),
        input=Input(
            pattern="tank/{stream}",
            time=TimeField(field="at" if form == "ms" else "", format=form),  # type: ignore[arg-type]
        ),
    )
    receiving = Reception(settings, regression())
    messages = [message("tank/a", READING | {"at": NOW}, i + 1) for i in range(count)]
    receiving.trust_clock(right=False)
    marked = [r.marked is not None for r in receiving.take(messages, NOW).records]
    assert marked == [form == "none"] * count
    receiving.trust_clock(right=True)
    assert [r.marked for r in receiving.take(messages, NOW).records] == [None] * count
