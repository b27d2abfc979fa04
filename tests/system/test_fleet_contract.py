"""What Headwater relies on in Flower's private modules, held against a real SuperLink."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.app.message.array import Array

from headwater.errors import PeerError, SettingsError, UnreachableError
from headwater_agent.client import Delivered
from headwater_agent.flower import FleetConnection
from headwater_agent.nodekey import make_key, read_key
from tests.system.superlink import ServerApp, SuperLink

pytestmark = pytest.mark.system

VECTOR = np.linspace(-1, 1, 1000, dtype=np.float32)
USED = {
    "activate-node",
    "deactivate-node",
    "send-node-heartbeat",
    "pull-messages",
    "pull-object",
    "confirm-message-received",
    "push-messages",
    "push-object",
}

Connect = Callable[..., FleetConnection]


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuperLink]:
    with SuperLink(tmp_path_factory.mktemp("superlink")) as running:
        yield running


@pytest.fixture
def connect(link: SuperLink, tmp_path: Path) -> Iterator[Connect]:
    """Make connections of one device, which are closed at the end."""
    make_key(tmp_path)
    made: list[FleetConnection] = []

    def make(**options: Any) -> FleetConnection:
        settings: dict[str, Any] = {
            "ca": link.ca,
            "elements": 1000,
            "node_file": tmp_path / "node.id",
        } | options
        key = read_key(tmp_path / "node.key")
        made.append(FleetConnection(link.url, key, rng=Random(1), **settings))
        return made[-1]

    yield make
    for connection in made:
        connection.close()


@pytest.fixture
def app(link: SuperLink) -> Iterator[ServerApp]:
    running = ServerApp(link)
    yield running
    running.stop()
    running.close()


def pulled(connection: FleetConnection) -> Delivered:
    delivery = connection.pull()
    assert delivery is not None
    return delivery


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_unknown_key_is_refused_in_words(connect: Connect) -> None:
    with pytest.raises(
        PeerError, match=r"SHA256:\S+ is not enrolled .* coordinator enrol node.pub"
    ):
        connect().open()


def test_a_server_with_another_authority_is_not_spoken_to(connect: Connect) -> None:
    with pytest.raises(UnreachableError, match="certificate verify failed"):
        connect(ca=None).open()


def test_plain_http_goes_to_this_machine_only(tmp_path: Path) -> None:
    make_key(tmp_path)
    with pytest.raises(SettingsError, match="must begin with https://"):
        FleetConnection(
            "http://10.0.0.1:8000",
            read_key(tmp_path / "node.key"),
            ca=None,
            elements=1,
            node_file=tmp_path / "node.id",
            rng=Random(1),
        )


def test_a_task_is_pulled_and_answered_with_arrays_bit_for_bit(
    link: SuperLink, connect: Connect, app: ServerApp, tmp_path: Path
) -> None:
    node = link.enrol(tmp_path / "node.pub")
    connection = connect()
    connection.open()
    assert link.status(node) == "online"
    assert connection.pull() is None
    name = app.send(node, "query.release", b"question", VECTOR)
    delivery = pulled(connection)
    assert delivery.kind == "query.release"
    assert delivery.fields == b"question"
    assert delivery.array is not None
    assert delivery.array.tobytes() == VECTOR.tobytes()
    connection.confirm()
    assert connection.reply(delivery.flower, b"answer", -VECTOR) == "sent"
    content = app.receive(name).content
    assert content["headwater"] == ConfigRecord({"fields": b"answer"})
    arrays = content["arrays"]
    assert isinstance(arrays, ArrayRecord)
    assert list(arrays) == ["arrays"]
    assert arrays["arrays"].numpy().tobytes() == (-VECTOR).tobytes()
    assert connection.pull() is None


def test_an_answer_given_twice_is_one_answer(
    link: SuperLink, connect: Connect, app: ServerApp, tmp_path: Path
) -> None:
    node = link.enrol(tmp_path / "node.pub")
    connection = connect()
    connection.open()
    name = app.send(node, "train", b"question")
    delivery = pulled(connection)
    connection.confirm()
    assert connection.reply(delivery.flower, b"answer", VECTOR) == "sent"
    assert connection.reply(delivery.flower, b"answer", VECTOR) == "unwanted"
    assert connection.reply(delivery.flower, b"another", None) == "unwanted"
    assert app.receive(name).content["headwater"] == ConfigRecord({"fields": b"answer"})


KILLED = """
import os, sys, time
from pathlib import Path
from random import Random
from headwater_agent.flower import FleetConnection
from headwater_agent.nodekey import read_key
url, ca, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
key, node = read_key(folder / "node.key"), folder / "node.id"
connection = FleetConnection(url, key, ca=ca, elements=1000, node_file=node, rng=Random(1))
connection.open()
while (delivery := connection.pull()) is None:
    time.sleep(0.05)
