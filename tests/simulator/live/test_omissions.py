"""What real processes cannot live is refused, or named."""

from __future__ import annotations

import pytest

from headwater.errors import UnsupportedError
from headwater.settings import Duration
from headwater_models.manifest import Schedule
from headwater_simulator.live.omissions import MOST_DEVICES, left_out, refuse
from headwater_simulator.scenario.settings import (
    DAY,
    Attacker,
    Battery,
    Data,
    Group,
    Link,
    Scenario,
    Series,
    Synthetic,
)
from headwater_simulator.sources.opening import open_source


def scenario(group: Group, data: Data | None = None, *attackers: Attacker) -> Scenario:
    return Scenario(
        length=DAY,
        data=data or Series(),
        groups=(group,),
        attackers=attackers,
    )


def said(wanted: Scenario) -> list[str]:
    return list(left_out(wanted, Schedule()))


def test_streams_of_some_tens_of_devices_are_taken() -> None:
    wanted = scenario(Group(name="all", devices=MOST_DEVICES))
    source = open_source(wanted)

    assert refuse(wanted, source) is source


def test_more_devices_are_refused_with_the_number() -> None:
    wanted = scenario(Group(name="all", devices=MOST_DEVICES + 1))

    with pytest.raises(UnsupportedError, match=r"50 devices at most, and the scenario has 51\."):
        refuse(wanted, open_source(wanted))


def test_tables_are_refused_because_they_have_no_stream() -> None:
    wanted = scenario(Group(name="all", devices=2), Synthetic())

    with pytest.raises(UnsupportedError, match=r'needs a stream.*data\.kind = "synthetic"'):
        refuse(wanted, open_source(wanted))


def test_what_every_run_leaves_out_is_said() -> None:
    (words,) = said(scenario(Group(name="all", devices=2)))

    assert "how long their links take" in words


def test_what_a_group_or_an_attacker_wants_is_named() -> None:
    group = Group(
        name="far",
        devices=2,
        speed=10.0,
        battery=Battery(capacity=1, charge=1),
        link=Link(loss=0.5, latency=Duration(1_000)),
    )
    _, of_group, of_attacker = said(scenario(group, None, Attacker(kind="nan")))

    assert of_group.endswith("group far: speed, battery, link.latency, link.loss.")
    assert "the nan attack" in of_attacker


def test_a_schedule_that_is_not_the_models_is_named() -> None:
    words = list(left_out(scenario(Group(name="all", devices=2)), Schedule(kind="linear", steps=9)))

    assert "agent.learn.schedule" in words[-1]
