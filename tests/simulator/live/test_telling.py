"""Records and labels as the agent's own decoders read them."""

from __future__ import annotations

import json

import numpy as np

from headwater.settings import Duration
from headwater_agent.events import Arrived, Label, Record
from headwater_simulator.live.telling import payloads
from headwater_simulator.scenario.settings import DAY, Group, Series
from headwater_simulator.sources.series import GeneratedStreams

FACTS = GeneratedStreams(
    Series(channels=2), (Group(name="all", devices=1),), length=DAY, window=1, seed=1
).facts


def record(*values: float) -> Record:
    present = np.ones(len(values), np.bool_)
    return Record("a", 1_000, np.array(values, np.float32), present, received=Duration(0))


def test_a_record_is_its_time_and_its_channels_to_the_last_bit() -> None:
    value = float(np.float32(0.1))
    ((topic, payload),) = payloads(Arrived((record(value, 2.0),), ()), FACTS, "it")

    assert topic == "it/a"
    said = json.loads(payload)
    assert said == {"time": 1_000, "c0": value, "c1": 2.0}


def test_what_was_not_measured_is_null() -> None:
    ((_, payload),) = payloads(Arrived((record(np.nan, 2.0),), ()), FACTS, "it")

    assert json.loads(payload)["c0"] is None


def test_labels_follow_on_their_own_topic() -> None:
    came = Arrived((record(1.0, 2.0),), (Label(0.5, stream="a", time=1_000),))
    *_, (topic, payload) = payloads(came, FACTS, "it")

    assert topic == "it/labels/a"
    assert json.loads(payload) == {"time": 1_000, "label": 0.5}
