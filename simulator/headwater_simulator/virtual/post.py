"""The post: messages between devices and the coordinator, which looks at what came twice a second.

Nothing but the coordinator's looks happens because a message came. So what devices send is put on
its way all at once, when the coordinator looks next; what becomes of it is drawn in the order in
which it was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import cast

from headwater import wire
from headwater_coordinator import events as e
from headwater_simulator.virtual.agenda import Agenda
from headwater_simulator.virtual.coordinator import Asked, VirtualCoordinator
from headwater_simulator.virtual.due import Due
from headwater_simulator.virtual.member import Delivery, Member
from headwater_simulator.virtual.network import Network

POLL_MS = 500
"""How often the coordinator looks at what came and what is due, as the server does."""

Answer = e.Replied | Callable[[], e.Replied]
"""What a device sends, or returns it as soon as it is sent."""

_Arriving = tuple[int, bool, int, e.Event]
"""When an event comes, whether it is a device's answer, and which one it is of all."""


class Post:
    """Carries messages and lets the coordinator look at them.

    Parameters
    ----------
    agenda, network
        Of the run.
    coordinator
        Is fed what comes.
    members
        By their names.
    packed_bytes
        Of the arrays that a task brings.
    ahead
        Called with what devices will have, before; returns of it what is to be delivered still.
    deliver
        Called with what a device is to have, when its moment is there.

    Attributes
    ----------
    coming
        The tasks to train that are on their way.
    """

    def __init__(
        self,
        agenda: Agenda,
        network: Network,
        coordinator: VirtualCoordinator,
        members: Mapping[str, Member],
        *,
        packed_bytes: int,
        ahead: Callable[[Sequence[Delivery]], Sequence[Delivery]],
        deliver: Callable[[Delivery], None],
    ) -> None:
        self._agenda, self._network = agenda, network
        self._coordinator, self._members = coordinator, members
        self._packed_bytes = packed_bytes
        self._ahead, self._deliver = ahead, deliver
        self.coming: dict[Delivery, wire.Train] = {}
        self._leaving = Due[tuple[int, int, Member, Answer]]()
        self._arriving = Due[_Arriving]()
        self._count = 0
        self._look_ms: int | None = None

    # To the coordinator

    def tell(self, event: e.Event) -> None:
        """Let the coordinator take an event when it looks next, before what was sent."""
        self._count += 1
        self._arriving.add((self._agenda.now, False, self._count, event))
        self._plan_look(self._agenda.now)

    def send(self, member: Member, replied: e.Replied) -> None:
        """Send an answer of a device that is connected."""
        self.will_send(self._agenda.now, member, replied)

    def will_send(self, time: int, member: Member, answer: Answer) -> None:
        """Send an answer of a device, at a moment at which it is connected."""
        self._count += 1
        self._leaving.add((time, self._count, member, answer))
        if self._look_ms is None or time <= self._look_ms - POLL_MS:
            self._plan_look(time)

    def settle(self, now: int) -> None:
        """Put on its way what was sent by a moment."""
        leaving = self._leaving.take(now)
        if not leaving:
            return
        replies = [
            answer if isinstance(answer, e.Replied) else answer() for _, _, _, answer in leaving
        ]
        links = [member.group.link for _, _, member, _ in leaving]
        fates = self._network.up(links, [replied.size for replied in replies])
        for (sent, _, member, _), replied, some in zip(leaving, replies, fates, strict=True):
            log, size = member.log, replied.size
            log.up += size
            if not some and type(replied.reply) is wire.Update:
                log.lost += 1
            for delay, held in some:
                at = sent + delay
                if not held:
                    at = member.sent_ms = max(at, member.sent_ms)
                self._count += 1
                self._arriving.add((at, True, self._count, replied))

    def _plan_look(self, time: int) -> None:
        """Let the coordinator look at a moment, or as soon after it as it does."""
        time = -(-time // POLL_MS) * POLL_MS
        if self._look_ms is None or time < self._look_ms:
            self._look_ms = time
            self._agenda.last_at(time, partial(self._look, time))

    def _look(self, planned: int) -> None:
        """Let the coordinator look at what came, and do what is due."""
        if self._look_ms != planned:
            return
        self._look_ms = None
        now, due = self._agenda.now, self._coordinator.due_ms
        self.settle(now)
        came = self._arriving.take(now)
        for next_ms in (self._arriving.next_ms, self._leaving.next_ms):
            if next_ms is not None:
                self._plan_look(next_ms)
        if came or (due is not None and due <= now):
            self._ask(self._coordinator.feed([*_in_columns(came), e.Ticked()], now))
            due = self._coordinator.due_ms
        if due is not None and not self._agenda.over:
            self._plan_look(max(due, now + 1))

    # To the devices

    def _ask(self, asked: Sequence[Asked]) -> None:
        """Send tasks; a device has them when it looks for them, in their order."""
        now, members = self._agenda.now, [self._members[ask.node] for ask, _ in asked]
        sizes = list(self._sizes(asked))
        links = [member.group.link for member in members]
        fates = self._network.down(links, sizes)
        coming: list[Delivery] = []
        for member, size, (ask, arrays), some in zip(members, sizes, asked, fates, strict=True):
            member.log.down += size
            looks, void = member.looks(now), now + ask.ttl_ms
            for delay, held in some:
                at = looks + delay
                if not held:
                    at = member.last_ms = max(at, member.last_ms)
                if at <= void:
                    coming.append(Delivery(member, ask, arrays, at, void))
        for delivery in self._ahead(coming):
            delivery.member.coming.append(delivery)
            if isinstance(delivery.ask.task, wire.Train):
                self.coming[delivery] = delivery.ask.task
            self._agenda.at(delivery.at_ms, partial(self._arrived, delivery))

    def _sizes(self, asked: Sequence[Asked]) -> Iterator[int]:
        """Yield the bytes of each task with its arrays.

        One that many are given is encoded once. Those to train in a round differ in their names
        alone, which are equally long.
        """
        last: wire.Task | None = None
        size = 0
        for ask, arrays in asked:
            task = ask.task
            if type(task) is wire.Train:
                if type(last) is not wire.Train or last.round != task.round:
                    size = len(wire.encode(task))
            elif task is not last:
                size = len(wire.encode(task))
            last = task
            yield size if arrays is None else size + self._packed_bytes

    def _arrived(self, delivery: Delivery) -> None:
        delivery.member.coming.remove(delivery)
        self.coming.pop(delivery, None)
        self._deliver(delivery)


def _in_columns(came: Sequence[_Arriving]) -> Iterator[e.Event]:
    """Yield what came in its order, answers that came one after the other as one event."""
    for answered, some in groupby(came, itemgetter(1)):
        events = [event for _, _, _, event in some]
        if answered:
            yield e.Answered(cast("list[e.Replied]", events))
        else:
            yield from events
