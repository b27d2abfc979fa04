"""Figures of load are medians over turns, of what came out, beside the peers that ran."""

from __future__ import annotations

import pytest

from benchmarks.agent import load
from benchmarks.agent.stage import Spent

TURNS = {
    "ours": [Spent(100, 0, 0.01, 0.02), Spent(100, 0, 0.02, 0.04), Spent(100, 0, 0.9, 9.0)],
    "naive_script": [Spent(100, 0, 0.4, 0.4)],
    "naive_river": [Spent(50, 50, 0.1, 0.5)],
    "mosquitto_sub": [Spent(100, 0, 0.001, 0.01)],
    "echo": [Spent(100, 0, 0.02, 0.08)],
}


def test_cpu_per_event_is_a_median_and_its_ratio_is_to_the_script() -> None:
    figure = load.cost(TURNS, load.NAIVE)
    assert figure.ours == pytest.approx(200)
    assert figure.peers == pytest.approx({"naive_script": 4_000, "naive_river": 2_000})
    assert figure.ratio == pytest.approx(20)
    assert figure.better == "lower"


def test_events_are_counted_by_the_clock_and_by_the_cpu() -> None:
    figures = load.events(TURNS, "events")
    clock, cpu = figures["events"], figures["events_cpu"]
    assert not isinstance(clock, float)
    assert not isinstance(cpu, float)
    assert [clock.ours, clock.ratio] == pytest.approx([2_500, 10])
    assert [cpu.ours, cpu.ratio] == pytest.approx([5_000, 20])
    assert clock.peers["naive_river"] == pytest.approx(100)


def test_what_was_lost_is_a_share_of_what_was_sent() -> None:
    turns = {**TURNS, "ours": [Spent(75, 25, 1, 1), Spent(100, 0, 1, 1)]}
    assert load.events(turns, "events")["events_lost"] == pytest.approx(0.125)


def test_beside_what_only_receives_or_answers_the_ratio_is_ours_divided_by_its() -> None:
    subscriber, echo = load.beside_floor(TURNS, "_qos1").items()
    assert (subscriber[0], echo[0]) == ("vs_mosquitto_sub_qos1", "vs_echo_qos1")
    assert not isinstance(subscriber[1], float)
    assert not isinstance(echo[1], float)
    assert subscriber[1].ratio == pytest.approx(0.25)
    assert echo[1].ratio == pytest.approx(2)


def test_a_client_that_could_not_run_is_left_out() -> None:
    turns = {side: found for side, found in TURNS.items() if side not in load.FLOOR}
    assert load.beside_floor(turns) == {}
