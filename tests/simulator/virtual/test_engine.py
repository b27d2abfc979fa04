"""Whole runs: the same by the same seed, whatever is computed when, and nothing out of thin air."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater import wire
from headwater.settings import Duration
from headwater_coordinator import events as e
from headwater_coordinator.settings import Buffered, Gate, Rounds, Updates
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.settings import (
    DAY,
    HOUR,
    Agent,
    Attacker,
    Battery,
    Duty,
    Fault,
    Group,
    Link,
    Model,
    Outage,
    Scenario,
    Series,
)
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual import processor, training
from headwater_simulator.virtual.coordinator import VirtualCoordinator
from headwater_simulator.virtual.engine import Engine
from headwater_simulator.virtual.member import Delivery, Member
from headwater_simulator.virtual.post import Answer, Post
from headwater_simulator.virtual.tasks import Tasks
from tests.simulator.virtual.scenes import (
    MINUTE,
    OPTIMISER,
    Kept,
    ran,
    same,
    sensors,
    streams,
    tables,
)

ROUGH = Link(
    poll=Duration(100 * MINUTE),
    latency=Duration(90_000),
    jitter=1.0,
    loss=0.1,
    duplication=0.2,
    reordering=0.2,
    held=Duration(20 * MINUTE),
)
PATIENCE: dict[str, Any] = {
    "check_in": Duration(4 * HOUR),
    "deadline": Duration(5 * HOUR),
    "message_ttl": Duration(6 * HOUR),
}
OFTEN = Series(channels=2, horizon=HOUR, period=Duration(20 * MINUTE))
ONE_BY_ONE = 1e-3
"""Fixed beforehand: how far the figures of a report with few rounds may be from those of devices
that compute alone, relative; counts, times and outcomes are equal."""


class Patient(Engine):
    """An engine that takes nothing up before its time."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        vars(self._tasks).update(_look_ahead=lambda: None, do_ahead=lambda deliveries: deliveries)


