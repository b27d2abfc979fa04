"""The agent as its user runs it: a process, a real broker, records in, predictions out."""

from __future__ import annotations

import dataclasses
import json
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from headwater import wire
from headwater.settings import Duration
from headwater_agent.agent_reader import AgentReader
from headwater_agent.folders import make_folders
from headwater_agent.settings import AgentSettings, load_settings
from headwater_agent.status import read_status
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import build
from headwater_models.manifest import Reserve
from tests.conftest import free_port
from tests.models.bundles import PUBLISHER, RELEASE, signed, spec

MINUTE = 60_000
START = 1_700_000_040_000
SETTINGS = """\
device = "pi-1"
bundle = "bundle"

[trust]
publisher = "{publisher}"

[broker]
url = "mqtt://127.0.0.1:{port}"
version = "{version}"

[input]
pattern = "tank/{{stream}}"
time = {{ field = "at", format = "ms" }}

[input.channels.level]
field = "level_cm"
unit = "cm"

[input.channels.rain]

[store]
commit_every = "100ms"
"""


class Person:
    """Whoever stands on the other side of the broker."""

    def __init__(self, port: int) -> None:
        self.heard: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="person", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.on_message = self._hear
        self._client.on_connect = lambda client, *_: client.subscribe("headwater/#", 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def say(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=1).wait_for_publish(10)

    def measure(self, minute: int, level_cm: float | None, rain: float | None = 0.0) -> None:
        record = {"at": START + minute * MINUTE, "level_cm": level_cm, "rain": rain}
        self.say("tank/north", json.dumps(record).encode())

    def next(self, kind: str, seconds: float = 30) -> dict[str, Any]:
        """The next message on a topic that ends so."""
        deadline = time.monotonic() + seconds
        while True:
            topic, message = self.heard.get(timeout=max(0.01, deadline - time.monotonic()))
            if topic.endswith(kind):
                return message

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, client: object, data: object, message: paho.MQTTMessage) -> None:
        self.heard.put((message.topic, json.loads(message.payload)))


