"""The script does by itself, one message at a time, what the agent is measured at."""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho

from benchmarks.agent.naive import WINDOW, Graphs, Others, River, Script
from benchmarks.agent.workload import Sensors, save_beside
from headwater_agent.events import Batch
from headwater_models.bundle import Bundle
from headwater_models.session import Predictor, Trainer, initial_state


class Published:
    """In the place of paho's client: keeps what is published."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, float], int]] = []

    def publish(self, topic: str, payload: str, qos: int) -> None:
        self.messages.append((topic, json.loads(payload), qos))


def message(topic: str, payload: bytes) -> paho.MQTTMessage:
    made = paho.MQTTMessage(topic=topic.encode())
    made.payload = payload
    return made


def test_its_graphs_predict_and_learn_as_the_product_s_own_session_does(model: Path) -> None:
    bundle, script = Bundle.load(model), Graphs(model)
    rows = deque([[20.0 + n, 50.0, 300.0, 900.0 + n] for n in range(WINDOW)], maxlen=WINDOW)
    kept, _ = script.predict(rows)
    weights, state, time = bundle.weights, initial_state(bundle.manifest), np.zeros(1, np.int64)
    batch = Batch(kept, time, np.full((1, 1), 950, np.float32), np.ones(1, np.float32))
    for _ in range(3):
        script.learn(kept, 950.0)
        weights, state, _ = Trainer(bundle.train).step(batch, weights, state, 1e-3)
    expected = Predictor(bundle.infer).run(kept, time, weights)[0, 0]
    assert script.predict(rows)[1] == float(expected)
    assert script.predict(rows)[1] != rows[-1][3]


def test_models_beside_it_predict_with_weights_of_their_own(model: Path, tmp_path: Path) -> None:
    save_beside(tmp_path, Bundle.load(model), 2)
    rows = deque([[20.0 + n, 50.0, 300.0, 900.0 + n] for n in range(WINDOW)], maxlen=WINDOW)
    said = Others(model, tmp_path).predict(rows)
    assert said == {name: Graphs(tmp_path / name).predict(rows)[1] for name in ("m000", "m001")}
    assert said["m000"] != said["m001"]


def test_it_stores_every_record_and_answers_from_the_first_whole_window_on(tmp_path: Path) -> None:
    script, client = Script(River(), tmp_path / "naive.db", 1), Published()
    arguments: Any = client
    for topic, payload in Sensors(streams=2).take(2 * (WINDOW + 5)):
        script.on_message(arguments, None, message(topic, payload))
    assert len(client.messages) == 2 * 6
    assert {topic for topic, _, _ in client.messages} == {
        "naive/s000/prediction",
        "naive/s001/prediction",
    }
    assert {qos for _, _, qos in client.messages} == {1}
    script._database.commit()
    with sqlite3.connect(tmp_path / "naive.db") as database:
        stored = database.execute("SELECT count(*), count(prediction) FROM records").fetchone()
    assert stored == (2 * (WINDOW + 5), 2 * 6)


def test_river_learns_from_the_label_that_the_next_record_brings(tmp_path: Path) -> None:
    learner = River()
    script, client = Script(learner, tmp_path / "naive.db", 0), Published()
    arguments: Any = client
    for topic, payload in Sensors().take(WINDOW + 50):
        script.on_message(arguments, None, message(topic, payload))
    regression = learner._model["LinearRegression"]
    assert regression.weights["co2"] != 0
    assert script._detectors["s000"].width == 50
