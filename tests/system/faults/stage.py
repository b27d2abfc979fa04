"""An agent as its owner runs it, a broker with a disk, a load that counts, and the account."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.agent.workload import CHANNELS, PERIOD, PUBLISHER, Sensors, model
from headwater.errors import StorageError
from headwater_agent.agent_reader import AgentReader
from headwater_agent.folders import make_folders
from headwater_agent.learner import SavedLearning, read_checkpoint
from headwater_agent.settings import AgentSettings, load_settings
from headwater_agent.sync import unpack_arrays
from headwater_models.bundle import Bundle
from tests.conftest import free_port, skip_or_fail, wait_for_port
from tests.system.faults.wire import Key, Wire

RATE = 200
"""Records a second of the load."""

REFERENCE_RATE = 1_500
"""Records a second of the undisturbed run."""

LONGER = float(os.environ.get("HEADWATER_STORM", "1"))
"""How many times longer than in every run faults last."""

STREAMS = 4
SHIFTED = Path(__file__).with_name("shifted.py")

_SETTINGS = """\
device = "attacked"
bundle = "model"
state = "{state}"

[trust]
publisher = "{publisher}"

[broker]
url = "mqtt://127.0.0.1:{port}"
retry = "2s"
{broker}

[input]
pattern = "sensors/{{stream}}"
{time}

{more}
"""

_BROKER = """\
listener {port} 127.0.0.1
allow_anonymous true
user root
persistence true
persistence_location {folder}/
autosave_interval 1000
autosave_on_changes true
max_queued_messages 0
"""


def until(done: Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds:g} seconds: {what}"
        time.sleep(0.05)


class Broker:
    """A mosquitto that keeps sessions on disk: at its end, and each thousand changes."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            skip_or_fail("mosquitto is not installed")
        assert program is not None
        folder.mkdir()
        self.port = free_port()
        self._log = folder / "log"
        self._command = [program, "-c", str(folder / "mosquitto.conf")]
        (folder / "mosquitto.conf").write_text(_BROKER.format(port=self.port, folder=folder))
        self.start()

    def start(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_for_port(self.port)

    def save(self) -> None:
        """Write sessions and messages to disk."""
        self._process.send_signal(signal.SIGUSR1)

    def end(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)
        self._process.wait(20)


class Device:
    """An agent's process, which may end and be started again."""

    def __init__(self, folder: Path, settings: AgentSettings, settings_file: Path) -> None:
        self.settings = settings
        self.bundle = Bundle.load(settings.bundle)
        self.log = folder / "agent.log"
        self.clock = folder / "clock"
        self.set_clock(0)
        self._arguments = ["agent", "run", "--settings", str(settings_file)]
        self._process: subprocess.Popen[bytes] | None = None

    def set_clock(self, shift_ms: int) -> None:
        """Let the device's wall clock be wrong by so much, at once: it reads all or nothing."""
        new = self.clock.with_suffix(".new")
        new.write_text(str(shift_ms))
        new.replace(self.clock)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def start(self, **options: Any) -> None:
        program = [sys.executable, str(SHIFTED), str(self.clock)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*program, *self._arguments], stderr=log, env=environment, **options
            )

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it as a power cut of the process would, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)

    def stop(self) -> None:
        """Ask it to end, which it is to do in order."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(60) == 0, self.said()

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(60)

    def said(self) -> str:
        return self.log.read_text()

    def live(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self.settings.live.read_bytes())
        except FileNotFoundError:
            return {}
        return found

    @contextmanager
    def reading(self) -> Iterator[AgentReader]:
        with closing(AgentReader(self.settings.agent_db, self.bundle.manifest)) as reader:
            yield reader

    def rows(self) -> int:
        """How many rows are stored by now."""
        try:
            with self.reading() as reader:
                return sum(stream["rows"] for stream in reader.streams())
        except StorageError:
            return 0


class Load:
    """Records in a steady stream; each has a sequence number, its time, within its stream.

    They reach the broker in their order: paho alone would send what is published while it connects
    before what it sends again.
    """

    def __init__(self, port: int, sensors: Sensors, rate: float) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self._taken = 0
        self._sensors = sensors
        self._rate = rate
        self._stop = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="load", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_publish = self._count
        self._client.on_disconnect = self._lose
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._published = 0
        self._in_order = False
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        until(self._client.is_connected, "the broker takes the load")
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Load:
        self._thread.start()
        return self

    def send(self, count: int) -> None:
        """Send records as fast as they are wanted."""
        for number in range(count):
            self._send()
            if not number % 10:
                time.sleep(10 / self._rate)

    def stop(self) -> list[tuple[str, bytes]]:
        """Return what was sent, once the broker has all of it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        until(self._all_taken, "the broker has the load")
        self._client.disconnect()
        self._client.loop_stop()
        return self.sent

    def _run(self) -> None:
        while not self._stop.wait(1 / self._rate):
            self._send()

    def _send(self) -> None:
        ((topic, payload),) = self._sensors.take(1)
        self.sent.append((topic, payload))
        self._waiting.append((topic, payload))
        self._publish()

    def _publish(self) -> None:
        """Publish what waits, unless what was published before must be sent again first."""
        if self._taken == self._published and self._client.is_connected():
            self._in_order = True
        while self._in_order and self._waiting:
            self._published += 1
            self._client.publish(*self._waiting.popleft(), qos=1)

    def _all_taken(self) -> bool:
        self._publish()
        return self._taken == len(self.sent)

    def _count(self, *_: object) -> None:
        self._taken += 1

    def _lose(self, *_: object) -> None:
        self._in_order = False