@contextmanager
def agent(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run ``headwater agent run`` and make sure that it is gone afterwards."""
    command = [sys.executable, "-m", "headwater", "agent", "run"]
    with subprocess.Popen(
        [*command, "--settings", str(folder / "agent.toml")], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def person(mosquitto: int) -> Iterator[Person]:
    made = Person(mosquitto)
    yield made
    made.close()


def prepare(
    folder: Path, port: int, version: str = "5", *, bundle: Bundle | None = None, more: str = ""
) -> AgentSettings:
    (bundle or signed()).save(folder / "bundle")
    text = SETTINGS.format(publisher=PUBLISHER.public, port=port, version=version)
    (folder / "agent.toml").write_text(text + more)
    settings = load_settings(folder / "agent.toml", {})
    make_folders(settings)
    return settings


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def end(process: subprocess.Popen[str]) -> str:
    """Ask the agent to stop; return what it logged."""
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    return log


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_records_come_in_and_predictions_go_out(
    tmp_path: Path, mosquitto: int, person: Person, version: str
) -> None:
    settings = prepare(tmp_path, mosquitto, version)
    with agent(tmp_path) as process:
        assert person.next("status")["status"] == "online"
        for minute, level in enumerate([100, 110, 120, 130, 140, 150]):
            person.measure(minute, level)
        first = person.next("prediction")
        assert first["stream"] == "north"
        assert first["version"] == signed().version_id
        assert first["model"] == signed().model_id
        assert first["time"] == "2023-11-14T22:16:00.000Z"
        assert first["prediction"] == first["baseline"] == pytest.approx(1.2)
        assert (first["unit"], first["horizon"], first["quality"]) == ("m", "2min", "ok")
        assert 0 <= first["latency_ms"] < 30_000
        for _ in range(3):
            person.next("prediction")
        end(process)
        assert person.next("status")["status"] == "offline"
    status = read_status(settings, signed().manifest)
    assert status.errors is not None
    assert status.errors.scored == 2
    assert status.errors.baseline == pytest.approx(0.2, abs=1e-5)
    assert not status.running


def test_models_beside_the_first_predict_and_are_ranked_across_a_restart(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    rivals = {}
    for name, by in (("close", 0.5), ("wide", 2.0)):
        weights = {key: array + np.float32(by) for key, array in signed().weights.items()}
        rival = dataclasses.replace(signed(), weights=weights, version_statement=None)
        rival.sign(PUBLISHER, delegates=[RELEASE.public], created=START).save(
            tmp_path / f"{name}.zip"
        )
        rivals[name] = rival
    more = '[beside]\nmodels = ["*.zip"]\n'
    settings = prepare(tmp_path, mosquitto, more=more)
    labels = 0
    for run in range(2):
        with agent(tmp_path) as process:
            person.next("status")
            for minute in range(6 * run, 6 * run + 6):
                person.measure(minute, 100 + minute)
            for _ in range(4 + 2 * run):
                said = person.next("beside")["predictions"]
                assert said.keys() == rivals.keys()
                assert said["close"] != said["wide"]
            end(process)
        ranks = read_status(settings, signed().manifest).beside
        assert {rank.name for rank in ranks} == rivals.keys()
        assert ranks[0].recent < ranks[1].recent
        assert ranks[0].labels > labels
        labels = ranks[0].labels


def test_after_a_restart_it_goes_on_and_repeats_nothing(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto)
    with agent(tmp_path) as process:
        person.next("status")
        for minute in range(4):
            person.measure(minute, 100 + minute)
        person.next("prediction")
        person.next("prediction")
        end(process)
    with agent(tmp_path) as process:
        person.measure(3, 103)
        person.measure(4, 104)
        assert person.next("prediction")["time"].endswith("22:18:00.000Z")
        end(process)
    status = read_status(settings, signed().manifest)
    assert [(stream.name, stream.rows) for stream in status.streams] == [("north", 5)]
    assert status.errors is not None
    assert status.errors.scored == 1
    assert status.counters["refused-duplicate"] == 1


def test_what_is_kept_aside_is_learned_from_once_a_person_says_that_it_was_right(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto, bundle=learns_all())
    command = [sys.executable, "-m", "headwater", "agent", "quarantine"]
    where = ["--settings", str(tmp_path / "agent.toml"), "--json"]

    def quarantine(*arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [*command, *arguments, *where], check=True, capture_output=True, text=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    with agent(tmp_path) as process:
        person.next("status")
        for minute in range(12):
            person.measure(minute, 100_000_000 if minute == 4 else 100 + minute)
        assert person.next("prediction")["quality"] == "ok"
        assert person.next("prediction")["quality"] == "ok"
        assert person.next("prediction")["quality"] == "degraded"
        until(lambda: quarantine("list")["windows"] == 3)
        assert quarantine("list")["newest"][0]["reason"] == "range"
        assert quarantine("release", "--all") == {"values": 1, "windows": 3, "done": True}
        assert quarantine("list")["values"] == 0
        end(process)
    with closing(AgentReader(settings.agent_db, learns_all().manifest)) as reader:
        assert [note.kind for note in reader.notes(5)].count("cleared") == 1
        learned = reader.examples(reserved=False, newest=100)
    assert (learned.window[-3:] == np.float32(1e6)).sum() == 3


def test_a_malformed_payload_is_said_once_counted_and_survived(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto)
    with agent(tmp_path) as process:
        person.next("status")
        for payload in (b"{", b"\xff\xfe", b"[]", b'"text"', b'{"at": 5}', b"9" * 100_000):
            person.say("tank/north", payload)
        for minute in range(3):
            person.measure(minute, 100)
        person.next("prediction")
        log = end(process)
    assert "message on 'tank/north' refused: it is not JSON" in log
    assert "only counted" in log
    counters = read_status(settings, signed().manifest).counters
    assert counters["refused-json"] == 2
    assert counters["refused-size"] == 1


def test_an_exchange_that_cannot_be_read_is_said_once_and_survived(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    """As after a federation client that was killed while it wrote."""
    settings = prepare(tmp_path, mosquitto)
    with (tmp_path / "agent.toml").open("a") as file:
        file.write('[federation]\nenabled = true\ncoordinator = "https://127.0.0.1:1"\n')
    settings.exchange_db.write_bytes(b"this is no database" * 100)
    with agent(tmp_path) as process:
        person.next("status")
        live = settings.agent_db.parent / "live.json"
        until(live.exists)
        first = live.stat().st_mtime_ns
        until(lambda: live.stat().st_mtime_ns > first)
        for minute in range(3):
            person.measure(minute, 100)
        assert person.next("prediction")["stream"] == "north"
        log = end(process)
    assert log.count("exchange.db cannot be read") == 1


def test_a_broker_that_is_down_at_the_start_is_waited_for(tmp_path: Path) -> None:
    prepare(tmp_path, free_port())
    with agent(tmp_path) as process:
        until((tmp_path / "state" / "agent" / "live.json").exists)
        report = json.loads((tmp_path / "state" / "agent" / "live.json").read_bytes())
        assert not report["connected"]
        assert "start the broker or check broker.url" in report["trouble"]
        assert "start the broker" in end(process)


def test_a_bundle_with_a_changed_byte_does_not_run(tmp_path: Path) -> None:
    prepare(tmp_path, free_port())
    weights = tmp_path / "bundle" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with agent(tmp_path) as process:
        _, log = process.communicate(timeout=30)
    assert process.returncode == 4
    assert "get the bundle again" in log


def test_an_unknown_key_is_named_with_its_path(tmp_path: Path) -> None:
    prepare(tmp_path, free_port())
    with (tmp_path / "agent.toml").open("a") as file:
        file.write('[learn]\nbatchsize = 3\n[federation]\npol = "1s"\n')
    with agent(tmp_path) as process:
        _, log = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "learn.batchsize: there is no such key" in log
    assert "federation.pol: there is no such key" in log
    assert "Traceback" not in log


LABELS = """
[learn]
batch = 4

[labels]
pattern = "truth/{stream}"
time = { field = "at", format = "ms" }
tolerance = "10s"
"""

LABELS_BY_ID = """
[labels]
pattern = "truth"
id = "prediction"
"""


def classifier() -> Bundle:
    """Says whether a tank is filling; nothing of it is reserved."""
    return learns_all(
        task="classification",
        target="",
        horizon=Duration(0),
        classes=("emptying", "filling"),
        loss="cross_entropy",
    )


def learns_all(**chosen: Any) -> Bundle:
    """The tank's model, of which nothing is reserved."""
    nothing = Reserve(share=0.0, block=Duration(MINUTE))
    wanted = msgspec.structs.replace(spec(), reserve=nothing, **chosen)
    built = build(wanted, np.random.default_rng(0))
    bundle = Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    )
    return bundle.sign(PUBLISHER, created=0)


