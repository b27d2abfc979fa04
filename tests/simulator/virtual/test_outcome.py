"""How good releases are, who gained and who lost, and what became of attackers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.settings import Duration
from headwater_agent.answers import MIN_EXAMPLES, MIN_ROWS
from headwater_agent.events import Batch
from headwater_agent.pipeline_settings import PipelineSettings
from headwater_agent.scores import Score
from headwater_coordinator.settings import Rounds
from headwater_models.judging import losses
from headwater_models.session import Predictor
from headwater_simulator.device import VirtualDevice
from headwater_simulator.report.results import MOST_DEVICES, Results, standing
from headwater_simulator.scenario.settings import (
    DAY,
    HOUR,
    Attacker,
    Fault,
    Group,
    Link,
    Scenario,
    Synthetic,
)
from headwater_simulator.sources.opening import open_source
from headwater_simulator.sources.source import Holding, Tables
from headwater_simulator.virtual import outcome
from headwater_simulator.virtual.engine import Engine
from headwater_simulator.virtual.outcome import spread
from tests.simulator.virtual.scenes import MINUTE, ran, sensors, streams, tables

PAIR = (Group(name="quick", devices=4, speed=50.0), Group(name="slow", devices=3, speed=5.0))


class Kept(Engine):
    """An engine that keeps all its releases."""

    kept: dict[int, Any]

    def _released(self, weights: Any) -> None:
        sequence = self._chronicle.releases[-1].sequence
        self.kept = {**getattr(self, "kept", {}), sequence: weights}
        super()._released(weights)


def kept(scenario: Scenario) -> tuple[Kept, Results]:
    engine = Kept(scenario, open_source(scenario))
    return engine, engine.run("scene")


def tables_run(**settings: Any) -> Results:
    return kept(tables(**settings))[1]


# Releases


def test_every_release_is_judged_on_all_the_rows_that_nobody_learned_from() -> None:
    scenario = tables(groups=PAIR)
    source = open_source(scenario)
    assert isinstance(source, Tables)
    engine, results = kept(scenario)
    bundle = engine._fleet.bundle
    weights = {1: bundle.weights} | engine.kept
    held = [source.holding(number).reserved for number in range(7)]
    predictor = Predictor(bundle.infer)

    assert [one.sequence for one in results.curve] == sorted(weights)
    for point in results.curve:
        made = [predictor.run(one.window, one.time, weights[point.sequence]) for one in held]
        found = [
            losses(bundle.manifest, mine, one.label) for mine, one in zip(made, held, strict=True)
        ]
        assert point.loss == pytest.approx(np.mean(np.concatenate(found)), rel=1e-5)
        assert point.groups["quick"] == pytest.approx(np.mean(np.concatenate(found[:4])), rel=1e-5)
        assert point.groups["slow"] == pytest.approx(np.mean(np.concatenate(found[4:])), rel=1e-5)
        assert point.spread.devices == 7
        assert point.spread.median == pytest.approx(np.median([f.mean() for f in found]), rel=1e-5)
        right = [
            np.argmax(mine, axis=1) == one.label[:, 0] for mine, one in zip(made, held, strict=True)
        ]
        assert point.accuracy == pytest.approx(np.mean(np.concatenate(right)))


def test_the_baseline_is_the_same_for_all_releases_and_numbers_have_no_accuracy() -> None:
    results = ran(streams())

    assert len(results.curve) > 3
    assert len({one.baseline for one in results.curve}) == 1
    assert {one.accuracy for one in results.curve} == {None}


def test_so_many_devices_judge_as_the_scenario_says_spread_over_all() -> None:
    engine, results = kept(tables(groups=(Group(name="all", devices=9, speed=50.0),), judges=3))

    assert [one.number for one in engine._outcome.judges] == [0, 4, 8]
    assert {one.spread.devices for one in results.curve} == {3}
    assert [one.name for one in results.listed if one.last is not None] == [
        "all-00000",
        "all-00004",
        "all-00008",
    ]


def test_who_has_too_few_reserved_rows_does_not_judge() -> None:
    results = ran(tables(data=Synthetic(features=3, classes=3, rows=50 + MIN_ROWS - 1)))

    assert results.curve == ()
    assert {one.last for one in results.listed} == {None}
    assert results.groups[0].last is None


def test_of_very_many_releases_every_other_one_is_judged_and_the_last_always(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outcome, "MOST_POINTS", 6)
    fast = Rounds(pause=Duration(1_000), check_in=MINUTE)
    scenario = tables(federation=fast, groups=(Group(name="all", devices=6),))

    results = ran(scenario)

    sequences = [one.sequence for one in results.curve]
    assert results.totals.releases > 8
    assert len(sequences) <= 6
    assert (sequences[0], sequences[-1]) == (1, results.totals.releases + 1)
    assert sequences == sorted(set(sequences))


# Devices and groups


def test_devices_are_told_with_the_first_release_the_last_and_what_they_are_alone() -> None:
    results = ran(tables(groups=PAIR))

    assert [one.name for one in results.listed][3:5] == ["quick-00003", "slow-00000"]
    for one in results.listed:
        assert one.first is not None
        assert one.first == pytest.approx(np.log(3), rel=1e-5)
        assert one.last is not None
        assert one.alone is not None
        assert one.alone < one.first
        assert (one.examples, one.served) == (60, None)
    means = np.mean([one.last or 0.0 for one in results.listed])
    assert results.curve[-1].spread.mean == pytest.approx(means, rel=1e-5)


def test_groups_sum_their_devices_up_and_count_who_gained_and_who_lost() -> None:
    results = ran(tables(groups=PAIR, length=Duration(20 * MINUTE)))

    for group in results.groups:
        own = [one for one in results.listed if one.group == group.name]
        assert group.devices == len(own)
        assert group.updates == sum(one.updates for one in own)
        assert group.bytes_up == sum(one.bytes_up for one in own)
        assert group.bytes_down == sum(one.bytes_down for one in own)
        stands = [standing(one.last or 0, one.alone or 0) for one in own]
        assert (group.gained, group.even, group.lost) == tuple(
            stands.count(word) for word in ("gained", "even", "lost")
        )
        assert group.last is not None
        assert group.last.mean == pytest.approx(np.mean([one.last or 0 for one in own]))
    assert sum(one.gained + one.even + one.lost for one in results.groups) == 7


def test_who_cannot_learn_alone_is_neither_better_nor_worse() -> None:
    few = Synthetic(features=3, classes=3, rows=50 + MIN_ROWS)
    results = ran(tables(data=few))

    assert sum(one.gained + one.even + one.lost for one in results.groups) == 6


class Bare:
    """Tables of which the first device has nothing to learn from, and the last one little."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.facts = tables.facts

    def count(self, device: int) -> int:
        return len(self.holding(device).learned.weight)

    def holding(self, device: int) -> Holding:
        whole = self._tables.holding(device)
        rows = {0: 0, 5: MIN_EXAMPLES - 1}.get(device)
        fields = ("window", "time", "label", "weight")
        few = Batch(*(getattr(whole.learned, name)[:rows] for name in fields))
        return Holding(learned=few, reserved=whole.reserved)


