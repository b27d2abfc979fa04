from __future__ import annotations

import random
import select
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import islice, repeat

import pytest
from iotcore import Broker as IotcoreBroker

from headwater_agent.broker_settings import Broker
from headwater_agent.mqtt import MqttTransport
from headwater_agent.transport import (
    MemoryBroker,
    MemoryTransport,
    Message,
    Session,
    Status,
    Transport,
    Waker,
    backoff,
)
from tests.conftest import free_port

PATIENCE_S = 20.0


class Client:
    """A transport with an inbox, which can wait until the broker has seen all it sent."""

    def __init__(self, transport: Transport, marker: str) -> None:
        self.transport = transport
        self._marker = marker
        self._inbox: list[Message] = []

    def sync(self) -> None:
        """Return when a message to ourselves has made the round: all before it was handled."""
        mark = uuid.uuid4().hex.encode()
        self.transport.publish(self._marker, mark, qos=1, retain=False)
        self._poll_until(lambda found: any(m.payload == mark for m in found))

    def send(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        self.transport.publish(topic, payload, qos=qos, retain=retain)
        self.sync()

    def receive(self, count: int) -> list[Message]:
        """Return the next messages."""
        self._poll_until(lambda _: len(self._inbox) >= count)
        found, self._inbox = self._inbox[:count], self._inbox[count:]
        return found

    def payloads(self, count: int) -> list[bytes]:
        return [message.payload for message in self.receive(count)]

    def delivered(self, last: int) -> list[int]:
        """Return the tokens that come back up to one."""
        found: list[int] = []

        def there(_: list[Message]) -> bool:
            found.extend(self.transport.delivered())
            return last in found

        self._poll_until(there)
        return found

    def _poll_until(self, done: Callable[[list[Message]], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        marks: list[Message] = []
        while not done(marks):
            assert time.monotonic() < deadline, [(m.topic, m.payload) for m in self._inbox]
            for message in self.transport.poll(0.02):
                if message.topic == self._marker:
                    marks.append(message)
                    self.transport.acknowledge([message.receipt])
                else:
                    self._inbox.append(message)


class World:
    """A broker with clients of one kind; topics are under a prefix of the test's own."""

    def __init__(
        self,
        join: Callable[[Session], Transport],
        admit: Callable[[Session], MqttTransport] | None = None,
    ) -> None:
        self._join = join
        self._admit = admit
        self._prefix = uuid.uuid4().hex[:8]
        self._joined: list[Transport] = []

    def topic(self, rest: str) -> str:
        return f"{self._prefix}/{rest}"

    def client(
        self, name: str, *filters: str, qos: int = 1, status: bool = False, persistent: bool = True
    ) -> Client:
        """Return a client whose subscriptions hold."""
        self._fill_gaps()
        marker = self.topic(f"{name}/marker")
        transport = self._join(
            Session(
                client_id=f"{self._prefix}-{name}",
                subscriptions=((marker, 1), *((self.topic(f), qos) for f in filters)),
                status=Status(self.topic(f"{name}/status"), b"on", b"off") if status else None,
                persistent=persistent,
            )
        )
        self._joined.append(transport)
        client = Client(transport, marker)
        client.sync()
        return client

    def close(self) -> None:
        for transport in self._joined:
            transport.close()

    def _fill_gaps(self) -> None:
        """Let a stranger take the place of a client that has just left.

        rumqttd numbers its connections; it may end a new one for the late end of an old one of
        the same number. Once a stranger holds the number, nothing happens to who comes next.
        """
        while self._admit is not None:
            name = uuid.uuid4().hex
            stranger = self._admit(
                Session(client_id=name, subscriptions=((name, 1),), persistent=False)
            )
            self._joined.append(stranger)
            stranger.publish(name, b"", qos=1, retain=False)
            while not stranger.trouble:
                if stranger.poll(0.02):
                    return


IOTCORE = """
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 8
"""
IOTCORE_LISTENER = """
[{name}]
name = "{name}"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[{name}.connections]
connection_timeout_ms = 10000
max_payload_size = 262144
max_inflight_count = 100
"""


@pytest.fixture(scope="module")
def iotcore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The embedded broker, its port by MQTT version."""
    ports = {"5": free_port(), "3.1.1": free_port()}
    listeners = [
        IOTCORE_LISTENER.format(name=name, port=ports[version])
        for name, version in (("v5.1", "5"), ("v4.1", "3.1.1"))
    ]
    settings = tmp_path_factory.mktemp("iotcore") / "broker.toml"
    settings.write_text("".join([IOTCORE, *listeners]))
    with IotcoreBroker(config_path=str(settings)):
        yield ports


@pytest.fixture(params=["memory", "mosquitto-5", "mosquitto-3.1.1", "iotcore-5", "iotcore-3.1.1"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        broker = MemoryBroker()
        made = World(lambda session: MemoryTransport(broker, session))
        yield made
        made.close()
        return
    name, version = request.param.split("-")
    found = request.getfixturevalue(name)
    port = found[version] if isinstance(found, dict) else found
    settings = Broker(url=f"mqtt://127.0.0.1:{port}", version=version)
    waker = Waker()

    def join(session: Session) -> MqttTransport:
        return MqttTransport(settings, session, waker=waker, delays=lambda: repeat(3600.0))

    made = World(join, join if name == "iotcore" else None)
    yield made
    made.close()
    waker.close()


def test_a_message_is_delivered_as_it_was_sent(world: World) -> None:
    listener, sender = world.client("l", "+/in"), world.client("s")
    sender.send(world.topic("a/in"), b"\x00\xffraw")
    (message,) = listener.receive(1)
    assert (message.topic, message.payload) == (world.topic("a/in"), b"\x00\xffraw")
    assert (message.qos, message.retained) == (1, False)
    assert message.receipt > 0


def test_a_message_of_qos_0_has_no_receipt(world: World) -> None:
    listener, sender = world.client("l", "in", qos=0), world.client("s")
    sender.send(world.topic("in"), b"sent with 0", qos=0)
    sender.send(world.topic("in"), b"sent with 1", qos=1)
    assert [(m.qos, m.receipt) for m in listener.receive(2)] == [(0, 0), (0, 0)]


def test_a_batch_is_returned_in_order_and_each_message_has_its_receipt(world: World) -> None:
    listener, sender = world.client("l", "in"), world.client("s")
    sent = [str(n).encode() for n in range(50)]
    for payload in sent:
        sender.transport.publish(world.topic("in"), payload, qos=1, retain=False)
    sender.sync()
    found: list[Message] = []
    while len(found) < len(sent):
        found += listener.receive(1)
        listener.transport.acknowledge([found[-1].receipt])
    assert [message.payload for message in found] == sent
    assert len({message.receipt for message in found}) == 50


def test_a_message_that_was_not_acknowledged_is_delivered_again(world: World) -> None:
    listener, sender = world.client("l", "in"), world.client("s")
    sender.send(world.topic("in"), b"one")
    sender.send(world.topic("in"), b"two")
    first, _ = listener.receive(2)
    listener.transport.acknowledge([first.receipt])
    listener.sync()
    listener.transport.close()
    assert world.client("l", "in").payloads(1) == [b"two"]


def test_a_message_is_safe_only_when_all_before_it_are(world: World) -> None:
    listener, sender = world.client("l", "in"), world.client("s")
    for payload in (b"one", b"two", b"three"):
        sender.send(world.topic("in"), payload)
    one, two, _ = (message.receipt for message in listener.receive(3))
    listener.transport.acknowledge([two])
    listener.transport.acknowledge([one])
    listener.sync()
    listener.transport.close()
    assert world.client("l", "in").payloads(1) == [b"three"]


def test_a_message_that_was_acknowledged_is_not_delivered_again(world: World) -> None:
    listener, sender = world.client("l", "in"), world.client("s")
    sender.send(world.topic("in"), b"one")
    listener.transport.acknowledge(message.receipt for message in listener.receive(1))
    listener.sync()
    listener.transport.close()
    again = world.client("l", "in")
    sender.send(world.topic("in"), b"two")
    assert again.payloads(1) == [b"two"]


def test_a_receipt_of_an_earlier_connection_is_ignored(world: World) -> None:
    listener, sender = world.client("l", "in"), world.client("s")
    sender.send(world.topic("in"), b"one")
    (old,) = listener.receive(1)
    listener.transport.close()
    again = world.client("l", "in")
    again.transport.acknowledge([old.receipt + (7 << 16)])
    again.sync()
    again.transport.close()
    assert world.client("l", "in").payloads(1) == [b"one"]


def test_what_was_acknowledged_last_is_not_delivered_again(world: World) -> None:
    listener, sender = world.client("l", "in"), world.client("s")
    sender.send(world.topic("in"), b"one")
    listener.transport.acknowledge([listener.receive(1)[0].receipt])
    listener.transport.close()
    again = world.client("l", "in")
    sender.send(world.topic("in"), b"two")
    assert again.payloads(1) == [b"two"]


def test_a_token_comes_back_once_when_the_broker_has_the_message(world: World) -> None:
    sender = world.client("s")
    tokens = [
        sender.transport.publish(world.topic("in"), b"%d" % n, qos=1, retain=False)
        for n in range(50)
    ]
    assert all(tokens)
    found = sender.delivered(tokens[-1])
    sender.sync()
    found += sender.transport.delivered()
    assert [token for token in found if token in tokens] == tokens


@pytest.mark.parametrize("qos", [0, 1])
def test_messages_that_are_published_together_come_in_order(world: World, qos: int) -> None:
    listener, sender = world.client("l", "in", qos=0), world.client("s")
    sent = [b"%d" % n for n in range(50)]
    messages = [(world.topic("in"), payload) for payload in sent]
    tokens = list(sender.transport.publish_all(messages, qos=qos, retain=False))
    assert len(tokens) == len(set(tokens)) == 50 if qos else tokens == [0] * 50
    sender.sync()
    assert listener.payloads(50) == sent
    assert not sender.transport.publish_all([], qos=qos, retain=False)


def test_a_message_of_qos_0_has_no_token(world: World) -> None:
    sender = world.client("s")
    assert sender.transport.publish(world.topic("in"), b"x", qos=0, retain=False) == 0


def test_what_was_flushed_needs_no_poll(world: World) -> None:
    listener, sender = world.client("l", "in"), world.client("s")
    sender.transport.publish(world.topic("in"), b"x", qos=1, retain=False)
    sender.transport.flush()
    assert listener.payloads(1) == [b"x"]


def test_what_was_published_while_away_is_delivered_on_return(world: World) -> None:
    world.client("l", "in").transport.close()
    world.client("s").send(world.topic("in"), b"missed")
    assert world.client("l", "in").payloads(1) == [b"missed"]


def test_without_a_persistent_session_nothing_waits(world: World) -> None:
    world.client("l", "in", persistent=False).transport.close()
    sender = world.client("s")
    sender.send(world.topic("in"), b"missed")
    again = world.client("l", "in", persistent=False)
    sender.send(world.topic("in"), b"seen")
    assert again.payloads(1) == [b"seen"]


def test_a_client_knows_whether_the_broker_knew_its_session(world: World) -> None:
    first = world.client("l", "in")
    assert not first.transport.resumed
    first.transport.close()
    assert world.client("l", "in").transport.resumed
    assert not world.client("x", "in", persistent=False).transport.resumed


def test_a_retained_message_says_so_and_a_live_one_does_not(world: World) -> None:
    sender = world.client("s")
    sender.send(world.topic("in"), b"old", retain=True)
    listener = world.client("l", "in")
    found = listener.receive(1)
    sender.send(world.topic("in"), b"new", retain=True)
    found += listener.receive(1)
    assert [(m.payload, m.retained) for m in found] == [(b"old", True), (b"new", False)]


def test_the_status_is_online_while_connected_and_offline_after(world: World) -> None:
    watcher = world.client("w", "+/status")
    device = world.client("d", status=True)
    assert watcher.payloads(1) == [b"on"]
    device.transport.close()
    assert watcher.payloads(1) == [b"off"]


def test_a_client_without_a_matching_subscription_hears_nothing(world: World) -> None:
    other, sender = world.client("o", "elsewhere"), world.client("s")
    sender.send(world.topic("in"), b"x")
    other.sync()
    sender.send(world.topic("elsewhere"), b"y")
    assert other.payloads(1) == [b"y"]


def test_closing_twice_is_fine(world: World) -> None:
    client = world.client("c")
    client.transport.close()
    client.transport.close()


def test_a_memory_client_that_vanishes_leaves_its_will_and_comes_back() -> None:
    broker = MemoryBroker()
    device = MemoryTransport(broker, Session(client_id="d", status=Status("st", b"on", b"off")))
    watcher = MemoryTransport(broker, Session(client_id="w", subscriptions=(("st", 1),)))
    watcher.poll(0)
    device.poll(0)
    device.sever()
    device.poll(0)
    assert [m.payload for m in watcher.poll(0)] == [b"on", b"off", b"on"]


def test_a_wake_up_ends_the_wait_of_another_thread() -> None:
    waker = Waker()
    thread = threading.Thread(target=waker.wait, args=(3600,), daemon=True)
    thread.start()
    waker.wake()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    waker.close()


def test_a_wake_up_before_the_wait_is_not_lost_and_many_count_once() -> None:
    waker = Waker()
    for _ in range(100_000):
        waker.wake()
    waker.wait(3600)
    waker.clear()
    waker.close()


def test_a_wake_up_ends_one_wait_and_no_further_one() -> None:
    waker = Waker()
    waker.wake()
    waker.wait(3600)
    assert select.select([waker], [], [], 0)[0] == []
    waker.close()


def test_the_waits_double_up_to_a_bound_with_full_jitter() -> None:
    delays = list(islice(backoff(random.Random(1), first=1.0, longest=8.0), 2000))
    ceilings = [min(8.0, 2.0 ** min(n, 3)) for n in range(2000)]
    assert all(0 <= delay <= most for delay, most in zip(delays, ceilings, strict=True))
    assert max(delays[4:]) > 7.9
    assert min(delays[4:]) < 0.1


def test_two_devices_do_not_come_back_at_one_moment() -> None:
    one, other = (list(islice(backoff(random.Random(seed)), 5)) for seed in (1, 2))
    assert one != other


def test_a_waker_that_is_closed_or_full_wakes_nobody_and_raises_nothing() -> None:
    """A signal may come at any time."""
    waker = Waker()
    for _ in range(100_000):
        waker.wake()
    waker.close()
    waker.wake()