class Timely(Engine):
    """An engine in which no device does a task before its time."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        vars(self._tasks)["do_ahead"] = lambda deliveries: deliveries


def replies(events: list[Any]) -> list[Any]:
    """The answers among events."""
    return [one for event in events for one in getattr(event, "replies", ())]


def told(
    patch: pytest.MonkeyPatch, kind: type[object], name: str, tell: Callable[..., None]
) -> None:
    """Let a test be told of each call of a method, before it is carried out."""
    method = getattr(kind, name)

    def watched(*args: Any) -> Any:
        tell(*args)
        return method(*args)

    patch.setattr(kind, name, watched)


def bytes_of(results: Results) -> bytes:
    return msgspec.json.encode(results)


# The same seed, the same bytes


def troubled(**changed: Any) -> Scenario:
    """A little of everything that draws at random, and of everything with an order."""
    fields: dict[str, Any] = {
        "groups": (
            sensors("lab", 3, link=ROUGH, speed_spread=0.5, clock_skew=Duration(5_000)),
            sensors("roof", 3, duty=Duty(on=Duration(9 * HOUR), off=Duration(3 * HOUR))),
        ),
        "faults": (
            Fault(kind="spikes", start=Duration(HOUR), length=DAY, share=0.5),
            Fault(kind="crash", start=Duration(50 * HOUR), share=0.5),
        ),
        "attackers": (Attacker(kind="noise", share=0.3),),
        "length": Duration(3 * DAY),
        "data": OFTEN,
        "federation": Rounds(pause=HOUR, **PATIENCE),
    }
    return streams(**(fields | changed))


def test_the_same_seed_gives_equal_bytes_and_another_seed_another_run() -> None:
    scenario = troubled()

    first, second = (bytes_of(ran(scenario)) for _ in range(2))
    other = bytes_of(ran(msgspec.structs.replace(scenario, seed=2)))

    assert first == second
    assert first != other


def test_the_number_of_processors_makes_no_difference_and_no_thread_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "MEMBERS", 3)
    before = threading.active_count()
    told = []
    for processors in (1, 4):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=processors: set(range(n)))
        told += [bytes_of(ran(troubled())), bytes_of(ran(tables(groups=CROWD)))]
        assert threading.active_count() == before

    assert told[:2] == told[2:]


CROWD = (Group(name="all", devices=20, speed=50.0, speed_spread=1.0),)

SCRIPT = """
import msgspec, sys
from tests.simulator.virtual.scenes import ran
from tests.simulator.virtual.test_engine import troubled
sys.stdout.buffer.write(msgspec.json.encode(ran(troubled())))
"""


def test_processes_that_hash_strings_differently_give_equal_bytes() -> None:
    root = Path(__file__).resolve().parents[3]
    paths = os.pathsep.join([str(root), *sys.path])
    told = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": paths},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]

    assert told[0] == told[1]
    assert json.loads(told[0])["totals"]["device_rounds"] > 5


# Together as alone


@pytest.mark.parametrize("scenario", [tables(), streams(length=Duration(4 * DAY))])
def test_device_by_device_the_report_is_the_same(scenario: Scenario) -> None:
    together, alone = ran(scenario), ran(scenario, one_by_one=True)

    same(together, alone, rel=ONE_BY_ONE, counted=False)
    assert (alone.totals.stacked, together.totals.looped) == (0, 0)
    assert alone.totals.looped == together.totals.stacked > 0


def test_after_many_releases_weights_are_those_of_devices_alone() -> None:
    scenario = tables(length=Duration(40 * MINUTE))
    last = []
    for one_by_one in (False, True):
        engine = _kept(scenario, one_by_one=one_by_one)
        assert engine.run("scene").totals.releases > 10
        last.append(engine.last)

    for name, array in last[1].items():
        np.testing.assert_allclose(last[0][name], array, rtol=1e-4, atol=1e-4)


def _kept(scenario: Scenario, **how: Any) -> Kept:
    return Kept(scenario, open_source(scenario), **how)


# What is taken up early: all but the count of trainings that the end of the run cuts off


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Small fleets to which much happens."""
    lossy = st.sampled_from((0.0, 0.15))
    groups = tuple(
        sensors(
            name,
            draw(st.integers(1, 3)),
            speed=draw(st.sampled_from((0.05, 2.0))),
            speed_spread=1.0,
            joins=Duration(draw(st.sampled_from((0, 20 * HOUR)))),
            leaves=draw(st.sampled_from((None, Duration(60 * HOUR)))),
            duty=draw(st.sampled_from((Duty(), Duty(on=Duration(5 * HOUR), off=HOUR)))),
            battery=draw(st.sampled_from((None, Battery(capacity=80.0, charge=10.0)))),
            link=msgspec.structs.replace(
                ROUGH, loss=draw(lossy), duplication=draw(lossy), reordering=draw(lossy)
            ),
        )
        for name in ("one", "two")
    )
    when = st.integers(0, 70 * HOUR).map(Duration)
    span = st.integers(1, 30 * HOUR).map(Duration)
    named = st.sampled_from(((), ("one",)))
    outages = st.builds(Outage, start=when, length=span, groups=named)
    faults = st.builds(
        Fault,
        kind=st.sampled_from(("crash", "power-cut", "stuck", "unit", "clock-jump")),
        start=when,
        length=span,
        share=st.sampled_from((0.5, 1.0)),
        groups=named,
    )
    return streams(
        seed=draw(st.integers(0, 99)),
        length=Duration(3 * DAY),
        data=OFTEN,
        releases=draw(st.sampled_from((None, 4))),
        groups=groups,
        outages=tuple(draw(st.lists(outages, max_size=2))),
        faults=tuple(draw(st.lists(faults, max_size=3))),
        agent=Agent(drift=draw(st.booleans())),
        federation=draw(
            st.sampled_from(
                (
                    Rounds(pause=HOUR, **PATIENCE),
                    Buffered(buffer=2, concurrency=3, **PATIENCE),
                )
            )
        ),
    )


@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(scenarios())
def test_it_makes_no_difference_what_is_taken_up_early(scenario: Scenario) -> None:
    same(ran(scenario), ran(scenario, Patient), rel=1e-4, counted=False)