def test_who_has_little_to_learn_from_is_judged_but_comes_to_nothing_alone() -> None:
    """Who has nothing knows no usual class either, and cannot judge."""
    scenario = tables()
    source = open_source(scenario)
    assert isinstance(source, Tables)

    results = Engine(scenario, Bare(source)).run("scene")

    assert [one.examples for one in results.listed] == [0, 60, 60, 60, 60, 49]
    assert [one.last is None for one in results.listed] == [True, *[False] * 5]
    assert [one.alone is None for one in results.listed] == [True, *[False] * 4, True]
    assert results.groups[0].gained + results.groups[0].even + results.groups[0].lost == 4


def test_no_more_devices_are_listed_than_are_said_and_they_are_spread_over_all() -> None:
    many = Group(name="all", devices=MOST_DEVICES + 500, speed=50.0)

    results = ran(tables(groups=(many,), length=Duration(10_000), judges=5))

    names = [one.name for one in results.listed]
    assert len(names) == MOST_DEVICES
    assert (names[0], names[-1]) == ("all-00000", f"all-{MOST_DEVICES + 499:05}")
    assert results.groups[0].devices == results.devices == MOST_DEVICES + 500


# What was served


def test_what_agents_served_is_told_for_each_stretch_and_group() -> None:
    groups = (sensors("one", 2), sensors("two", 1, joins=Duration(3 * DAY)))

    results = ran(streams(groups=groups))

    stretches = {one.time_ms for one in results.served}
    assert stretches == {*range(32 * HOUR, 7 * DAY, 32 * HOUR), 7 * DAY}
    totals = {
        name: sum(one.labels for one in results.served if one.group == name)
        for name in ("one", "two")
    }
    assert totals["two"] < totals["one"] / 2
    assert 2 * (7 * 24 - 5) < totals["one"] <= 2 * 7 * 24
    for one in results.listed:
        assert one.served is not None
        assert one.served > 0