(folder / "flower").write_bytes(delivery.flower)
connection.confirm()
os.kill(os.getpid(), 9)
"""


def test_a_process_killed_after_a_pull_is_followed_by_one_that_answers(
    link: SuperLink, connect: Connect, app: ServerApp, tmp_path: Path
) -> None:
    node = link.enrol(tmp_path / "node.pub")
    command = [sys.executable, "-c", KILLED, link.url, str(link.ca), str(tmp_path)]
    with subprocess.Popen(command) as process:
        wait_until(lambda: link.status(node) == "online")
        name = app.send(node, "train", b"question")
        assert process.wait(30) == -9
    connection = connect()
    connection.open()
    assert connection.pull() is None
    assert connection.reply((tmp_path / "flower").read_bytes(), b"later", VECTOR) == "sent"
    assert app.receive(name).content["headwater"] == ConfigRecord({"fields": b"later"})


def test_an_unconfirmed_message_comes_again(
    link: SuperLink, connect: Connect, app: ServerApp, tmp_path: Path
) -> None:
    node = link.enrol(tmp_path / "node.pub")
    connection = connect()
    connection.open()
    app.send(node, "train", b"question")
    assert pulled(connection).fields == pulled(connection).fields == b"question"
    connection.confirm()
    assert connection.pull() is None


def test_an_answer_to_a_run_that_is_over_is_unwanted(
    link: SuperLink, connect: Connect, tmp_path: Path
) -> None:
    node = link.enrol(tmp_path / "node.pub")
    connection = connect()
    connection.open()
    app = ServerApp(link)
    app.send(node, "train", b"first")
    delivery = pulled(connection)
    connection.confirm()
    app.send(node, "train", b"second")
    app.stop()
    app.close()
    assert connection.reply(delivery.flower, b"late", VECTOR) == "unwanted"
    assert connection.pull() is None


def test_heartbeats_put_a_node_online_again(
    link: SuperLink, connect: Connect, tmp_path: Path
) -> None:
    node = link.enrol(tmp_path / "node.pub")
    connect(heartbeat_s=10.0).open()
    other = connect()
    other.open()
    other.close(leave=True)
    assert link.status(node) == "offline"
    wait_until(lambda: link.status(node) == "online")


@pytest.mark.parametrize(
    "content",
    [
        RecordDict({"other": ConfigRecord({"fields": b"x"})}),
        RecordDict({"headwater": ConfigRecord({"fields": "text"})}),
        RecordDict({"headwater": ConfigRecord({"fields": b"x", "more": 1})}),
        RecordDict({"headwater": ConfigRecord({"fields": bytes(70_000)})}),
        RecordDict({"headwater": ConfigRecord({"fields": b"x"}), "m": MetricRecord({"loss": 1.0})}),
        RecordDict(
            {
                "headwater": ConfigRecord({"fields": b"x"}),
                "arrays": ArrayRecord({"arrays": Array(VECTOR), "more": Array(VECTOR)}),
            }
        ),
        RecordDict(
            {
                "headwater": ConfigRecord({"fields": b"x"}),
                "arrays": ArrayRecord({"arrays": Array(VECTOR.astype(np.float64))}),
            }
        ),
        RecordDict(
            {
                "headwater": ConfigRecord({"fields": b"x"}),
                "arrays": ArrayRecord({"arrays": Array(VECTOR.reshape(10, 100))}),
            }
        ),
        RecordDict(
            {
                "headwater": ConfigRecord({"fields": b"x"}),
                "arrays": ArrayRecord({"arrays": Array(np.tile(VECTOR, 100))}),
            }
        ),
    ],
    ids=[
        "other record",
        "text fields",
        "two entries",
        "long fields",
        "metrics",
        "two arrays",
        "float64",
        "matrix",
        "large array",
    ],
)
def test_a_message_of_another_form_is_dropped_and_the_next_one_comes(
    content: RecordDict, link: SuperLink, connect: Connect, app: ServerApp, tmp_path: Path
) -> None:
    node = link.enrol(tmp_path / "node.pub")
    connection = connect()
    connection.open()
    app.send_records(node, "train", content)
    app.send(node, "train", b"good")
    with pytest.raises(PeerError, match="coordinator sent"):
        connection.pull()
    assert pulled(connection).fields == b"good"


def test_a_message_of_another_type_is_dropped(
    link: SuperLink, connect: Connect, app: ServerApp, tmp_path: Path
) -> None:
    node = link.enrol(tmp_path / "node.pub")
    connection = connect()
    connection.open()
    app.send(node, "query.shell", b"question")
    with pytest.raises(PeerError, match=r"of type 'query\.shell'"):
        connection.pull()
    assert connection.pull() is None


def test_a_superlink_that_restarts_is_found_again_and_takes_the_answer(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    make_key(tmp_path)
    with SuperLink(tmp_path_factory.mktemp("restarted")) as link:
        node = link.enrol(tmp_path / "node.pub")
        connection = FleetConnection(
            link.url,
            read_key(tmp_path / "node.key"),
            ca=link.ca,
            elements=1000,
            node_file=tmp_path / "node.id",
            rng=Random(1),
        )
        connection.open()
        app = ServerApp(link)
        name = app.send(node, "train", b"question")
        delivery = pulled(connection)
        connection.confirm()
        link.stop()
        with pytest.raises(UnreachableError, match="cannot be reached"):
            connection.reply(delivery.flower, b"answer", VECTOR)
        link.start()
        assert connection.reply(delivery.flower, b"answer", VECTOR) == "sent"
        assert app.receive(name).content["headwater"] == ConfigRecord({"fields": b"answer"})
        app.close()

        link.stop()
        for file in link.folder.glob("superlink.db*"):
            file.unlink()
        link.start()
        with pytest.raises(PeerError, match="is not enrolled"):
            connection.pull()
        link.enrol(tmp_path / "node.pub")
        assert connection.pull() is None
        connection.close()


def test_code_is_never_asked_for(
    link: SuperLink, connect: Connect, app: ServerApp, tmp_path: Path
) -> None:
    node = link.enrol(tmp_path / "node.pub")
    connection = connect()
    asked: list[str] = []

    def record(request: httpx.Request) -> None:
        asked.append(request.url.path.removeprefix("/v1/fleet/"))

    connection._node.api._client.event_hooks["request"].append(record)
    connection.open()
    app.send(node, "query.release", b"question", VECTOR)
    delivery = pulled(connection)
    connection.confirm()
    connection.reply(delivery.flower, b"answer", VECTOR)
    connection.close()
    assert set(asked) == USED - {"send-node-heartbeat"}
