"""When a device is connected and looks for messages, how fast it is, what its battery allows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.settings import Duration
from headwater_simulator.scenario.settings import (
    DAY,
    HOUR,
    Attacker,
    Battery,
    Duty,
    Group,
    Link,
    Scenario,
    Synthetic,
)
from headwater_simulator.virtual.member import (
    Charge,
    Device,
    Member,
    choose_attackers,
    draw_skew,
    draw_speed,
    named,
    numbers,
)

WEEK = 7 * DAY


def member(phase: float = 0.0, **group: Any) -> Member:
    return Member(
        number=0,
        name="one",
        group=Group(name="all", devices=1, **group),
        device=cast("Device", None),
        speed=10.0,
        skew=0,
        phase=phase,
    )


def spans(one: Member, until: int) -> list[tuple[int, int]]:
    """When it is connected."""
    events = list(one.connections(until))
    assert [comes for _, comes in events] == [k % 2 == 0 for k in range(len(events))]
    times = [time for time, _ in events] + [until] * (len(events) % 2)
    return list(zip(times[::2], times[1::2], strict=True))


# Connections


def test_by_default_a_device_is_always_connected() -> None:
    assert list(member().connections(10)) == [(0, True)]


def test_a_device_comes_when_it_joins_and_goes_when_it_leaves() -> None:
    one = member(joins=Duration(5), leaves=Duration(20))

    assert list(one.connections(100)) == [(5, True), (20, False)]
    assert list(one.connections(20)) == [(5, True)]


def test_a_duty_goes_on_and_off_from_its_phase_on() -> None:
    duty = Duty(on=Duration(6), off=Duration(4))

    assert spans(member(duty=duty), 24) == [(0, 6), (10, 16), (20, 24)]
    assert spans(member(0.5, duty=duty), 24) == [(0, 1), (5, 11), (15, 21)]
    assert spans(member(0.7, duty=duty), 24) == [(3, 9), (13, 19), (23, 24)]


def test_who_leaves_while_its_duty_is_on_goes() -> None:
    one = member(duty=Duty(on=Duration(50), off=Duration(4)), leaves=Duration(20))

    assert list(one.connections(30)) == [(0, True), (20, False)]


def test_at_weekends_it_is_off_where_it_has_none() -> None:
    one = member(duty=Duty(weekends=False))

    assert spans(one, 2 * WEEK) == [(0, 5 * DAY), (7 * DAY, 12 * DAY)]


def test_a_duty_and_free_weekends_go_together() -> None:
    one = member(duty=Duty(on=Duration(4 * DAY), off=Duration(2 * DAY), weekends=False))

    assert spans(one, 2 * WEEK) == [(0, 4 * DAY), (7 * DAY, 10 * DAY)]


@st.composite
def on_duty(draw: st.DrawFn) -> Member:
    """A device with a duty that joins and may leave."""
    joins, stays = draw(st.integers(0, 100)), draw(st.none() | st.integers(1, 100))
    return member(
        draw(st.floats(0, 0.999)),
        duty=Duty(on=Duration(draw(st.integers(1, 40))), off=Duration(draw(st.integers(0, 40)))),
        joins=Duration(joins),
        leaves=None if stays is None else Duration(joins + stays),
    )


@given(on_duty(), st.integers(1, 200))
def test_spans_follow_each_other_within_what_is_said(one: Member, until: int) -> None:
    group, found = one.group, spans(one, until)
    last = until if group.leaves is None else min(group.leaves, until)

    for start, end in found:
        assert group.joins <= start < end <= last
        assert end - start <= (group.duty.on if group.duty.off else until)
    for (_, end), (start, _) in pairwise(found):
        assert start - end == group.duty.off
    if last - group.joins > group.duty.off:
        assert found


# Polls


@given(st.floats(0, 0.999), st.integers(10, 10_000), st.integers(0, 10**9))
def test_it_looks_at_steady_moments_from_its_phase_on(phase: float, every: int, now: int) -> None:
    one = member(phase, link=Link(poll=Duration(every)))

    looks = one.looks(now)

    assert 0 <= looks - now <= every + 1
    polls = looks / every - phase
    assert polls == pytest.approx(round(polls), abs=1 / every)
    assert one.looks(looks + 1) == pytest.approx(looks + every, abs=1)


def test_it_looks_less_often_where_it_is_told_to() -> None:
    one = member(link=Link(poll=Duration(1_000)))
    assert (one.looks(1), one.looks(2_000)) == (1_000, 2_000)

    assert replace(one, poll_ms=5_000).looks(1) == 5_000
    assert replace(one, poll_ms=10).looks(1) == 1_000


# Rest


def test_it_rests_until_something_befalls_it() -> None:
    one = member()
    one.disturbed += [10, 20, 20]

    assert [one.undisturbed_until(now) for now in (0, 9, 10, 19, 20)] == [10, 10, 20, 20, inf]


def test_power_is_back_when_the_last_cut_is_over() -> None:
    one = member()
    assert one.powered
    one.unpowered += 2
    one.unpowered -= 1
    assert not one.powered


# Batteries


def test_a_battery_spends_what_it_has_and_is_charged_up_to_its_capacity() -> None:
    charge = Charge(Battery(capacity=10.0, charge=4.0), seconds=10.0)

    assert charge.spend(7, now=0)
    assert not charge.spend(7, now=HOUR - 1)
    assert charge.spend(7, now=HOUR + 1)
    assert charge.seconds == pytest.approx(0.0, abs=1e-2)
    assert not charge.spend(10.1, now=1_000 * HOUR)
    assert charge.spend(10, now=1_000 * HOUR)


def test_a_training_takes_its_rows_at_its_speed_and_a_delay() -> None:
    assert member(delay=Duration(1_500)).seconds(20) == 3.5


# What differs between devices


def test_speeds_and_clocks_differ_as_much_as_said() -> None:
    rng = np.random.default_rng(1)
    even = Group(name="all", devices=1, speed=7.0)
    uneven = Group(name="all", devices=1, speed=7.0, speed_spread=1.5)

    assert draw_speed(even, rng) == 7.0
    logs = np.log([draw_speed(uneven, rng) / 7 for _ in range(2_000)])
    assert np.mean(logs) == pytest.approx(0, abs=0.15)
    assert np.std(logs) == pytest.approx(1.5, rel=0.1)
    assert draw_skew(Duration(0), rng) == 0
    skews = [draw_skew(Duration(1_000), rng) for _ in range(2_000)]
    assert -1_000 <= min(skews) < -950 < 950 < max(skews) <= 1_000


def scenario(*attackers: Attacker) -> Scenario:
    return Scenario(
        length=DAY,
        data=Synthetic(),
        groups=(Group(name="a", devices=10), Group(name="b", devices=20)),
        attackers=attackers,
    )


def test_devices_are_numbered_and_named_through_their_groups() -> None:
    assert numbers(scenario(), ()) == list(range(30))
    assert numbers(scenario(), ("b",)) == list(range(10, 30))
    assert named(Group(name="roof", devices=3), 12) == "roof-00012"


def test_each_attacker_takes_its_share_of_its_groups_and_nobody_twice() -> None:
    flip = Attacker(kind="sign-flip", share=0.5)
    noise = Attacker(kind="noise", share=0.5, groups=("b",))

    found = choose_attackers(scenario(flip, noise), np.random.default_rng(1))

    kinds = {
        name: [i for i, one in found.items() if one.kind == name] for name in ("sign-flip", "noise")
    }
    assert len(kinds["sign-flip"]) == 15
    assert len(kinds["noise"]) <= 10
    assert set(kinds["noise"]) <= set(range(10, 30))
    assert len(found) == len(kinds["sign-flip"]) + len(kinds["noise"])
    assert choose_attackers(scenario(), np.random.default_rng(1)) == {}
