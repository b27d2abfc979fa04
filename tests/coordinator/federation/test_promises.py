"""What the core promises under both disciplines, whatever comes, in whatever order, or never.

Devices answer, repeat themselves, lie, fall silent, come and go; messages are lost, doubled and
reordered; the process is killed and begins again from its books. The books here are a model of the
database: what the effects said, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headwater import wire
from headwater.settings import Duration
from headwater_coordinator import events as e
from headwater_coordinator.federation import Federation, Training
from headwater_coordinator.settings import Buffered, Gate, Rounds, Settings
from headwater_coordinator.state import Device, Pending, State, Version
from headwater_models.arrays import packed_size
from tests.models.bundles import tiny

BUNDLE = tiny()
FIRST = Version(BUNDLE.version_id, 1, "", "")
NODES = tuple("abcdef")
WHICH = st.integers(0, 10_000)
WAITS = st.sampled_from([0, 0, 500, 5_000, 70_000])
Key = tuple[str, int]


@dataclass
class Books:
    """What the database would know."""

    release: Version = FIRST
    candidate: Version | None = None
    pending: dict[str, Pending] = field(default_factory=dict)
    superseded: set[Key] = field(default_factory=set)
    merged: dict[Key, str] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=lambda: {FIRST.name: 1})
    released: list[int] = field(default_factory=lambda: [1])
    names: dict[str, str] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    round: int = 0

    def restore(self) -> State:
        devices = {node: Device(node, taken=taken) for node, taken in self.taken.items()}
        for node, name in self.names.items():
            devices.setdefault(node, Device(node)).name = name
        return State(
            release=self.release,
            candidate=self.candidate,
            devices=devices,
            pending=dict(self.pending),
            sequences=dict(self.sequences),
            round=self.round,
        )


class Promises(RuleBasedStateMachine):
    """One federation, its books, and devices."""

    discipline: Rounds | Buffered

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.now = 1_000_000
        self.online: frozenset[str] = frozenset()
        self.out: list[e.Ask] = []
        self.open: dict[str, e.Ask] = {}
        self.said: list[e.Event] = []
        self.accepted: set[Key] = set()
        self.effects = 0
        self.begin()

    def begin(self) -> None:
        how = Settings(federation=self.discipline, gate=Gate(deadline=Duration(60_000)))
        training = Training(model=BUNDLE.model_id, epochs=1, batch=8, learning_rate=0.1)
        rng = np.random.default_rng(self.now)
        self.core = Federation(self.books.restore(), training, BUNDLE.manifest, how, rng)
        self.open = {}

    def feed(self, event: e.Event) -> None:
        events = [event]
        if isinstance(event, e.Replied | e.Failed):
            self.open.pop(event.ask, None)
        while events:
            for effect in self.core.feed(events.pop(0), self.now):
                self.effects += 1
                events += self.carry_out(effect)
                self.no_more_train_than_may()

    def carry_out(self, effect: e.Effect) -> list[e.Event]:
        books = self.books
        match effect:
            case e.Ask(ask, node):
                assert ask not in self.open
                assert node in self.online
                self.open[ask] = effect
                self.out.append(effect)
            case e.Forget(ask):
                assert ask in self.open
                del self.open[ask]
            case e.Accept():
                self.accept(effect)
            case e.Note(device) if device.name:
                books.names[device.node] = device.name
            case e.Open(number):
                assert number == books.round + 1
                books.round = number
            case e.Merge():
                return [self.merge(effect)]
            case e.Release(candidate):
                self.release(candidate)
                return [e.Released(candidate, {})]
            case e.Rollback(version):
                self.roll_back(version)
                return [e.Released(books.release, {})]
            case e.Reject(candidate):
                assert candidate == books.candidate
                books.candidate = None
        return []

    def accept(self, effect: e.Accept) -> None:
        books, pending = self.books, effect.pending
        key = (pending.node, pending.sequence)
        assert key not in self.accepted, "nothing is accepted twice"
        assert pending.sequence > books.taken.get(pending.node, 0)
        self.accepted.add(key)
        before = books.pending.get(pending.node)
        if before is not None:
            books.superseded.add((before.node, before.sequence))
        books.pending[pending.node] = pending
        books.taken[pending.node] = pending.sequence

    def release(self, candidate: Version) -> None:
        books = self.books
        assert candidate == books.candidate
        assert candidate.sequence == books.release.sequence + 1
        assert candidate.parent == books.release.name
        books.release, books.candidate = candidate, None
        books.sequences[candidate.name] = candidate.sequence
        books.released.append(candidate.sequence)

    def roll_back(self, name: str) -> None:
        books = self.books
        assert books.candidate is None
        assert name != books.release.name
        assert name in books.sequences
        sequence = books.release.sequence + 1
        books.release = Version(name, sequence, books.release.parent, "")
        books.sequences[name] = sequence
        books.released.append(sequence)

    def merge(self, effect: e.Merge) -> e.Merged:
        books = self.books
        assert books.candidate is None, "one candidate at a time"
        assert effect.base == books.release
        assert len({update.node for update in effect.updates}) >= self.discipline.min_devices
        content = repr((effect.round, effect.base, effect.updates)).encode()
        name = sha256(content).hexdigest()
        for update in effect.updates:
            assert books.pending.pop(update.node) == update
            key = (update.node, update.sequence)
            assert key not in books.merged, "nothing is merged twice"
            books.merged[key] = name
        books.candidate = Version(name, effect.base.sequence + 1, effect.base.name, "")
        return e.Merged(books.candidate)

    # What devices do

    def answer(self, which: int, kind: type[wire.Task]) -> e.Ask | None:
        asks = [ask for ask in self.out if isinstance(ask.task, kind)]
        if not asks:
            return None
        ask = asks[which % len(asks)]
        self.out.remove(ask)
        return ask

    def say(self, event: e.Event) -> None:
        self.said.append(event)
        self.feed(event)

    @rule(nodes=st.sets(st.sampled_from(NODES)))
    def are_online(self, nodes: set[str]) -> None:
        before, self.online = self.online, frozenset(nodes)
        self.feed(e.Vanished(before - self.online))
        self.feed(e.Appeared(self.online - before))

    @rule(wait=WAITS)
    def time_passes(self, wait: int) -> None:
        """Between a tick and the moment that the core names, another tick does nothing."""
        self.feed(e.Ticked())
        due, self.now = self.core.due_ms, self.now + wait
        done = self.effects
        self.feed(e.Ticked())
        assert self.effects == done or (due is not None and due <= self.now)

    @rule(which=WHICH)
    def checks_in(self, which: int) -> None:
        ask = self.answer(which, wire.CheckIn)
        if ask is not None:
            reply = wire.CheckedIn(
                device=ask.node, model=BUNDLE.model_id, version=FIRST.name, sequence=1
            )
            self.say(e.Replied(ask.ask, reply))

    @rule(which=WHICH, accepted=st.booleans())
    def takes_the_release(self, which: int, accepted: bool) -> None:
        ask = self.answer(which, wire.Release)
        if ask is not None:
            assert isinstance(ask.task, wire.Release)
            reply = wire.Received(device=ask.node, version=ask.task.version, accepted=accepted)
            self.say(e.Replied(ask.ask, reply))

    @rule(which=WHICH, sequence=st.integers(1, 12), sound=st.sampled_from([True, True, False]))
    def trains(self, which: int, sequence: int, sound: bool) -> None:
        ask = self.answer(which, wire.Train)
        if ask is not None:
            task = ask.task
            assert isinstance(task, wire.Train)
            update = wire.Update(
                task=task.task,
                device=ask.node,
                model=task.model,
                base=task.base,
                sequence=sequence,
                examples=50,
                loss_before=1.0,
                loss_after=0.5,
                data_until_ms=0,
            )
            value = 0.5 if sound else np.nan
            vector = np.full(packed_size(BUNDLE.manifest), value, np.float32)
            self.say(e.Replied(ask.ask, update, vector))

    @rule(which=WHICH, difference=st.sampled_from([-0.1, 0.1]))
    def judges(self, which: int, difference: float) -> None:
        ask = self.answer(which, wire.Evaluate)
        if ask is not None:
            task = ask.task
            assert isinstance(task, wire.Evaluate)
            reply = wire.Evaluated(
                task=task.task,
                device=ask.node,
                candidate=task.candidate,
                release=task.release,
                rows=20,
                loss_candidate=1 + difference,
                loss_release=1.0,
                loss_baseline=2.0,
                difference_mean=difference,
                difference_m2=0.1,
            )
            self.say(e.Replied(ask.ask, reply))

    @rule(which=WHICH, kind=st.sampled_from([wire.Train, wire.Evaluate]))
    def declines(self, which: int, kind: type[wire.Train | wire.Evaluate]) -> None:
        ask = self.answer(which, kind)
        if ask is not None:
            assert isinstance(ask.task, wire.Train | wire.Evaluate)
            reply = wire.Declined(device=ask.node, task=ask.task.task, reason="unknown-base")
            self.say(e.Replied(ask.ask, reply))

    @rule(which=WHICH, lost=st.booleans())
    def fails(self, which: int, lost: bool) -> None:
        if self.out:
            ask = self.out.pop(which % len(self.out))
            self.say(e.Failed(ask.ask, "gone", "lost" if lost else "unreadable"))

    @precondition(lambda self: bool(self.out))
    @rule(which=WHICH)
    def falls_silent(self, which: int) -> None:
        self.out.pop(which % len(self.out))

    @precondition(lambda self: bool(self.said))
    @rule(which=WHICH)
    def repeats(self, which: int) -> None:
        self.feed(self.said[which % len(self.said)])

    @rule(steps=st.integers(1, 60), which=WHICH)
    def goes_well(self, steps: int, which: int) -> None:
        """Everyone answers for a while, so that trouble meets many releases too."""
        self.are_online(set(NODES))
        for step in range(steps):
            self.checks_in(0)
            self.takes_the_release(0, accepted=True)
            self.trains(which + step, 1 + max(self.books.taken.values(), default=0), sound=True)
            self.judges(0, -0.1)
            self.time_passes(1_500)

    @rule(passed=st.booleans(), meant=st.booleans())
    def owner_decides(self, passed: bool, meant: bool) -> None:
        """About the open candidate, or one that is open no more."""
        open_ = self.books.candidate
        version = open_.name if open_ is not None and meant else FIRST.name
        before = self.books.release
        self.feed(e.CandidateDecided(version, passed, "I say so"))
        if open_ is not None and meant:
            assert (open_.sequence == self.books.release.sequence) == passed
        else:
            assert self.books.release == before

    @rule(which=WHICH)
    def owner_rolls_back(self, which: int) -> None:
        """To a release; to the one that is there does nothing."""
        names = sorted(self.books.sequences)
        name, before = names[which % len(names)], self.books.release
        self.feed(e.RollbackAsked(name, "I say so"))
        assert self.books.release.name == name
        assert self.books.release.sequence == before.sequence + (name != before.name)

    @rule()
    def is_killed(self) -> None:
        self.online = frozenset()
        self.begin()

    # What holds

    def no_more_train_than_may(self) -> None:
        if isinstance(self.discipline, Buffered):
            training = [ask for ask in self.open.values() if isinstance(ask.task, wire.Train)]
            assert len(training) <= self.discipline.concurrency
            assert len({ask.node for ask in training}) == len(training)

    @invariant()
    def every_accepted_update_is_in_one_place(self) -> None:
        books = self.books
        pending = {(one.node, one.sequence) for one in books.pending.values()}
        places = [pending, books.superseded, set(books.merged)]
        assert set.union(*places) == self.accepted
        assert sum(map(len, places)) == len(self.accepted)

    @invariant()
    def the_core_knows_what_its_books_say(self) -> None:
        state, books = self.core.state, self.books
        assert state.pending == books.pending
        assert (state.release, state.candidate) == (books.release, books.candidate)

    @invariant()
    def sequences_only_grow(self) -> None:
        assert self.books.released == list(range(1, self.books.release.sequence + 1))
        assert self.core.state.sequences == self.books.sequences


class PromisesOfRounds(Promises):
    discipline = Rounds(
        min_devices=2,
        max_devices=3,
        over_selection=1.5,
        deadline=Duration(60_000),
        pause=Duration(1_000),
        message_ttl=Duration(120_000),
    )


class PromisesOfBuffers(Promises):
    discipline = Buffered(
        min_devices=2, buffer=3, concurrency=4, deadline=Duration(60_000), selection="fair"
    )


class PromisesOfOne(Promises):
    discipline = Buffered(
        min_devices=1, buffer=1, concurrency=2, deadline=Duration(60_000), selection="guided"
    )


OFTEN = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestRounds = PromisesOfRounds.TestCase
TestRounds.settings = OFTEN
TestBuffered = PromisesOfBuffers.TestCase
TestBuffered.settings = OFTEN
TestFedAsync = PromisesOfOne.TestCase
TestFedAsync.settings = OFTEN