@pytest.mark.parametrize("seed", [1, 2])
def test_it_makes_no_difference_among_troubles(seed: int) -> None:
    """Devices that come and go, break, and look at links that lose, repeat and reorder."""
    scenario = troubled(
        seed=seed,
        groups=(
            sensors("rough", 3, link=ROUGH, speed_spread=1.0),
            sensors(
                "shifts",
                5,
                speed_spread=1.0,
                link=Link(poll=Duration(100 * MINUTE), duplication=0.3),
                duty=Duty(on=Duration(5 * HOUR), off=Duration(2 * HOUR)),
            ),
        ),
        outages=(Outage(start=Duration(40 * HOUR), length=Duration(3 * HOUR)),),
    )

    same(ran(scenario), ran(scenario, Patient), rel=1e-4, counted=False)


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize("releases", [None, 4])
def test_it_makes_no_difference_what_devices_of_tables_do_ahead(
    buffered: bool, releases: int | None
) -> None:
    """They do the same, and what they send leaves in its order; but others share a call."""
    how: dict[str, Any] = {"check_in": Duration(5 * MINUTE), "deadline": Duration(4 * MINUTE)}
    scenario = tables(
        length=Duration(90 * MINUTE),
        releases=releases,
        groups=(
            Group(name="rough", devices=4, speed=20.0, speed_spread=1.5, link=ROUGH),
            Group(
                name="shifts",
                devices=6,
                speed=5.0,
                link=Link(poll=Duration(20_000), jitter=0.5, loss=0.05, duplication=0.1),
                duty=Duty(on=Duration(9 * MINUTE), off=Duration(4 * MINUTE)),
                battery=Battery(capacity=60.0, charge=600.0),
            ),
            Group(name="even", devices=4, joins=Duration(3 * MINUTE)),
        ),
        faults=(
            Fault(kind="crash", start=Duration(20 * MINUTE), share=0.5),
            Fault(kind="power-cut", start=Duration(30 * MINUTE), length=MINUTE, share=0.5),
        ),
        outages=(Outage(start=Duration(50 * MINUTE), length=Duration(3 * MINUTE)),),
        federation=(
            Buffered(buffer=3, min_devices=1, concurrency=6, arrivals=0.5, **how)
            if buffered
            else Rounds(min_devices=3, pause=MINUTE, arrivals=0.5, **how)
        ),
    )

    same(ran(scenario), ran(scenario, Timely), rel=1e-4)


def test_what_comes_behind_a_task_that_waits_for_its_moment_waits_too() -> None:
    scenario = tables()
    engine = Engine(scenario, open_source(scenario))
    one, other = engine._fleet.members[:2]
    one.online = other.online = True

    def coming(member: Member, task: wire.CheckIn, at: int) -> Delivery:
        return Delivery(member, e.Ask(str(at), member.name, task, None, 1_000), None, at, 1_000)

    paced, behind = coming(one, wire.CheckIn(poll_ms=7), 10), coming(one, wire.CheckIn(), 20)
    free = coming(other, wire.CheckIn(), 15)

    assert engine._tasks.do_ahead([paced, free, behind]) == [paced, behind]
    assert engine._tasks.do_ahead([behind]) == []


@pytest.mark.parametrize(
    ("releases", "federation"),
    [
        (None, Rounds(pause=HOUR, **PATIENCE)),
        (4, Buffered(buffer=2, min_devices=1, concurrency=5, **PATIENCE)),
        (5, Buffered(buffer=2, min_devices=1, concurrency=5, **PATIENCE)),
    ],
)
def test_streams_are_looked_at_as_they_were_whatever_is_taken_up_early(
    releases: int | None, federation: Rounds | Buffered
) -> None:
    scenario = streams(
        data=Series(channels=2, horizon=HOUR, period=Duration(10 * MINUTE)),
        groups=(sensors(devices=5, speed_spread=1.0, link=Link(poll=Duration(3 * HOUR))),),
        length=Duration(3 * DAY),
        releases=releases,
        federation=federation,
    )

    same(ran(scenario), ran(scenario, Patient), rel=1e-4, counted=False)


