"""A scenario goes by as fast as real programs can follow, and says where they cannot."""

from __future__ import annotations

from headwater.settings import Duration
from headwater_coordinator.settings import Buffered, Gate, Rounds
from headwater_simulator.live.pace import (
    DEVICE_RECORDS_PER_S,
    PATIENCE_S,
    PATIENCE_S_PER_DEVICE,
    RECORDS_PER_S,
    paced,
    usual_speed,
)
from headwater_simulator.scenario.settings import DAY, HOUR, Group, Scenario, Series


def scenario(how: Rounds | Buffered, devices: int, days: int = 30) -> Scenario:
    return Scenario(
        length=Duration(days * DAY),
        data=Series(),
        groups=(Group(name="all", devices=devices),),
        federation=how,
    )


def test_records_bound_the_speed_of_one_device_and_of_all() -> None:
    few = usual_speed(scenario(Buffered(), 4), HOUR)
    many = usual_speed(scenario(Buffered(), 50), HOUR)

    assert few == 3600 * DEVICE_RECORDS_PER_S
    assert many == 3600 * RECORDS_PER_S / 50


def test_a_round_has_time_before_the_next_one() -> None:
    daily = usual_speed(scenario(Rounds(pause=DAY), 4), HOUR)
    twice = usual_speed(scenario(Rounds(pause=Duration(DAY // 2)), 4), HOUR)

    assert daily == 2 * twice
    assert 4 < 86_400 / daily < 10


def test_no_scenario_takes_more_than_an_hour() -> None:
    assert usual_speed(scenario(Rounds(pause=Duration(0)), 4, days=365), HOUR) == 365 * 24
    assert usual_speed(scenario(Buffered(), 4, days=0), Duration(10)) == 1.0


def test_durations_are_divided_as_far_as_programs_follow_and_the_rest_is_said() -> None:
    how, gate, words = paced(
        Rounds(pause=DAY, deadline=DAY, check_in=HOUR), Gate(), speed=8_640, devices=4
    )

    assert isinstance(how, Rounds)
    assert how.pause == 10_000
    assert how.deadline == gate.deadline == PATIENCE_S * 1000
    assert how.check_in == 5_000
    assert how.message_ttl >= how.deadline
    said = {one.split()[0] for one in words}
    assert said == {
        "federation.deadline",
        "federation.check_in",
        "federation.backoff",
        "federation.message_ttl",
        "gate.deadline",
    }
    assert "federation.check_in is 5s, which is 12h of the scenario in the place of 1h" in " ".join(
        words
    )


def test_of_many_devices_each_has_its_turn_before_a_deadline() -> None:
    how, gate, _ = paced(Rounds(pause=DAY, deadline=DAY), Gate(), speed=86_400, devices=40)

    assert isinstance(how, Rounds)
    assert how.deadline == gate.deadline == PATIENCE_S_PER_DEVICE * 40 * 1000


def test_at_the_real_speed_nothing_changes_and_nothing_is_said() -> None:
    how, gate = Buffered(), Gate()

    assert paced(how, gate, speed=1, devices=4) == (how, gate, [])