def test_agents_that_forget_their_score_count_on_from_what_they_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = ran(streams())
    real = VirtualDevice.restart

    def forget(device: VirtualDevice, settings: PipelineSettings) -> None:
        real(device, settings)
        device.pipeline.learner.score = Score()

    monkeypatch.setattr(VirtualDevice, "restart", forget)
    crash = Fault(kind="crash", start=Duration(40 * HOUR + 1))
    broken = ran(streams(faults=(crash,)))

    (first, second, *_) = broken.served
    assert first == whole.served[0]
    assert 4 * 20 < second.labels <= 4 * 24
    usual = max(one.served for one in whole.served)
    for one in broken.served:
        assert 0 <= one.baseline < 3 * usual
        assert 0 <= one.served < 3 * usual


# Attackers


def test_attacks_are_told_by_their_kinds() -> None:
    attackers = (
        Attacker(kind="nan", share=0.25, groups=("quick",)),
        Attacker(kind="zero", share=0.67, groups=("slow",)),
    )

    results = ran(tables(groups=PAIR, attackers=attackers))

    told = {one.kind: one for one in results.attacks}
    assert {kind: one.devices for kind, one in told.items()} == {"nan": 1, "zero": 2}
    assert told["nan"].accepted == 0
    assert told["nan"].sent == told["nan"].refused == results.totals.updates_refused > 0
    assert told["zero"].sent == told["zero"].accepted > 0
    assert sum(one.attacks for one in results.listed) == 3
    assert all(one.attacks and "finite" in one.reason for one in results.refusals)


def test_what_an_attacker_sends_may_be_lost_too() -> None:
    lossy = Group(name="all", devices=6, speed=50.0, link=Link(loss=0.2))
    attackers = (Attacker(kind="scaling", share=1.0),)

    results = ran(tables(groups=(lossy,), attackers=attackers, length=Duration(30 * MINUTE)))

    (attack,) = results.attacks
    lost = sum(one.lost for one in results.listed)
    assert lost > 0
    assert attack.sent - lost - 6 <= attack.refused + attack.accepted <= attack.sent


# Figures


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_a_spread_lies_between_the_least_and_the_most(values: list[float]) -> None:
    found = spread(values)

    assert found.devices == len(values)
    assert min(values) <= found.p10 <= found.median <= found.p90 <= max(values)
    assert found.mean == pytest.approx(sum(values) / len(values))


def test_versions_and_the_whole_scenario_stand_in_the_report() -> None:
    results = ran(tables(about="A scene."))

    assert set(results.versions) == {"headwater", "numpy", "onnxruntime"}
    assert results.about == "A scene."
    assert '"pause"' in results.scenario
    assert results.unit == ""


def test_of_a_large_fleet_all_judges_are_listed_and_an_even_sample_of_the_others() -> None:
    many = (Group(name="many", devices=MOST_DEVICES + 300),)
    results = tables_run(groups=many, judges=40, length=Duration(1_000))

    assert len(results.listed) == MOST_DEVICES
    assert sum(one.first is not None for one in results.listed) == 40
    assert results.listed[0].name == "many-00000"
    assert results.listed[-1].name == f"many-{MOST_DEVICES + 299:05}"


def test_a_release_that_predicts_no_number_is_no_point_of_the_curve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outcome, "losses", lambda *given: np.full(len(given[-1]), np.inf))
    results = tables_run()

    assert results.curve == ()
    assert {(one.first, one.last) for one in results.listed} == {(None, None)}
