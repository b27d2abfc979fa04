"""What is sent comes in its order, and the coordinator looks at it twice a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest

from headwater import wire
from headwater.settings import Duration
from headwater_coordinator import events as e
from headwater_simulator.scenario.settings import Group, Link
from headwater_simulator.virtual.agenda import Agenda
from headwater_simulator.virtual.coordinator import Asked, VirtualCoordinator
from headwater_simulator.virtual.holder import Holder
from headwater_simulator.virtual.member import Delivery, Member
from headwater_simulator.virtual.network import Network
from headwater_simulator.virtual.post import POLL_MS, Post

HASH = "0" * 64


class Listening:
    """A coordinator that notes what it is fed when, and asks what a test says."""

    due_ms: int | None = None

    def __init__(self) -> None:
        self.heard: list[tuple[int, str]] = []
        self.asks: list[e.Ask] = []

    def feed(self, events: Sequence[e.Event], now: int) -> list[Asked]:
        for one in events:
            if isinstance(one, e.Answered):
                self.heard += [(now, reply.ask) for reply in one.replies]
            else:
                self.heard.append((now, type(one).__name__))
        asks, self.asks = self.asks, []
        return [(ask, None) for ask in asks]


class Scene:
    """Two devices, and a post that notes what it delivers when."""

    def __init__(self, **link: object) -> None:
        fields = {"latency": Duration(40), "jitter": 0.0, "poll": Duration(0)} | link
        group = Group(name="all", devices=2, link=Link(**fields))  # type: ignore[arg-type]
        self.members = [member(name, group) for name in ("all-00000", "all-00001")]
        self.agenda = Agenda()
        self.coordinator = Listening()
        self.delivered: list[tuple[int, str]] = []
        self.post = Post(
            self.agenda,
            Network(np.random.default_rng(1)),
            cast("VirtualCoordinator", self.coordinator),
            {one.name: one for one in self.members},
            packed_bytes=100,
            ahead=self.ahead,
            deliver=self.deliver,
        )

    def ahead(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        return deliveries

    def deliver(self, delivery: Delivery) -> None:
        self.delivered.append((self.agenda.now, delivery.ask.ask))

    def sends(self, time: int, name: str, place: int = 0) -> None:
        said = wire.Received(device="d", version=HASH, accepted=True)
        reply = e.Replied(name, said, size=10)
        self.agenda.at(time, lambda: self.post.send(self.members[place], reply))

    def run(self) -> list[tuple[int, str]]:
        while self.agenda.go_on(1_000_000):
            pass
        return self.coordinator.heard


def member(name: str, group: Group) -> Member:
    return Member(
        number=0, name=name, group=group, device=cast("Holder", None), speed=1.0, skew=0, phase=0.5
    )


def test_what_comes_until_a_look_is_taken_in_its_order_and_then_it_ticks() -> None:
    scene = Scene()
    scene.sends(300, "second")
    scene.sends(100, "first", 1)
    scene.sends(470, "later")

    assert scene.run() == [
        (POLL_MS, "first"),
        (POLL_MS, "second"),
        (POLL_MS, "Ticked"),
        (2 * POLL_MS, "later"),
        (2 * POLL_MS, "Ticked"),
    ]


def test_who_comes_is_seen_before_what_comes_at_the_same_moment() -> None:
    scene = Scene(latency=Duration(0))
    scene.sends(POLL_MS, "said")
    scene.agenda.at(POLL_MS, lambda: scene.post.tell(e.Appeared(frozenset())))

    assert scene.run() == [(POLL_MS, "Appeared"), (POLL_MS, "said"), (POLL_MS, "Ticked")]


def test_nothing_is_looked_at_where_nothing_came_and_nothing_is_due() -> None:
    scene = Scene(latency=Duration(700))
    scene.sends(10, "slow")

    assert scene.run() == [(2 * POLL_MS, "slow"), (2 * POLL_MS, "Ticked")]


def test_what_one_device_sends_stays_in_its_order() -> None:
    scene = Scene(jitter=2.0)
    for number in range(30):
        scene.sends(10 * number, str(number), number % 2)

    told = [int(name) for _, name in scene.run() if name != "Ticked"]

    for place in (0, 1):
        own = [number for number in told if number % 2 == place]
        assert own == sorted(own)
    assert told != sorted(told)


def test_what_will_be_sent_is_made_and_leaves_when_its_moment_is_there() -> None:
    scene = Scene()
    made: list[int] = []

    def answer() -> e.Replied:
        made.append(scene.agenda.now)
        return e.Replied("foreseen", wire.Received(device="d", version=HASH, accepted=True))

    scene.agenda.at(10, lambda: scene.post.will_send(1_200, scene.members[0], answer))
    scene.agenda.at(11, lambda: scene.post.will_send(5_000_000, scene.members[0], answer))
    scene.sends(20, "now")

    assert scene.run() == [
        (POLL_MS, "now"),
        (POLL_MS, "Ticked"),
        (3 * POLL_MS, "foreseen"),
        (3 * POLL_MS, "Ticked"),
    ]
    assert made == [3 * POLL_MS]


def test_bytes_and_lost_updates_are_counted_by_device() -> None:
    scene = Scene(loss=1.0)
    update = wire.Update(
        task=HASH, device="d", model=HASH, base=HASH, sequence=1, examples=1,
        loss_before=1.0, loss_after=1.0, data_until_ms=0,
    )  # fmt: skip
    replied = e.Replied("it", update, size=70)
    scene.agenda.at(1, lambda: scene.post.send(scene.members[1], replied))

    assert scene.run() == []
    log = scene.members[1].log
    assert (log.up, log.lost) == (70, 1)


@pytest.mark.parametrize("train", [False, True])
def test_a_task_is_on_its_way_until_it_is_delivered(train: bool) -> None:
    scene = Scene()
    task = wire.Train(task=HASH, model=HASH, base=HASH, round=1) if train else wire.CheckIn()
    scene.coordinator.asks = [e.Ask("it", "all-00000", task, None, 10_000)]
    scene.sends(0, "first")
    scene.agenda.at(POLL_MS + 1, lambda: on_the_way.extend(scene.post.coming))
    on_the_way: list[Delivery] = []

    scene.run()

    assert scene.delivered == [(POLL_MS + 40, "it")]
    assert [one.ask.ask for one in on_the_way] == (["it"] if train else [])
    assert not scene.post.coming
    assert not scene.members[0].coming


def test_every_task_counts_with_the_bytes_that_it_has() -> None:
    scene = Scene()
    release = wire.Release(model=HASH, version=HASH, statement="signed")
    tasks: list[wire.Task] = [
        *(wire.Train(task=c * 64, model=HASH, base=HASH, round=9) for c in "abc"),
        *(release, release, wire.CheckIn()),
        *(wire.Train(task=c * 64, model=HASH, base=HASH, round=10) for c in "def"),
        wire.CheckIn(poll_ms=12_345),
    ]
    scene.coordinator.asks = [
        e.Ask(str(place), scene.members[place % 2].name, task, None, 10**6)
        for place, task in enumerate(tasks)
    ]
    scene.sends(0, "awake")

    scene.run()

    sizes = [len(wire.encode(task)) for task in tasks]
    assert [one.log.down for one in scene.members] == [sum(sizes[::2]), sum(sizes[1::2])]


def test_what_would_come_too_late_is_not_delivered() -> None:
    scene = Scene()
    scene.coordinator.asks = [e.Ask("it", "all-00000", wire.CheckIn(), None, 39)]
    scene.sends(0, "first")

    scene.run()

    assert scene.delivered == []