@dataclass
class Stage:
    """Broker, network, device and load in a folder."""

    folder: Path
    broker: Broker
    wire: Wire
    device: Device
    rate: float

    def begin(self, sensors: Sensors | None = None) -> Load:
        """Start the device, and once it has subscribed a load, which is returned."""
        self.device.start()
        until(lambda: self.device.live().get("connected"), "the agent is there")
        self.broker.save()
        return Load(self.broker.port, sensors or Sensors(STREAMS), self.rate)

    def predicts(self, what: str) -> None:
        """Wait until new records give new predictions."""
        before = len(self.wire.said)
        until(lambda: len(self.wire.said) > before + 10, f"predictions go on {what}")

    def rest(self, rows: int) -> None:
        """Wait until so many rows are stored and nothing more is to be learned."""
        until(lambda: self.device.rows() >= rows, f"{rows} rows are stored")
        steps = -1
        while (now := self.device.live().get("steps", 0)) != steps:
            steps = now
            time.sleep(1.5)


@contextmanager
def staged(
    folder: Path,
    *,
    seed: int = 0,
    state: Path | None = None,
    broker: str = "",
    event_time: str = 'time = { field = "time", format = "ms" }',
    more: str = "",
    rate: float = RATE,
    brokers: Callable[[Path], Broker] = Broker,
) -> Iterator[Stage]:
    """Set everything up; nothing of it is left running."""
    folder.mkdir(exist_ok=True)
    model().save(folder / "model")
    started = brokers(folder / "broker")
    wire = Wire(started.port, seed)
    path = folder / "agent.toml"
    path.write_text(
        _SETTINGS.format(
            publisher=PUBLISHER.public,
            port=wire.port,
            state=state or folder / "state",
            broker=broker,
            time=event_time,
            more=more,
        )
    )
    settings = load_settings(path, {})
    make_folders(settings)
    device = Device(folder, settings, path)
    try:
        yield Stage(folder, started, wire, device, rate)
    finally:
        device.kill()
        wire.close()
        started.end(signal.SIGKILL)


def sequence(message: tuple[str, bytes]) -> Key:
    """The sequence number of a record: its stream, and its time within it."""
    topic, payload = message
    return topic, int(json.loads(payload)["time"])


@dataclass(frozen=True, slots=True)
class Account:
    """What a device has at the end, and must not have lost; rows with what is kept aside."""

    rows: dict[Key, tuple[float | None, ...]]
    aside: int
    counters: dict[str, int]
    examples: int
    predictions: set[str]
    scores: int
    learning: SavedLearning


