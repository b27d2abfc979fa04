"""The publisher streams every hour of every station through a real broker, in order."""

from __future__ import annotations

import itertools
import json
import os
import queue
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from headwater.errors import SettingsError, UnreachableError
from headwater_simulator.broker import EmbeddedBroker, free_ports, listens
from headwater_simulator.processes import Crew, crew
from headwater_simulator.publisher import Publisher, broker_address, main, messages, stream
from headwater_simulator.streams import shipped


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    with crew(tmp_path_factory.mktemp("logs"), os.environ) as hands:
        yield hands


@pytest.fixture(scope="module")
def broker(hands: Crew, tmp_path_factory: pytest.TempPathFactory) -> EmbeddedBroker:
    return EmbeddedBroker(hands, tmp_path_factory.mktemp("broker"))


@contextmanager
def listener(
    port: int, version: MQTTProtocolVersion, topics: str
) -> Iterator[queue.Queue[tuple[str, bytes]]]:
    """Subscribe with QoS 1 and hand over a queue of topic and payload."""
    came: queue.Queue[tuple[str, bytes]] = queue.Queue()
    ready: queue.Queue[None] = queue.Queue()
    client = Client(CallbackAPIVersion.VERSION2, client_id="listener", protocol=version)
    client.on_message = lambda _client, _data, message: came.put(
        (message.topic, bytes(message.payload))
    )
    client.on_subscribe = lambda *_: ready.put(None)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        client.subscribe(topics, qos=1)
        ready.get(timeout=10)
        yield came
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311])
def test_listeners_of_both_protocol_versions_get_every_record_in_order(
    broker: EmbeddedBroker, version: MQTTProtocolVersion
) -> None:
    stations = shipped()[:2]
    hours = list(itertools.islice(messages(stations, f"air-{version}"), 300))
    port = broker.port if version == MQTTProtocolVersion.MQTTv5 else broker.port_311

    with listener(port, version, f"air-{version}/+") as came:
        with closing(Publisher(broker.url, "stations")) as publisher:
            for _ in stream(publisher, iter(hours), rate=100_000):
                pass
            assert publisher.records == 600
        got = [came.get(timeout=10) for _ in range(600)]

    assert got == [message for hour in hours for message in hour]


def test_as_a_process_it_streams_until_it_is_stopped_and_says_how_much(
    broker: EmbeddedBroker, hands: Crew
) -> None:
    arguments = ["--broker", broker.url, "--prefix", "slow", "--rate", "50", "--station", "Dongsi"]
    with listener(broker.port, MQTTProtocolVersion.MQTTv5, "slow/Dongsi") as came:
        child = hands.start(
            "stations", [sys.executable, "-m", "headwater_simulator.publisher", *arguments]
        )
        first = [came.get(timeout=30) for _ in range(5)]
        assert child.stop()
        sent = json.loads(child.tail())

    dongsi = next(station for station in shipped() if station.name == "Dongsi")
    assert [payload for _, payload in first] == list(itertools.islice(dongsi.payloads(), 5))
    assert 5 <= sent["records"] < 35_064


def test_the_broker_is_gone_with_its_crew(tmp_path: Path) -> None:
    with crew(tmp_path, os.environ) as hands:
        started = EmbeddedBroker(hands, tmp_path)
        ports = (started.port, started.port_311)
        assert all(listens(port) for port in ports)

    assert not any(listens(port) for port in ports)


def test_a_broker_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    (port,) = free_ports(1)
    code = main(["--broker", f"mqtt://127.0.0.1:{port}", "--rate", "1", "--station", "Dongsi"])

    assert code == UnreachableError.exit_code
    assert f"There is no broker at mqtt://127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["http://here", "mqtt://", "mqtt://user@here", "mqtt://here:no", "mqtt://here/topic", ""]
)
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="mqtt://HOST:PORT"):
        broker_address(url)


def test_it_never_runs_ahead_of_its_rate(broker: EmbeddedBroker) -> None:
    hours = itertools.repeat([("quiet", b"x")])
    with closing(Publisher(broker.url, "paced")) as publisher:
        began = time.monotonic()
        for _ in itertools.islice(stream(publisher, hours, rate=200.0), 10):
            assert publisher.records <= (time.monotonic() - began) * 200.0 + 1