def test_labels_from_a_topic_find_their_predictions_and_are_learned(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    bundle = classifier()
    settings = prepare(tmp_path, mosquitto, bundle=bundle, more=LABELS)
    with agent(tmp_path) as process:
        person.next("status")
        for minute in range(12):
            person.measure(minute, 100 + minute)
        made = [person.next("prediction") for _ in range(10)]
        assert made[0]["prediction"] == {"emptying": 0.5, "filling": 0.5}
        for minute in range(2, 12):
            said = {"at": START + minute * MINUTE + 4_000, "label": "filling"}
            person.say("truth/north", json.dumps(said).encode())
        person.say("truth/north", b'{"label": "sideways"}')
        until(lambda: scored(settings, bundle) == 10)
        person.measure(12, 112)
        learned = person.next("prediction")
        assert learned["personal"]["filling"] > 0.5
        end(process)
    status = read_status(settings, bundle.manifest)
    assert status.counters["refused-label"] == 1


def test_a_label_may_name_its_prediction_and_be_corrected_later(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    bundle = classifier()
    settings = prepare(tmp_path, mosquitto, bundle=bundle, more=LABELS_BY_ID)
    with agent(tmp_path) as process:
        person.next("status")
        for minute in range(3):
            person.measure(minute, 100 + minute)
        made = person.next("prediction")
        for label in ("filling", "emptying"):
            said = {"prediction": made["id"], "label": label}
            person.say("truth", json.dumps(said).encode())
        person.say("truth", b'{"prediction": "of-nobody", "label": "filling"}')
        until(lambda: scored(settings, bundle) == 1)
        end(process)
    with closing(AgentReader(settings.agent_db, bundle.manifest)) as reader:
        assert reader.examples(reserved=False, newest=9).label.tolist() == [[0]]


def scored(settings: AgentSettings, bundle: Bundle) -> int:
    with closing(AgentReader(settings.agent_db, bundle.manifest)) as reader:
        labels, _, _ = reader.scored(1_000)
    return len(labels)


DRIFT = """
[guard]
enabled = false

[drift]
enabled = true
watch = ["inputs"]
mean_of = 1
react = { to = ["inputs"], retrain = true }
"""


def test_a_change_is_published_stored_logged_and_told_to_the_coordinator(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto, more=DRIFT)
    with agent(tmp_path) as process:
        person.next("status")
        rng = np.random.default_rng(0)
        for minute, noise in enumerate(rng.standard_normal(200).tolist()):
            person.measure(minute, (100 if minute < 150 else 190) + noise)
        alarm = person.next("alarm")
        log = end(process)
    assert (alarm["stream"], alarm["about"], alarm["channel"]) == ("north", "inputs", "level")
    assert alarm["before"] < 1.1 < alarm["value"]
    status = read_status(settings, signed().manifest)
    stored = [(one.stream, one.channel, one.detector) for one in status.alarms]
    assert ("north", "level", alarm["detector"]) in stored
    said = wire.decode_reply((settings.share / "status.json").read_bytes())
    assert isinstance(said, wire.CheckedIn)
    assert (said.alarms, said.retrain) == (len(stored), True)
    assert "stream north has changed: inputs (level)" in log


def test_a_backlog_is_labelled_as_if_it_had_come_bit_by_bit(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    """Two hours of records, each with its label after it, and one label that comes too late."""
    bundle = classifier()
    settings = prepare(tmp_path, mosquitto, bundle=bundle, more=LABELS)
    with agent(tmp_path) as process:
        person.next("status")
        end(process)
    for minute in range(120):
        person.measure(minute, 100 + minute)
        said = {"at": START + minute * MINUTE + 59_000, "label": "filling"}
        person.say("truth/north", json.dumps(said).encode())
    person.say("truth/north", json.dumps({"at": START + 2 * MINUTE, "label": 0}).encode())
    with agent(tmp_path) as process:
        until(lambda: scored(settings, bundle) == 118)
        until(lambda: refused_labels(settings, bundle) == 3)
        end(process)


def refused_labels(settings: AgentSettings, bundle: Bundle) -> int:
    return read_status(settings, bundle.manifest).counters.get("refused-label", 0)
