"""The script that one writes for one's own broker: a callback that does everything, one by one.

It decodes a message, learns from the label that it brings for the window before, watches the
error, predicts, inserts and publishes; commits each second. With ``--learner river`` a model of
river takes the place of the two graphs; with ``--beside`` further models of the same graph
predict, one by one. It knows nothing of Headwater but the format of the graphs.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
import paho.mqtt.client as paho
from numpy.typing import NDArray
from paho.mqtt.enums import CallbackAPIVersion
from river import compose, drift, linear_model, preprocessing
from safetensors.numpy import load_file

CHANNELS = ("temperature", "humidity", "light", "co2")
TARGET = "co2"
WINDOW = 8
RATE = 1e-3


class Learner(Protocol):
    """What predicts from a stream's newest rows and learns from the label that comes later."""

    def predict(self, rows: deque[list[float]]) -> tuple[Any, float]:
        """Return what is to be kept until the label comes, and the prediction."""

    def learn(self, kept: Any, label: float) -> None:
        """Take one step."""


class Graphs:
    """``infer.onnx`` and ``train.onnx``, a row at a time."""

    def __init__(self, model: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._infer = ort.InferenceSession(model / "infer.onnx", options)
        self._train = ort.InferenceSession(model / "train.onnx", options)
        self._weights = load_file(model / "weights.safetensors")
        self._outputs = [output.name for output in self._train.get_outputs()]
        self._state = {
            node.name: np.zeros(node.shape, np.float32)
            for node in self._train.get_inputs()
            if f"new.{node.name}" in self._outputs and node.name not in self._weights
        }

    def predict(self, rows: deque[list[float]]) -> tuple[NDArray[np.float32], float]:
        """Run the window through ``infer.onnx`` with the newest weights."""
        window = np.array([rows], np.float32)
        found = self._infer.run(["prediction"], {"window": window, **self._weights})
        return window, float(found[0][0, 0])

    def learn(self, kept: NDArray[np.float32], label: float) -> None:
        """Take a step of ``train.onnx`` on one window."""
        found = self._train.run(
            self._outputs,
            {
                "window": kept,
                "label": np.array([[label]], np.float32),
                "weight": np.ones(1, np.float32),
                "learning_rate": np.array(RATE, np.float32),
                **self._weights,
                **self._state,
            },
        )
        new = dict(zip(self._outputs, found, strict=True))
        self._weights = {name: new[f"new.{name}"] for name in self._weights}
        self._state = {name: new[f"new.{name}"] for name in self._state}


class Others:
    """Models with the graph of the first and weights of their own."""

    def __init__(self, model: Path, folder: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._infer = ort.InferenceSession(model / "infer.onnx", options)
        self._weights = {
            one.name: load_file(one / "weights.safetensors") for one in sorted(folder.iterdir())
        }

    def predict(self, rows: deque[list[float]]) -> dict[str, float]:
        """Return what each says of the window."""
        window = np.array([rows], np.float32)
        return {
            name: float(self._infer.run(["prediction"], {"window": window, **weights})[0][0, 0])
            for name, weights in self._weights.items()
        }


class River:
    """A scaled linear regression of river on the newest row: the cheapest model it has."""

    def __init__(self) -> None:
        self._model = compose.Pipeline(
            preprocessing.StandardScaler(), linear_model.LinearRegression()
        )

    def predict(self, rows: deque[list[float]]) -> tuple[dict[str, float], float]:
        """Predict from the newest row."""
        features = dict(zip(CHANNELS, rows[-1], strict=True))
        return features, self._model.predict_one(features)

    def learn(self, kept: dict[str, float], label: float) -> None:
        """Learn one row."""
        self._model.learn_one(kept, label)


class Script:
    """The callback and what it keeps."""

    def __init__(
        self, learner: Learner, database: Path, qos: int, others: Others | None = None
    ) -> None:
        self._learner = learner
        self._others = others
        self._qos = qos
        self._database = sqlite3.connect(database)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS records (stream TEXT, time INTEGER, temperature REAL,"
            " humidity REAL, light REAL, co2 REAL, prediction REAL)"
        )
        self._committed = time.monotonic()
        self._rows: dict[str, deque[list[float]]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._detectors: dict[str, Any] = defaultdict(drift.ADWIN)
        self._waiting: dict[str, tuple[Any, float]] = {}

    def on_message(self, client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        """Do all there is to do for one message."""
        record = json.loads(message.payload)
        stream = message.topic.rsplit("/", 1)[1]
        if stream in self._waiting:
            kept, made = self._waiting.pop(stream)
            self._learner.learn(kept, record[TARGET])
            self._detectors[stream].update(abs(record[TARGET] - made))
        values = [record[channel] for channel in CHANNELS]
        rows = self._rows[stream]
        rows.append(values)
        prediction = None
        if len(rows) == WINDOW:
            kept, prediction = self._learner.predict(rows)
            self._waiting[stream] = kept, prediction
        self._store(stream, record["time"], values, prediction)
        if prediction is not None:
            answer = json.dumps({"time": record["time"], "prediction": prediction})
            client.publish(f"naive/{stream}/prediction", answer, self._qos)
            if self._others is not None:
                said = self._others.predict(rows)
                answer = json.dumps({"time": record["time"], "predictions": said})
                client.publish(f"naive/{stream}/beside", answer, self._qos)

    def _store(self, stream: str, at: int, values: list[float], prediction: float | None) -> None:
        self._database.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", (stream, at, *values, prediction)
        )
        if time.monotonic() - self._committed > 1:
            self._database.commit()
            self._committed = time.monotonic()


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--qos", type=int, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--learner", choices=["graphs", "river"], default="graphs")
    parser.add_argument("--beside", type=Path)
    chosen = parser.parse_args()
    learner: Learner = River() if chosen.learner == "river" else Graphs(chosen.model)
    others = Others(chosen.model, chosen.beside) if chosen.beside else None
    script = Script(learner, chosen.database, chosen.qos, others)
    client = paho.Client(CallbackAPIVersion.VERSION2, "measured")
    client.on_message = script.on_message
    client.connect("127.0.0.1", chosen.port)
    client.subscribe("sensors/+", chosen.qos)
    client.loop_forever()


if __name__ == "__main__":
    main()
