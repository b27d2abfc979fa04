"""Trainings are dealt to workers, and the fleet learns what it learns without them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from headwater_agent.events import Floats
from headwater_coordinator.settings import Buffered
from headwater_simulator.cluster.dealing import Dealer, Parcel
from headwater_simulator.cluster.working import Done, Order, Worker
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.settings import Attacker, Scenario
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual.engine import Engine
from headwater_simulator.virtual.fleet import make_bundle
from headwater_simulator.virtual.training import Tally
from tests.simulator.cluster.scenarios import DEVICES, table

SAME = 1e-5
"""Float32 in stacks of another size rounds otherwise."""


class Workers:
    """Two workers in this process, who are told all they know as bytes."""

    def __init__(self, scenario: Scenario) -> None:
        self._workers = [Worker(scenario), Worker(scenario)]
        self.carried: list[list[list[int]]] = []

    def __call__(self, parcels: Sequence[Parcel]) -> list[tuple[Done, Floats]]:
        self.carried.append([[order.device for order in one.orders] for one in parcels])
        return [
            worker.do(parcel.bases, _through_bytes(parcel))
            for worker, parcel in zip(self._workers, parcels, strict=False)
        ]


def _through_bytes(parcel: Parcel) -> list[Order]:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(parcel.orders), type=list[Order])


def both(scenario: Scenario) -> tuple[Results, Results, Workers]:
    manifest = make_bundle(scenario, open_source(scenario).facts).manifest
    workers = Workers(scenario)
    here = Engine(scenario, open_source(scenario)).run("it")
    there = Engine(scenario, open_source(scenario), elsewhere=Dealer(manifest, 2, workers))
    return here, there.run("it"), workers


def assert_same(here: Results, there: Results) -> None:
    assert there.engine == "ray"
    assert [one.loss for one in there.curve] == pytest.approx(
        [one.loss for one in here.curve], rel=SAME
    )
    assert len(there.curve) > 2
    assert [(one.accepted, one.outcome) for one in there.rounds] == [
        (one.accepted, one.outcome) for one in here.rounds
    ]
    assert [one.time_ms for one in there.releases] == [one.time_ms for one in here.releases]
    assert there.totals.device_rounds == here.totals.device_rounds
    assert there.totals.stacked == here.totals.stacked


def test_rounds_come_to_the_same_curve_rounds_and_times() -> None:
    here, there, workers = both(table())

    assert_same(here, there)
    assert {device for one in workers.carried for parcel in one for device in parcel} <= set(
        range(DEVICES)
    )
    assert all(abs(len(a) - len(b)) <= 1 for a, b in (one for one in workers.carried if one[1:]))


def test_so_do_buffers_whose_updates_begin_from_different_releases() -> None:
    how = Buffered(buffer=3, concurrency=5, min_devices=2, epochs=1, learning_rate=0.05)

    assert_same(*both(table(federation=how))[:2])


def test_attackers_are_among_those_that_are_trained_elsewhere() -> None:
    here, there, _ = both(table(attackers=(Attacker(kind="noise", share=0.3),)))

    assert_same(here, there)
    assert there.attacks == here.attacks


def test_nothing_is_carried_for_nothing() -> None:
    scenario = table()
    manifest = make_bundle(scenario, open_source(scenario).facts).manifest
    workers = Workers(scenario)

    assert Dealer(manifest, 2, workers).replay([], Tally()) == []
    assert workers.carried == [[]]
