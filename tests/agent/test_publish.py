from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from headwater.settings import Duration
from headwater_agent import publish
from headwater_agent.events import Alarm, Model, Prediction
from headwater_agent.output_settings import Output
from headwater_agent.publish import LONGEST_ARRAY, Published, Publisher
from headwater_agent.settings import AgentSettings, Input
from headwater_models.manifest import Manifest
from tests.agent.making import prediction, small_manifest

SETTINGS = AgentSettings(device="d1", bundle=Path("m"), input=Input(pattern="in/{stream}"))


def sent(made: Prediction, manifest: Manifest | None = None) -> dict[str, object]:
    publisher = Publisher(SETTINGS, "m" * 64, manifest or small_manifest())
    ((_, payload),) = publisher.encode([made], 9_500)
    decoded: dict[str, object] = json.loads(payload)
    return decoded


def test_a_forecast_says_what_it_is_about() -> None:
    assert sent(prediction(9, value=12.1)) == {
        "id": "s-9",
        "stream": "s",
        "model": "m" * 64,
        "version": "v1",
        "time": "1970-01-01T00:00:09.000Z",
        "valid": "1970-01-01T00:00:11.000Z",
        "horizon": "2s",
        "target": "b",
        "unit": "ug/m3",
        "prediction": 12.1,
        "served": "released",
        "released": 12.1,
        "baseline": 14.1,
        "personal": 13.1,
        "latency_ms": 493,
        "quality": "ok",
    }


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="/+#\0"), min_size=1),
    st.lists(st.tuples(st.floats(width=32), st.sampled_from(["released", "personal"]))),
)
def test_a_payload_is_what_its_type_is_encoded_to(
    stream: str, said: list[tuple[float, Model]]
) -> None:
    publisher = Publisher(SETTINGS, "m" * 64, small_manifest())
    made = [
        replace(prediction(9, stream, value=value), served=served, quality="degraded", id="s-9")
        for value, served in said
    ]
    for (_, payload), (_, served) in zip(publisher.encode(made, 9_500), said, strict=True):
        decoded = msgspec.json.decode(payload, type=Published)
        assert msgspec.json.encode(decoded) == payload
        assert (decoded.stream, decoded.served, decoded.quality) == (stream, served, "degraded")
        assert decoded.prediction == getattr(decoded, served)


def test_it_is_sent_to_the_streams_own_topic() -> None:
    ((topic, _),) = Publisher(SETTINGS, "m", small_manifest()).encode([prediction(1, "roof")], 0)
    assert topic == "headwater/d1/roof/prediction"


def test_an_alarm_says_what_changed_from_what_to_what() -> None:
    publisher = Publisher(SETTINGS, "m" * 64, small_manifest())
    topic, payload = publisher.encode_alarm(Alarm("roof", 9_000, "adwin", "a", 2.5, 1.0))
    assert topic == "headwater/d1/roof/alarm"
    assert json.loads(payload) == {
        "stream": "roof",
        "model": "m" * 64,
        "time": "1970-01-01T00:00:09.000Z",
        "about": "inputs",
        "channel": "a",
        "detector": "adwin",
        "value": 2.5,
        "before": 1.0,
        "unit": "degC",
    }
    _, payload = publisher.encode_alarm(Alarm("roof", 9_000, "estimate", "", 2.5, 1.0))
    told = json.loads(payload)
    assert (told["about"], told["channel"], told["unit"]) == ("estimate", "", "ug/m3")
    _, payload = publisher.encode_alarm(Alarm("roof", 9_000, "silence", "", 700.0, 0.0))
    told = json.loads(payload)
    assert (told["about"], told["value"], told["unit"]) == ("silence", 700, "s")


def test_a_clock_that_went_back_gives_no_negative_latency() -> None:
    ((_, payload),) = Publisher(SETTINGS, "m", small_manifest()).encode([prediction(9)], 0)
    assert json.loads(payload)["latency_ms"] == 0


