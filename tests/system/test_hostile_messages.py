"""What lies at the broker or comes from it keeps no agent from starting, nor from predicting."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from benchmarks.agent import workload
from benchmarks.agent.sides import CLIENT, Place, run_agent, settings_of
from benchmarks.agent.wire import Wire, packet, text
from headwater_agent.agent_reader import AgentReader
from headwater_agent.settings import AgentSettings
from headwater_models.manifest import Manifest
from headwater_simulator.processes import crew

pytestmark = pytest.mark.system

READING = b'{"time":%d,"temperature":20,"humidity":40,"light":500,"co2":600}' % workload.START_MS
RETAINED = {
    "sensors/garbage": bytes(range(256)) * 10,
    "sensors/deep": b'{"time":' + b"[" * 30_000,
    "sensors/reading": READING,
    "sensors/" + "t" * 1_000: READING,
    "sensors/large": b'{"x":"%s"}' % (b"x" * 10_000_000),
    "sensors/larger": b"[" * 18_000_000,
    "labels/garbage": b"\xff" * 1_000,
    "labels/s000": b'{"label":700,"time":%d}' % workload.START_MS,
}
"""What the agent has subscribed to."""

OWN = {
    "headwater/bench/s000/prediction": b"[" * 100_000,
    "headwater/bench/s000/alarm": b"\xff",
    "headwater/bench/status": b"offline",
    f"headwater/{CLIENT}/status": b"{",
}
"""What it publishes on."""

LIVE = {
    "sensors/s000": [
        *(b"", b"\xff", b"[" * 60_000, b"1" * 60_000, b"x" * 100_000, b'{"temperature": "\xff"}'),
        *(b'{"time":1,"temperature":1}', b"{%s}" % b",".join(b'"%d":1' % i for i in range(6_000))),
        b"[" * 18_000_000,
    ],
    "labels/s000": [b"{}", b"[" * 1_000, b'{"label":1e999}', b"x" * 70_000],
    "sensors/" + "t" * 600: [READING],
}
REFUSED = {"retained", "size", "json", "deep", "keys", "time", "topic-length", "label"}


def publish(wire: Wire, topic: str, payload: bytes, *, retain: bool) -> None:
    wire.send(packet(0x30 | retain, text(topic) + payload))


def until(done: Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds:g} seconds: {what}"
        time.sleep(0.05)


class Manager:
    """Hears what systemd would hear from the service."""

    def __init__(self, path: Path) -> None:
        self.said = ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def ready(self) -> bool:
        try:
            while True:
                self.said += self._socket.recv(4_096).decode() + "\n"
        except BlockingIOError:
            return "READY=1" in self.said

    def close(self) -> None:
        self._socket.close()


@contextmanager
def started(folder: Path, port: int, version: str) -> Iterator[AgentSettings]:
    """Run an agent with labels until the block ends; it is ready."""
    path, settings = settings_of(Place(port, 1, folder / "model", folder), drift=False)
    text = path.read_text().replace("[input]", f'version = "{version}"\n\n[input]')
    path.write_text(
        text + '\n[labels]\npattern = "labels/{stream}"\ntime = { field = "time", format = "ms" }\n'
    )
    with closing(Manager(folder / "notify")) as manager:
        environment = os.environ | {"NOTIFY_SOCKET": str(folder / "notify")}
        with crew(folder / "logs", environment) as hands:
            agent = hands.start("agent", run_agent(path))
            until(lambda: manager.ready() or agent.exit_code is not None, "the agent is ready")
            assert manager.ready(), agent.tail()
            yield settings
            assert agent.exit_code is None, agent.tail()
            assert agent.stop(), agent.tail()


def counters(settings: AgentSettings, manifest: Manifest) -> dict[str, int]:
    with closing(AgentReader(settings.agent_db, manifest)) as reader:
        return reader.counters()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_an_agent_starts_and_predicts_whatever_lies_at_the_broker(
    tmp_path: Path, mosquitto: int, version: str
) -> None:
    bundle = workload.model()
    bundle.save(tmp_path / "model")
    sensors = workload.Sensors()
    with closing(Wire(mosquitto, "load")) as wire:
        for topic, payload in {**RETAINED, **OWN}.items():
            publish(wire, topic, payload, retain=True)
        wire.settle()
        wire.subscribe("headwater/bench/s000/prediction")
        wire.settle()
        with started(tmp_path, mosquitto, version) as settings:
            predictions: list[bytes] = []

            def predicted() -> bool:
                nonlocal predictions
                ((topic, payload),) = sensors.take(1)
                publish(wire, topic, payload, retain=False)
                predictions += wire.poll(0.05)
                return len(predictions) > 20

            until(predicted, "it predicts")
            for topic, payloads in LIVE.items():
                for payload in payloads:
                    publish(wire, topic, payload, retain=False)
            wire.settle()
            predictions = []
            until(predicted, "it predicts on")
    found = counters(settings, bundle.manifest)
    assert {name.removeprefix("refused-") for name in found if "refused" in name} >= REFUSED
    visible = len(RETAINED) - (version == "5")  # MQTT 5 tells the broker what is too large
    assert found["refused-retained"] == visible
    assert found["refused-label"] == 2
    assert found["refused-time"] == 1
    assert found["refused-size"] == 2 + (version == "3.1.1")
