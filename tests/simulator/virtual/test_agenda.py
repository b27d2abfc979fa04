"""Things happen in the order of the clock; at one moment, in the order of their planning."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from headwater_simulator.virtual.agenda import Agenda


@given(st.lists(st.integers(0, 20), max_size=30))
def test_the_order_is_that_of_times_and_then_of_plans(times: list[int]) -> None:
    agenda = Agenda()
    happened: list[tuple[int, int]] = []
    clock = []
    for number, time in enumerate(times):
        agenda.at(time, partial(happened.append, (time, number)))

    while agenda.go_on(20, most=1):
        clock.append(agenda.now)

    assert happened == sorted((time, number) for number, time in enumerate(times))
    assert clock == sorted(times)


def test_what_is_planned_for_a_moment_that_is_over_happens_now_after_what_was_there() -> None:
    agenda = Agenda()
    happened: list[str] = []

    def first() -> None:
        happened.append("first")
        agenda.at(3, partial(happened.append, "late"))
        agenda.at(10, partial(happened.append, "now"))

    agenda.at(10, first)
    agenda.at(10, partial(happened.append, "second"))
    while agenda.go_on(10):
        pass

    assert happened == ["first", "second", "late", "now"]
    assert agenda.now == 10


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30), st.integers(0, 9))
def test_what_is_last_at_its_moment_happens_after_all_else_of_it(
    plans: list[tuple[int, bool]], until: int
) -> None:
    agenda = Agenda()
    happened: list[tuple[int, bool, int]] = []
    for number, (time, last) in enumerate(plans):
        plan = agenda.last_at if last else agenda.at
        plan(time, partial(happened.append, (time, last, number)))

    while agenda.go_on(until):
        pass

    due = [(time, last, number) for number, (time, last) in enumerate(plans) if time <= until]
    assert happened == sorted(due)


def test_when_it_is_over_nothing_more_happens() -> None:
    agenda = Agenda()
    happened: list[str] = []

    def last() -> None:
        happened.append("last")
        agenda.over = True

    agenda.at(10, last)
    agenda.at(10, partial(happened.append, "never"))

    assert not agenda.go_on(20)
    assert not agenda.go_on(20)
    assert (happened, agenda.now) == (["last"], 10)
