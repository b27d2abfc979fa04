"""The coordinator in memory: its books balance, and every strategy runs on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater import wire
from headwater.settings import Duration
from headwater_coordinator import events as e
from headwater_coordinator.settings import Buffered, Gate, Rounds, Settings, Updates
from headwater_coordinator.strategies import choose
from headwater_coordinator.strategies.table import TABLE
from headwater_models.arrays import Arrays, pack
from headwater_simulator.report.results import Release, Results
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual.chronicle import Chronicle
from headwater_simulator.virtual.coordinator import VirtualCoordinator
from headwater_simulator.virtual.fleet import make_bundle
from headwater_simulator.virtual.member import EPOCH_MS
from tests.simulator.virtual.scenes import MINUTE, ran, tables

SCENE = tables()
BUNDLE = make_bundle(SCENE, open_source(SCENE).facts)
SIZE = len(pack(BUNDLE.manifest, BUNDLE.weights))
PACE: dict[str, Any] = {"check_in": MINUTE, "deadline": MINUTE, "message_ttl": MINUTE}
ROUNDS = Rounds(pause=MINUTE, **PACE)
BUFFERED = Buffered(buffer=3, concurrency=4, **PACE)
NEEDED: dict[str, dict[str, Any]] = {"qfedavg": {"client_learning_rate": 0.05}}
CHOOSABLE = [row.name.lower() for row in TABLE if row.kind is not None]


@dataclass
class Books:
    """A coordinator with what it told, and devices that answer by a script."""

    federation: Rounds | Buffered
    strategy: dict[str, Any] = field(default_factory=lambda: {"name": "fedavg"})
    gate: Gate = field(default_factory=lambda: Gate(tolerance=1.0, deadline=MINUTE))
    update: Updates = field(default_factory=Updates)
    groups: dict[str, str] = field(default_factory=dict)
    now: int = 0
    waiting: list[e.Ask] = field(default_factory=list)
    released: list[tuple[Release, Arrays]] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chronicle = Chronicle()
        self.coordinator = VirtualCoordinator(
            BUNDLE,
            Settings(federation=self.federation, gate=self.gate, update=self.update),
            choose(self.strategy, source="strategy"),
            rng=np.random.default_rng(1),
            chronicle=self.chronicle,
            released=lambda weights: self.released.append((self.chronicle.releases[-1], weights)),
            groups=self.groups,
        )

    def feed(self, event: e.Event) -> None:
        asked = self.coordinator.feed([event], self.now)
        for ask, arrays in asked:
            named = None if ask.arrays is None else self.coordinator.weights(ask.arrays)
            assert arrays is named
        self.waiting += [ask for ask, _ in asked]

    def appear(self, count: int) -> None:
        self.feed(e.Appeared(frozenset(f"one-{n}" for n in range(count))))

    def tick(self, milliseconds: int = 1_000) -> None:
        self.now += milliseconds
        self.feed(e.Ticked())

    def answer(self, ask: e.Ask, *, worse: bool = False, step: float = 0.1) -> None:
        """Let a device answer as it should."""
        self.waiting.remove(ask)
        self.feed(self.answered(ask, worse=worse, step=step))

    def answered(self, ask: e.Ask, *, worse: bool = False, step: float = 0.1) -> e.Replied:
        vector = None
        node, task = ask.node, ask.task
        reply: wire.Reply
        match task:
            case wire.CheckIn():
                release = self.coordinator.release
                reply = wire.CheckedIn(
                    device=node,
                    model=BUNDLE.model_id,
                    version=release.name,
                    sequence=release.sequence,
                    records=100,
                    examples=100,
                )
            case wire.Train():
                self.sent[node] = self.sent.get(node, 0) + 1
                reply = _update(task, node, self.sent[node], self.now)
                rng = np.random.default_rng([self.sent[node], int(node[4:])])
                vector = (step * rng.standard_normal(SIZE)).astype(np.float32)
            case wire.Evaluate():
                reply = _evaluated(task, node, 2.1 if worse else 0.9)
            case wire.Release():
                reply = wire.Received(device=node, version=task.version, accepted=True)
        return e.Replied(ask.ask, reply, vector, size=100)

    def settle(self, turns: int = 40) -> None:
        """Let everybody answer at once for a while."""
        for _ in range(turns):
            for ask in list(self.waiting):
                self.answer(ask)
            self.tick()


def _update(task: wire.Train, node: str, sequence: int, now: int) -> wire.Update:
    return wire.Update(
        task=task.task,
        device=node,
        model=task.model,
        base=task.base,
        sequence=sequence,
        examples=100,
        loss_before=1.0,
        loss_after=0.9,
        data_until_ms=EPOCH_MS + now,
    )


def _evaluated(task: wire.Evaluate, node: str, loss: float) -> wire.Evaluated:
    return wire.Evaluated(
        task=task.task,
        device=node,
        candidate=task.candidate,
        release=task.release,
        rows=50,
        loss_candidate=loss,
        loss_release=1.0,
        loss_baseline=1.5,
        difference_mean=loss - 1.0,
        difference_m2=1.0,
    )


def balanced(books: Books) -> None:
    """Hold what was accepted to be what was merged and what is pending, and versions to grow."""
    sequences = [one.sequence for one in books.chronicle.releases]
    assert sequences == list(range(2, 2 + len(sequences)))
    assert [version.sequence for version, _ in books.released] == sequences
    accepted = sum(log.updates for log in books.chronicle.devices.values())
    pending = len(books.coordinator.federation.state.pending)
    closed = sum(one.accepted for one in books.chronicle.rounds if one.closed_ms is not None)
    assert accepted == closed + pending == sum(books.sent.values())


# Rounds and releases


@pytest.mark.parametrize("federation", [ROUNDS, BUFFERED])
def test_versions_only_grow_and_what_was_accepted_is_merged(federation: Any) -> None:
    books = Books(federation)
    books.appear(6)

    books.settle()

    rounds = [one for one in books.chronicle.rounds if one.outcome == "released"]
    assert len(rounds) == len(books.released) > (0 if federation is ROUNDS else 3)
    balanced(books)
    assert [one.number for one in rounds] == [one.round for one in books.chronicle.releases]
    assert all(one.words.startswith("released") for one in rounds)
    assert all(one.bytes_up == 100 * one.accepted for one in rounds if federation is ROUNDS)


def test_the_merge_of_a_round_is_the_weighted_mean_of_its_updates() -> None:
    books = Books(ROUNDS)
    books.appear(3)
    while not books.released:
        for ask in list(books.waiting):
            books.answer(ask)
        books.tick()

    base = pack(BUNDLE.manifest, BUNDLE.weights)
    changes = [
        0.1 * np.random.default_rng([1, n]).standard_normal(SIZE).astype(np.float32)
        for n in range(3)
        if f"one-{n}" in books.sent
    ]

    version, weights = books.released[0]
    expected = base + np.mean(changes, axis=0)
    np.testing.assert_allclose(pack(BUNDLE.manifest, weights), expected, rtol=1e-5, atol=1e-6)
    assert books.coordinator.release.name == version.version
    assert books.coordinator.sequence(version.version) == 2
    assert books.coordinator.weights(version.version) is weights


def test_in_the_buffered_discipline_the_gates_word_is_on_the_round_that_it_judged() -> None:
    books = Books(BUFFERED)
    books.appear(6)
    judges: list[e.Ask] = []
    while not judges:  # devices train on while the candidate waits for its judges
        for ask in list(books.waiting):
            if not isinstance(ask.task, wire.Evaluate):
                books.answer(ask)
        judges = [ask for ask in books.waiting if isinstance(ask.task, wire.Evaluate)]
        books.tick()
    assert len(books.chronicle.rounds) == 2

    for ask in judges:
        books.answer(ask)
    books.tick()

    assert [one.outcome for one in books.chronicle.rounds][:2] == ["released", "open"]
    assert books.chronicle.releases[0].round == 1


def test_a_refused_candidate_is_forgotten_and_booked_with_the_gates_words() -> None:
    books = Books(ROUNDS)
    books.appear(3)
    for _ in range(20):
        for ask in list(books.waiting):
            books.answer(ask, worse=True)
        books.tick()

    told = books.chronicle.rounds[0]
    assert (told.outcome, books.chronicle.refused_candidates) == ("refused", 1)
    assert "refused" in told.words
    assert books.released == []
    assert books.coordinator.release.name == BUNDLE.version_id


def test_updates_that_change_nothing_make_no_release() -> None:
    books = Books(ROUNDS)
    books.appear(3)
    for _ in range(20):
        for ask in list(books.waiting):
            books.answer(ask, step=0.0)
        books.tick()

    assert books.chronicle.rounds[0].outcome == "same"
    assert books.released == []


def test_with_too_few_updates_a_round_is_void() -> None:
    books = Books(ROUNDS)
    books.appear(3)
    for _ in range(200):
        for ask in list(books.waiting):
            if not isinstance(ask.task, wire.Train):
                books.answer(ask)
        books.tick()

    assert {one.outcome for one in books.chronicle.rounds[:1]} == {"void"}


def test_a_strategy_that_cannot_merge_so_few_leaves_the_round_void_with_its_words() -> None:
    books = Books(ROUNDS, strategy={"name": "bulyan"})
    books.appear(2)

    books.settle(30)

    told = books.chronicle.rounds[0]
    assert told.outcome == "void"
    assert told.words
    assert books.released == []


# What is kept


def test_old_versions_are_forgotten_when_nothing_can_be_based_on_them_any_more() -> None:
    books = Books(Rounds(max_staleness=1, pause=Duration(0), **PACE))
    books.appear(3)
    while len(books.released) < 6:
        for ask in list(books.waiting):
            books.answer(ask)
        books.tick()

    names = [version.version for version, _ in books.released]
    for name in names[-3:]:
        assert books.coordinator.weights(name)
    for name in (BUNDLE.version_id, *names[:-3]):
        with pytest.raises(KeyError):
            books.coordinator.weights(name)


@settings(max_examples=15)
@given(st.data())
def test_books_balance_whatever_comes_late_or_never(data: st.DataObject) -> None:
    books = Books(BUFFERED if data.draw(st.booleans()) else ROUNDS)
    books.appear(5)
    for _ in range(40):
        for ask in _some(data, list(books.waiting)):
            books.answer(ask, worse=data.draw(st.booleans()))
        books.tick(data.draw(st.sampled_from((10, 1_000, 30_000))))

    state = books.coordinator.federation.state
    sequences = [one.sequence for one in books.chronicle.releases]
    assert sequences == list(range(2, 2 + len(sequences)))
    assert state.release.sequence == len(sequences) + 1
    accepted = sum(log.updates for log in books.chronicle.devices.values())
    merged = sum(one.accepted for one in books.chronicle.rounds)
    assert len(state.pending) <= accepted
    assert accepted <= sum(books.sent.values())
    assert merged <= accepted
    staleness = [one.staleness_max for one in books.chronicle.rounds]
    assert max(staleness, default=0) <= books.federation.max_staleness


def _some(data: st.DataObject, asks: list[e.Ask]) -> Iterator[e.Ask]:
    for ask in asks:
        if data.draw(st.integers(0, 3)):
            yield ask


# What devices are told


def test_tasks_carry_the_terms_of_the_strategy_and_of_updates() -> None:
    books = Books(
        ROUNDS,
        strategy={"name": "fedprox", "proximal_mu": 0.5},
        update=Updates(compression="int8", norm_bound=2.0),
    )
    books.appear(3)
    tasks: list[wire.Train] = []
    while not tasks:
        for ask in list(books.waiting):
            books.answer(ask)
        books.tick()
        tasks = [ask.task for ask in books.waiting if isinstance(ask.task, wire.Train)]

    for task in tasks:
        assert (task.compression, task.norm_bound) == ("int8", 2.0)
        assert task.protocol == wire.TERMS
        assert task.proximal_mu == 0.5


def test_when_something_is_due_is_told_on_the_virtual_clock() -> None:
    books = Books(ROUNDS)
    books.appear(3)

    assert books.coordinator.due_ms is not None
    assert 0 <= books.coordinator.due_ms <= 60_000


# Strategies


@pytest.mark.parametrize("name", CHOOSABLE)
def test_every_strategy_that_can_be_chosen_runs(name: str) -> None:
    federation: Any = Rounds(pause=MINUTE, check_in=MINUTE, min_devices=4)
    if name in {"fedbuff", "fedasync"}:
        size = 1 if name == "fedasync" else 3
        federation = Buffered(buffer=size, min_devices=1, concurrency=3, check_in=MINUTE)

    length = Duration(30 * MINUTE)

    results = ran(
        tables(
            strategy={"name": name} | NEEDED.get(name, {}),
            federation=federation,
            releases=4,
            length=length,
        )
    )

    assert results.totals.releases >= 1
    assert all(np.isfinite(one.loss) for one in results.curve)
    assert results.totals.updates_refused == 0
    _merged(results)


def _merged(results: Results) -> None:
    released = [one for one in results.rounds if one.outcome == "released"]
    assert [one.number for one in released] == [one.round for one in results.releases][1:]


def test_one_strategy_gives_other_releases_than_another() -> None:
    mean, median = (ran(tables(strategy={"name": name})) for name in ("fedavg", "fedmedian"))

    assert mean.releases[1].version != median.releases[1].version


def test_a_group_that_a_candidate_harms_keeps_it_from_the_fleet() -> None:
    gate = Gate(tolerance=1.0, deadline=MINUTE, worst_group_tolerance=0.01, group_devices=2)
    groups = {f"one-{n}": "north" if n < 4 else "south" for n in range(6)}
    books = Books(ROUNDS, gate=gate, groups=groups)
    books.appear(6)
    while not any(isinstance(ask.task, wire.Evaluate) for ask in books.waiting):
        for ask in list(books.waiting):
            books.answer(ask)
        books.tick()
    for ask in list(books.waiting):
        books.answer(ask, worse=groups[ask.node] == "south")
    books.tick()

    assert books.released == []
    words = books.chronicle.rounds[0].words
    assert "group south is worse on 2 of 2 devices" in words


def in_columns(events: list[e.Event]) -> list[e.Event]:
    """The same events, and the answers among them as one."""
    replies = [one for one in events if isinstance(one, e.Replied)]
    return [e.Answered(replies), *(one for one in events if not isinstance(one, e.Replied))]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.booleans())
def test_events_in_one_call_come_to_what_they_come_to_one_after_the_other(
    sizes: list[int], buffered: bool
) -> None:
    how = Buffered(buffer=3, min_devices=2, concurrency=4) if buffered else Rounds(min_devices=2)
    events: list[e.Event] = [e.Appeared(frozenset(f"one-{n}" for n in range(6))), e.Ticked()]
    one_by_one, at_once = Books(how), Books(how)
    for size in sizes * 4:
        asks = [ask for one in events for ask, _ in one_by_one.coordinator.feed([one], 0)]
        assert [ask for ask, _ in at_once.coordinator.feed(in_columns(events), 0)] == asks

        one_by_one.waiting += asks
        answered = [one_by_one.answered(ask) for ask in one_by_one.waiting[:size]]
        del one_by_one.waiting[:size]
        events = [*answered, e.Ticked()]

    assert at_once.coordinator.federation.state == one_by_one.coordinator.federation.state
    assert at_once.chronicle.devices == one_by_one.chronicle.devices
    assert at_once.chronicle.rounds == one_by_one.chronicle.rounds
