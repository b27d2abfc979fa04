"""Whatever comes, in whatever order, twice or never, through crashes: the books balance."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from numpy.typing import NDArray

from headwater import wire
from headwater.settings import Duration
from headwater_coordinator.engines import open_reader
from headwater_coordinator.link import Arrival, Outgoing
from headwater_coordinator.location import SQLITE
from headwater_coordinator.settings import Buffered, Settings
from tests.coordinator.world import SETTINGS, World, node, save_bundle
from tests.models.bundles import tiny
from tests.postgresql import PostgresqlServer

DEVICES = ("a", "b", "c")
WHICH = st.integers(0, 1_000)


class Books(RuleBasedStateMachine):
    """Devices that answer, repeat, forget, lie and vanish; a coordinator that is killed."""

    settings = SETTINGS
    database = SQLITE

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        self.world = World(path, save_bundle(path, tiny()), self.settings, self.database)
        self.sent: list[Arrival] = []
        self.vectors: dict[tuple[str, int], NDArray[np.float32]] = {}
        self.checked: set[str] = set()
        self.released = [(1, self.world.bundle.version_id)]

    def teardown(self) -> None:
        self.world.close()
        self.folder.cleanup()

    def _one(self, which: int, *kinds: wire.Kind) -> Outgoing | None:
        tasks = [task for task in self.world.mail.sent if task.kind in kinds]
        return tasks[which % len(tasks)] if tasks else None

    def _deliver(
        self, task: Outgoing, reply: wire.Reply, vector: NDArray[np.float32] | None
    ) -> None:
        self.world.answer(task, reply, vector)
        self.sent.append(self.world.mail.arrived[-1])

    @rule(device=st.sampled_from(DEVICES))
    def comes(self, device: str) -> None:
        self.world.mail.online.add(node(device))

    @rule(device=st.sampled_from(DEVICES))
    def goes(self, device: str) -> None:
        self.world.mail.online.discard(node(device))

    @rule()
    def greets(self) -> None:
        for task in self.world.waiting(wire.Kind.CHECK_IN):
            self._deliver(task, self.world.checked_in(task, self.released[-1][1]), None)
        for task in self.world.waiting(wire.Kind.RELEASE):
            self._deliver(task, self.world.received(task), None)

    @rule(which=WHICH, value=st.floats(-1, 1, width=32), examples=st.integers(1, 300))
    def trains(self, which: int, value: float, examples: int) -> None:
        task = self._one(which, wire.Kind.TRAIN)
        if task is not None:
            update = self.world.update(task, examples=examples)
            vector = self.world.vector(value)
            self.vectors[task.node, update.sequence] = vector
            self._deliver(task, update, vector)

    @rule(which=WHICH, value=st.sampled_from([np.nan, np.inf, 1e9]))
    def sends_nonsense(self, which: int, value: float) -> None:
        task = self._one(which, wire.Kind.TRAIN)
        if task is not None:
            self._deliver(task, self.world.update(task), self.world.vector(value))

    @rule(which=WHICH, difference=st.sampled_from([-0.1, 0.0, 0.1]))
    def judges(self, which: int, difference: float) -> None:
        task = self._one(which, wire.Kind.EVALUATE)
        if task is not None:
            self._deliver(task, self.world.evaluated(task, difference), None)

    @rule(value=st.floats(-1, 1, width=32), difference=st.sampled_from([-0.1, 0.1]))
    def goes_well(self, value: float, difference: float) -> None:
        """A whole round without trouble, so that trouble meets many releases too."""
        self.world.mail.online |= {node(device) for device in DEVICES}
        self.world.turn(61_000)
        for _ in range(4):
            self.greets()
            while (task := self._one(0, wire.Kind.TRAIN)) is not None:
                self.trains(0, value, 10)
                assert task not in self.world.mail.sent
            while self._one(0, wire.Kind.EVALUATE) is not None:
                self.judges(0, difference)
            self.world.turn(1_000)
            self.no_update_is_lost_or_counted_twice()
            self.releases_only_grow()

    @rule(which=WHICH)
    def loses(self, which: int) -> None:
        task = self._one(which, *wire.Kind)
        if task is not None:
            self.world.lose(task)

    @precondition(lambda self: bool(self.sent))
    @rule(which=WHICH)
    def repeats(self, which: int) -> None:
        self.world.mail.arrived.append(self.sent[which % len(self.sent)])

    @rule(order=st.randoms(use_true_random=False), wait=st.sampled_from([0, 500, 2_000, 61_000]))
    def turns(self, order: np.random.Generator, wait: int) -> None:
        order.shuffle(self.world.mail.arrived)
        self.world.turn(wait)

    @rule()
    def is_killed(self) -> None:
        self.world.restart()

    @invariant()
    def no_update_is_lost_or_counted_twice(self) -> None:
        with closing(open_reader(self.world.home.books)) as books:
            rows = books.execute("SELECT node, sequence, state, merged_in FROM updates")
            weights = {
                (owner, sequence): weight
                for owner, sequence, weight in books.execute(
                    "SELECT node, sequence, weight FROM updates"
                )
            }
        assert len({(owner, sequence) for owner, sequence, _, _ in rows}) == len(rows)
        for owner, sequence, _, _ in rows:
            assert (owner, sequence) in self.vectors, "only what was sound was accepted"
        contents: dict[str, list[tuple[str, int]]] = {}
        for owner, sequence, state, version in rows:
            assert (state == "merged") == (version is not None)
            if version is not None:
                contents.setdefault(version, []).append((owner, sequence))
        self._weights_are_the_mean(contents, weights)

    def _weights_are_the_mean(
        self,
        contents: dict[str, list[tuple[str, int]]],
        weights: dict[tuple[str, int], int],
    ) -> None:
        """Each new version is its parent and every update in it, exactly once."""
        for version in self.world.status.versions:
            if version.round and version.version not in self.checked:
                members = contents[version.version]
                total = sum(weights[member] for member in members)
                step = sum(
                    self.vectors[member].astype(np.float64) * weights[member] for member in members
                )
                expected = self.world.weights(version.parent) + step / total
                np.testing.assert_allclose(self.world.weights(version.version), expected, atol=1e-5)
                self.checked.add(version.version)

    @invariant()
    def releases_only_grow(self) -> None:
        status = self.world.status
        latest = status.sequence, status.release
        if latest != self.released[-1]:
            row = next(one for one in status.versions if one.version == status.release)
            assert latest[0] == self.released[-1][0] + 1
            assert row.parent == self.released[-1][1]
            self.released.append(latest)

    @invariant()
    def nothing_unsound_is_in_any_version(self) -> None:
        for version in self.world.status.versions:
            assert np.isfinite(self.world.weights(version.version)).all()


class BufferedBooks(Books):
    """The same without rounds."""

    settings = Settings(
        federation=Buffered(
            buffer=2,
            concurrency=2,
            deadline=Duration(60_000),
            message_ttl=Duration(600_000),
            weight_cap=100,
        ),
        gate=SETTINGS.gate,
    )


class PostgresqlBooks(Books):
    """The same with books in PostgreSQL."""

    server: PostgresqlServer

    def __init__(self) -> None:
        self.database = self.server.url(self.server.new_schema())
        super().__init__()


OFTEN = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestBooks = Books.TestCase
TestBooks.settings = OFTEN
TestBufferedBooks = BufferedBooks.TestCase
TestBufferedBooks.settings = OFTEN


@pytest.fixture
def _served(postgresql: PostgresqlServer) -> None:
    PostgresqlBooks.server = postgresql


TestPostgresqlBooks = pytest.mark.usefixtures("_served")(PostgresqlBooks.TestCase)
TestPostgresqlBooks.settings = settings(OFTEN, max_examples=4)