def test_much_is_taken_up_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the tests above would show nothing."""
    early: list[int] = []
    look_ahead = Tasks._look_ahead

    def watched(tasks: Tasks) -> None:
        before = len(tasks._processor._put_off)
        look_ahead(tasks)
        early.append(len(tasks._processor._put_off) - before)

    monkeypatch.setattr(Tasks, "_look_ahead", watched)
    ran(troubled())
    assert sum(early) > 5

    early.clear()
    ran(troubled(), Patient)
    assert early == []


def test_what_waits_is_computed_when_there_is_much_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = tables()
    whole = ran(scenario)

    monkeypatch.setattr(processor, "WAITING", 2)

    same(ran(scenario), whole, rel=1e-4)


# What is kept in every run


@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(scenarios())
def test_nothing_is_lost_or_made_up(scenario: Scenario) -> None:
    results = ran(scenario)
    totals, rounds, end = results.totals, results.rounds, results.length_ms

    assert end <= scenario.length
    moments = [
        *(one.time_ms for one in results.curve),
        *(one.time_ms for one in results.served),
        *(one.time_ms for one in results.releases),
        *(one.time_ms for one in results.presence),
        *(one.time_ms for one in results.incidents),
        *(one.time_ms for one in results.refusals),
        *(one.opened_ms for one in rounds),
        *(one.closed_ms for one in rounds if one.closed_ms is not None),
    ]
    assert max(moments) <= end
    devices = results.listed
    assert totals.updates_accepted == sum(one.updates for one in devices)
    assert totals.bytes_up == sum(one.bytes_up for one in devices)
    assert totals.bytes_down == sum(one.bytes_down for one in devices)
    assert totals.lost_messages <= totals.messages
    assert totals.updates_accepted <= totals.device_rounds
    assert totals.updates_accepted >= sum(one.accepted for one in rounds)
    assert totals.false_refusals == totals.updates_refused
    assert not [one for one in results.refusals if "finite" in one.reason]
    assert totals.releases == sum(one.outcome == "released" for one in rounds)
    sequences = [one.sequence for one in results.releases]
    assert sequences == list(range(1, len(sequences) + 1))
    assert totals.records <= sum(_measured(scenario, group, end) for group in scenario.groups)
    for one in results.presence:
        assert 0 <= one.online <= results.devices
        assert one.training >= 0
    for shown in results.served:
        assert min(shown.baseline, shown.released, shown.personal, shown.served) >= 0
    assert all(0 <= one.online <= 1 for one in devices)


def _measured(scenario: Scenario, group: Group, end: int) -> int:
    """How many records the devices of a group would have measured without faults."""
    last = end if group.leaves is None else min(end, int(group.leaves))
    first = -(-int(group.joins) // OFTEN.period)
    return max(0, last // OFTEN.period - first + 1) * group.devices


def test_every_message_comes_or_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[object] = []
    had: list[object] = []

    def feed(_: object, events: list[Any], now: int) -> None:
        fed.extend(replies(events))

    told(monkeypatch, VirtualCoordinator, "feed", feed)
    told(monkeypatch, Tasks, "do_ahead", lambda _, deliveries: had.extend(deliveries))
    link = Link(loss=0.2, duplication=0.2, latency=Duration(1))
    group = Group(name="all", devices=6, speed=50.0, link=link)
    results = ran(tables(groups=(group,)))

    totals = results.totals
    on_its_way = totals.messages + totals.repeated_messages - totals.lost_messages
    assert min(totals.lost_messages, totals.repeated_messages) > 5
    assert 0 <= on_its_way - len(fed) - len(had) <= 6


def test_a_healthy_fleet_records_all_refuses_nothing_and_learns() -> None:
    results = ran(streams())

    assert results.totals.records == 4 * (7 * 24 + 1)
    assert (results.totals.updates_refused, results.totals.lost_messages) == (0, 0)
    assert results.totals.declined == sum(one.declined for one in results.listed)
    assert results.curve[-1].loss < results.curve[0].loss
    assert results.presence[-1].online == 4
    assert {one.online for one in results.listed} == {1.0}


def test_messages_keep_their_order_on_a_link_that_reorders_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: dict[str, list[list[int]]] = {}
    came: dict[str, list[int]] = {}
    kept: list[Any] = []

    def deliver(_: object, delivery: Any) -> None:
        assert not any(one.at_ms < delivery.at_ms for one in delivery.member.coming)

    def will_send(post: Post, time: int, member: Any, answer: Answer) -> None:
        entry = [time, 0]
        sent.setdefault(member.name, []).append(entry)

        def made() -> Any:
            kept.append(answer if isinstance(answer, e.Replied) else answer())
            entry[1] = id(kept[-1])
            return kept[-1]

        will(post, time, member, made)

    def feed(_: object, events: list[Any], now: int) -> None:
        for one in replies(events):
            came.setdefault(one.reply.device, []).append(id(one))

    will = Post.will_send
    told(monkeypatch, Engine, "_deliver", deliver)
    monkeypatch.setattr(Post, "will_send", will_send)
    told(monkeypatch, VirtualCoordinator, "feed", feed)
    link = Link(latency=Duration(20_000), jitter=2.0, poll=Duration(1_000))
    group = Group(name="all", devices=6, speed=5.0, link=link)
    pace = Rounds(pause=Duration(1_000), check_in=Duration(5_000))
    ran(tables(groups=(group,), federation=pace, length=HOUR))

    assert sum(map(len, came.values())) > 100
    for name, heard in came.items():
        order = sorted(sent[name], key=itemgetter(0))
        assert heard == [one for _, one in order[: len(heard)]]


# What happens to devices


def test_a_power_cut_loses_only_the_records_that_were_measured_meanwhile() -> None:
    start, length = Duration(50 * HOUR + 1), Duration(10 * HOUR)
    cut = Fault(kind="power-cut", start=start, length=length, share=0.5)

    whole, broken = ran(streams()), ran(streams(faults=(cut,)))

    assert whole.totals.records - broken.totals.records == 2 * 10
    missed = [one for one in broken.listed if one.online < 1]
    assert [one.online for one in missed] == [pytest.approx(1 - 10 / (7 * 24))] * 2


def test_of_two_power_cuts_that_overlap_the_later_end_counts() -> None:
    cuts = tuple(
        Fault(kind="power-cut", start=Duration(a * HOUR + 1), length=Duration(b * HOUR))
        for a, b in ((50, 10), (55, 15))
    )

    assert ran(streams()).totals.records - ran(streams(faults=cuts)).totals.records == 4 * 20


def test_of_two_outages_that_overlap_the_later_end_counts() -> None:
    outages = tuple(
        Outage(start=Duration(a * HOUR), length=Duration(b * HOUR)) for a, b in ((50, 10), (55, 15))
    )

    results = ran(streams(outages=outages))

    gone = [one for one in results.presence if one.online == 0]
    assert (gone[0].time_ms, results.totals.records) == (50 * HOUR, 4 * (7 * 24 + 1))
    back = next(one for one in results.presence if one.time_ms > gone[0].time_ms and one.online)
    assert back.time_ms == 70 * HOUR


@pytest.mark.parametrize("kind", ["crash", "power-cut"])
def test_a_training_that_is_interrupted_is_lost(kind: Any) -> None:
    slow = Group(name="all", devices=6, speed=0.5)  # two minutes for a training
    hit = Fault(kind=kind, start=Duration(30_000), length=Duration(1_000))
    told: dict[str, Any] = {"groups": (slow,), "length": Duration(3 * MINUTE)}

    whole, broken = ran(tables(**told)), ran(tables(**told, faults=(hit,)))

    assert whole.totals.device_rounds == 2
    assert broken.totals.device_rounds == 0
    training = {one.time_ms: one.training for one in broken.presence}
    assert training[30_000] == 0


def test_a_device_that_starts_again_goes_on_with_the_release_it_had() -> None:
    crash = Fault(kind="crash", start=Duration(5 * DAY))

    whole, broken = ran(streams()), ran(streams(faults=(crash,)))

    assert broken.totals.releases == whole.totals.releases
    assert broken.totals.declined == whole.totals.declined
    assert broken.totals.records == whole.totals.records
    assert all(one.served >= 0 for one in broken.served)


def test_nobody_hears_of_a_message_that_was_not_fetched_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = Outage(start=Duration(1), length=Duration(5 * HOUR))
    pace: dict[str, Any] = {"deadline": HOUR, "message_ttl": HOUR, "check_in": HOUR}
    looks = Link(poll=Duration(10 * MINUTE))
    asked: list[object] = []
    told(monkeypatch, Tasks, "hand", lambda _, delivery: asked.append(delivery))

    ran(
        tables(
            outages=(away,),
            length=Duration(5 * HOUR + 1),
            groups=(Group(name="all", devices=6, link=looks),),
            federation=Rounds(**pace),
        ),
    )

    assert asked == []


def test_devices_that_leave_measure_nothing_more() -> None:
    groups = (sensors("stays", 2), sensors("leaves", 2, leaves=Duration(3 * DAY)))

    results = ran(streams(groups=groups))

    assert results.totals.records == 2 * (7 * 24 + 1) + 2 * (3 * 24 + 1)
    assert results.presence[-1].online == 2


def test_late_labels_from_outside_are_learned_from() -> None:
    laboratory = Series(channels=3, horizon=HOUR, label_delay=Duration(3 * HOUR))

    results = ran(streams(data=laboratory))

    assert sum(one.labels for one in results.served) > 4 * 100
    assert results.totals.releases > 3


def test_who_has_too_little_charge_declines() -> None:
    weak = sensors(battery=Battery(capacity=40.0, charge=1.0))  # and a training takes 20 s and more

    assert ran(streams(groups=(weak,))).totals.declined > ran(streams()).totals.declined + 4


def test_devices_train_no_longer_than_their_budget() -> None:
    slow = Group(name="all", devices=6, speed=1.0)
    strategy = {"name": "fedprox", "proximal_mu": 0.1, "budget": "50s"}

    federation = Rounds(pause=MINUTE, check_in=MINUTE, batch=10)

    results = ran(tables(groups=(slow,), strategy=strategy, federation=federation))

    spans = [one.closed_ms - one.opened_ms for one in results.rounds if one.closed_ms is not None]
    assert results.totals.updates_accepted >= 6
    assert max(spans) < 62_000  # all rows would take it a minute and more


def test_updates_that_are_compressed_cost_fewer_bytes_and_are_merged() -> None:
    model = Model(kind="mlp", hidden=(64,), optimiser=OPTIMISER)
    plain = ran(tables(model=model))
    small = ran(tables(model=model, update=Updates(compression="int8")))

    assert small.totals.bytes_up < 0.6 * plain.totals.bytes_up
    assert small.totals.releases == plain.totals.releases
    assert small.curve[-1].loss == pytest.approx(plain.curve[-1].loss, rel=0.05)


# How a run ends


def test_a_run_ends_with_the_release_that_it_is_to_end_with() -> None:
    told: list[float] = []
    scenario = tables(length=DAY, releases=4)

    results = Engine(scenario, open_source(scenario)).run("scene", told.append)

    assert [one.sequence for one in results.releases] == [1, 2, 3, 4]
    assert results.length_ms == results.releases[-1].time_ms < 30 * MINUTE
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize("kind", ["sign-flip", "scaling", "zero", "nan", "label-flip", "colluding"])
def test_attackers_of_each_kind_take_part(kind: Any) -> None:
    attackers = (Attacker(kind=kind, share=0.34, strength=3.0),)

    honest, attacked = ran(tables()), ran(tables(attackers=attackers))

    (attack,) = attacked.attacks
    assert (attack.kind, attack.devices) == (kind, 2)
    assert attack.sent == attack.refused + attack.accepted > 4
    assert attacked.totals.false_refusals == 0
    if kind == "nan":
        assert attack.accepted == 0
    elif kind != "scaling":
        assert attacked.curve[-1].loss > honest.curve[-1].loss


def test_an_attack_begins_when_it_begins() -> None:
    late = ran(
        tables(attackers=(Attacker(kind="label-flip", share=0.5, start=Duration(11 * MINUTE)),))
    )
    honest = ran(tables())

    ours, theirs = ([one.loss for one in results.curve][:4] for results in (late, honest))
    assert ours == theirs
    assert late.attacks[0].sent < honest.totals.device_rounds / 4


def test_the_groups_of_a_scenario_are_those_of_the_gates_rule() -> None:
    scene = tables(
        groups=(
            Group(name="north", devices=3, speed=50.0),
            Group(name="south", devices=3, speed=50.0),
        ),
        gate=Gate(tolerance=1.0, worst_group_tolerance=10.0, group_devices=3),
    )
    words = [one.words for one in ran(scene).rounds if one.outcome == "released"]
    assert words
    assert all("no group is worse than allowed (north, south)" in one for one in words)