def test_a_missing_baseline_is_null() -> None:
    said = np.array([[1], [2], [np.nan]], np.float32)
    lacking = msgspec.structs.replace(prediction(1), said=said)
    assert sent(lacking)["baseline"] is None


def test_a_class_is_published_as_the_probability_of_each() -> None:
    manifest = msgspec.structs.replace(
        small_manifest(),
        task="classification",
        classes=("calm", "storm"),
        loss="cross_entropy",
        target="",
        horizon=Duration(0),
    )
    odds = np.array([[0.25, 0.75]] * 3, np.float32)
    made = Prediction("i", "s", 1, "v", odds, "ok", 0)
    found = sent(made, manifest)
    assert found["prediction"] == {"calm": 0.25, "storm": 0.75}
    assert (found["time"], found["target"]) == (found["valid"], "")


@pytest.mark.parametrize("state", ["online", "offline"])
def test_the_status_names_device_and_state(state: str) -> None:
    payload = publish.status("d1", state)  # type: ignore[arg-type]
    assert json.loads(payload) == {"device": "d1", "status": state}


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20)
)
def test_numbers_have_the_seven_digits_of_a_float32(values: list[float]) -> None:
    publisher = Publisher(SETTINGS, "m", small_manifest())
    sent_together = publisher.encode([prediction(9, value=value) for value in values], 0)
    told = [json.loads(payload)["released"] for _, payload in sent_together]
    assert told == [float(f"{value:.7g}") for value in values]


def test_many_predictions_are_encoded_as_one_by_one() -> None:
    publisher = Publisher(SETTINGS, "m", small_manifest())
    personal = msgspec.structs.replace(prediction(2, "b"), served="personal", quality="degraded")
    made = [prediction(1), personal, prediction(3, "c", float("nan"))]
    made += [replace(prediction(17 * time), received=10 * (time // 3)) for time in range(40)]
    assert publisher.encode(made, 9_000) == [
        one for prediction in made for one in publisher.encode([prediction], 9_000)
    ]
    assert publisher.encode([], 9_000) == []


def test_predictions_made_together_may_go_out_as_arrays_of_bounded_length() -> None:
    settings = msgspec.structs.replace(SETTINGS, output=Output(payload="array"))
    single = Publisher(SETTINGS, "m", small_manifest())
    arrays = Publisher(settings, "m", small_manifest())
    made = [prediction(i, "roof" if i % 2 else "yard") for i in range(2 * LONGEST_ARRAY + 2)]
    found: dict[str, list[object]] = {}
    for topic, payload in arrays.encode(made, 0):
        held = json.loads(payload)
        assert 1 <= len(held) <= LONGEST_ARRAY
        found.setdefault(topic, []).extend(held)
    expected: dict[str, list[object]] = {}
    for topic, payload in single.encode(made, 0):
        expected.setdefault(topic, []).append(json.loads(payload))
    assert found == expected


@pytest.mark.parametrize("payload", ["single", "array"])
def test_what_models_beside_it_say_is_one_message_for_each_window(
    payload: Literal["single", "array"],
) -> None:
    settings = msgspec.structs.replace(SETTINGS, output=Output(payload=payload))
    publisher = Publisher(settings, "m" * 64, small_manifest(), ("rival", "other"))
    made = [
        msgspec.structs.replace(prediction(i), beside=np.array([[i], [math.nan]], np.float32))
        for i in (9, 10)
    ]
    messages = publisher.encode(made, 9_500)
    found = [json.loads(said) for topic, said in messages if topic == "headwater/d1/s/beside"]
    if payload == "array":
        (found,) = found
    assert [one["predictions"] for one in found] == [
        {"rival": 9, "other": None},
        {"rival": 10, "other": None},
    ]
    assert found[0] == {
        "id": "s-9",
        "stream": "s",
        "time": "1970-01-01T00:00:09.000Z",
        "valid": "1970-01-01T00:00:11.000Z",
        "horizon": "2s",
        "target": "b",
        "unit": "ug/m3",
        "predictions": {"rival": 9, "other": None},
        "latency_ms": 493,
        "quality": "ok",
    }