def account_of(device: Device) -> Account:
    found: dict[Key, list[float | None]] = {}
    with device.reading() as reader:
        for stream in reader.streams():
            slots, cells = reader.rows_of(stream["name"], 0, stream["newest"])
            for slot, values in zip(slots.tolist(), cells.tolist(), strict=True):
                found[f"sensors/{stream['name']}", slot * PERIOD] = [
                    None if math.isnan(value) else value for value in values
                ]
        marks = reader.marks()
        for mark in marks:
            found[f"sensors/{mark.stream}", mark.time][mark.channel] = mark.value
        checkpoint = reader.checkpoint()
        assert checkpoint is not None
        predictions = reader._records.predictions()
        return Account(
            {key: tuple(row) for key, row in found.items() if any(v is not None for v in row)},
            len(marks),
            reader.counters(),
            len(reader.examples(reserved=False, newest=10**6).label),
            {made.id for made in predictions.predictions(np.arange(len(predictions.scored)))},
            int(predictions.scored.sum()),
            read_checkpoint(checkpoint),
        )


def undisturbed(folder: Path, records: list[tuple[str, bytes]]) -> tuple[Account, Wire]:
    """Run an agent of its own over records, without any fault."""
    with staged(folder, rate=REFERENCE_RATE) as stage:
        load = stage.begin(Records(records))
        load.send(len(records))
        load.stop()
        stage.rest(len(records))
        stage.device.stop()
        return account_of(stage.device), stage.wire


class Records(Sensors):
    """Sensors that say again what was said before."""

    def __init__(self, records: list[tuple[str, bytes]]) -> None:
        self._again = iter(records)

    def take(self, count: int) -> list[tuple[str, bytes]]:
        return [next(self._again) for _ in range(count)]


def values_of(message: tuple[str, bytes]) -> tuple[float, ...]:
    content = json.loads(message[1])
    return tuple(float(np.float32(content[channel.name])) for channel in CHANNELS)


def same_model(ours: SavedLearning, theirs: SavedLearning) -> bool:
    """Say whether both made the same of what they learned, bit for bit.

    Which model serves, and the account of it, are left out: they follow from what the personal
    model said when a window came, and it learns between any two of them.
    """
    for part in ("parameters", "state"):
        mine = unpack_arrays(getattr(ours.personal, part))
        other = unpack_arrays(getattr(theirs.personal, part))
        if mine.keys() != other.keys():
            return False
        if any(mine[name].tobytes() != other[name].tobytes() for name in mine):
            return False
    return True


def windows(wire: Wire) -> set[tuple[object, object]]:
    """Return stream and time of the predictions that the broker has, by whichever version."""
    said = [dict(content) for made in wire.taken for content in wire.said[made]]
    return {(one["stream"], one["time"]) for one in said}


def check(
    stage: Stage, records: list[tuple[str, bytes]], *, what: str, versions: bool = False
) -> None:
    """Hold a device that ended against what it was sent, and against an undisturbed run.

    With ``versions`` releases came meanwhile. Which one was there for which record depends on the
    moment then, and so does what was learned on top of it, but not from which examples. What was
    predicted again after a kill may have been so by two of them.
    """
    wire = stage.wire
    ours = account_of(stage.device)
    theirs, calm = undisturbed(stage.folder / "undisturbed", records)
    keys = {sequence(record): values_of(record) for record in records}
    figures = {
        "fault": what,
        "records": len(records),
        "acknowledged": len(wire.acknowledged),
        "delivered_again": sum(wire.delivered.values()) - len(wire.delivered),
        "predictions": len(wire.said),
        "published_again": sum(sum(said.values()) for said in wire.said.values()) - len(wire.said),
        "connections": wire.connections,
        "values_aside": ours.aside,
        "steps": ours.learning.steps,
        "counters": ours.counters,
    }
    print("\n" + json.dumps(figures))
    assert wire.acknowledged <= ours.rows.keys(), "what was acknowledged is stored"
    assert ours.rows == keys, "each record is stored once, as it was sent"
    assert ours.rows == theirs.rows
    changed = {made for made, said in wire.said.items() if len(said) > 1}
    assert not changed, "an id means one prediction"
    assert windows(wire) == windows(calm), "for each window there is a prediction"
    assert (ours.examples, ours.scores) == (theirs.examples, theirs.scores)
    assert len(ours.predictions) == len(theirs.predictions)
    assert (ours.learning.steps, ours.learning.dropped) == (theirs.learning.steps, 0)
    assert ours.learning.learned_through == theirs.learning.learned_through
    if not versions:
        assert wire.taken == wire.said.keys(), "the broker has all of them"
        assert ours.predictions == theirs.predictions
        assert all(wire.said[made].keys() == calm.said[made].keys() for made in wire.said)
        assert same_model(ours.learning, theirs.learning), "it learned as if nothing had happened"
