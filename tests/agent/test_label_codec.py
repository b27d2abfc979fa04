from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.events import Label
from headwater_agent.label_codec import MAX_LABELS, LabelDecoder
from headwater_agent.payload import MAX_TOPIC, Refusal
from headwater_agent.settings import LabelInput, TimeField
from headwater_models.manifest import Manifest
from tests.agent.model import classification, regression

NOW = 1_700_000_000_000
TIMED = TimeField(field="at", format="ms")


def decoder(model: Manifest | None = None, **chosen: Any) -> LabelDecoder:
    settings = LabelInput(**{"pattern": "labels/{stream}", **chosen})
    return LabelDecoder(settings, "d1", model or regression())


def read(labels: LabelDecoder, payload: object, topic: str = "labels/tank-1") -> list[Label]:
    found = labels.decode(topic, json.dumps(payload).encode(), NOW, 7)
    assert not isinstance(found, Refusal), found
    return found


def refused(labels: LabelDecoder, payload: object, topic: str = "labels/tank-1") -> str:
    found = labels.decode(topic, json.dumps(payload).encode(), NOW, 7)
    assert isinstance(found, Refusal)
    return found.reason


def test_a_label_says_its_stream_and_time() -> None:
    (label,) = read(decoder(time=TIMED), {"label": 2.5, "at": NOW - 5_000})
    assert (label.value, label.stream, label.time, label.receipt) == (
        2.5,
        "tank-1",
        NOW - 5_000,
        7,
    )


def test_a_label_without_a_time_is_of_the_moment_it_came() -> None:
    (label,) = read(decoder(), {"label": 2.5})
    assert label.time == NOW


def test_a_bare_value_is_a_label() -> None:
    assert read(decoder(), 2.5)[0].value == 2.5


def test_the_stream_may_stand_in_the_payload() -> None:
    labels = decoder(pattern="labels", stream="of")
    assert read(labels, {"label": 1, "of": "tank-9"}, "labels")[0].stream == "tank-9"


def test_where_nothing_names_the_stream_it_is_the_device() -> None:
    assert read(decoder(pattern="labels"), {"label": 1}, "labels")[0].stream == "d1"


def test_a_label_may_name_its_prediction() -> None:
    labels = decoder(id="prediction")
    (label,) = read(labels, {"label": 1, "prediction": "ab12"})
    assert label.id == "ab12"
    assert refused(labels, {"label": 1}) == "label"
    assert refused(labels, {"label": 1, "prediction": "x" * 65}) == "label"


@pytest.mark.parametrize(
    ("said", "value"), [("rising", 1), (2, 2), ("0", 0), ({"label": "calm"}, 0)]
)
def test_a_class_is_said_by_name_or_index(said: object, value: int) -> None:
    assert read(decoder(classification()), said)[0].value == value


@pytest.mark.parametrize("said", ["stormy", 3, -1, 0.5, None, [], {"other": 1}])
def test_what_is_no_label_of_the_model_is_refused(said: object) -> None:
    assert refused(decoder(classification()), said) in ("label", "shape")


def test_an_array_gives_a_label_for_each_item_that_can_be_used() -> None:
    labels = decoder()
    found = read(labels, [{"label": 1}, {"label": "no number"}, {"label": 3}])
    assert [label.value for label in found] == [1, 3]
    assert labels.unreadable == 1


def test_it_reads_its_own_topics_alone() -> None:
    assert decoder().reads("labels/tank-1")
    assert not decoder().reads("sensors/tank-1")


def test_labels_keep_to_the_limits_of_records() -> None:
    deep: object = 1
    for _ in range(70):
        deep = {"label": deep}
    assert refused(decoder(), deep) == "deep"
    assert refused(decoder(max_payload=10**6), {str(i): i for i in range(5_000)}) == "keys"
    assert refused(decoder(), [1] * (MAX_LABELS + 1)) == "size"
    assert refused(decoder(max_payload=10), [1] * 10) == "size"
    assert refused(decoder(), 1, "labels/" + "t" * MAX_TOPIC) == "topic-length"
    assert refused(decoder(id="of"), {"label": 1, "of": "x" * 65}) == "label"


@pytest.mark.parametrize("name", ["", "x" * 129, "a\x01"])
def test_a_topic_must_name_a_stream_that_a_prediction_can_have(name: str) -> None:
    assert refused(decoder(), 1, f"labels/{name}") == "stream"


@given(st.binary(max_size=300))
def test_any_bytes_give_labels_or_a_refusal(payload: bytes) -> None:
    found = decoder(time=TIMED).decode("labels/tank-1", payload, NOW, 0)
    assert isinstance(found, (Refusal, list))
