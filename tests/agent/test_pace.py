from __future__ import annotations

from math import inf

from headwater_agent.pace import MOST, Pace


def pace(every_s: float = 1.0, messages: int = 10, budget_s: float = 0.02) -> Pace:
    return Pace(every_s=every_s, messages=messages, budget_s=budget_s)


def test_what_came_waits_no_longer_than_it_may() -> None:
    keeping = pace()
    keeping.arrived(1, now=5.0)
    keeping.arrived(1, now=5.5)
    assert keeping.rest(5.75) == 0.75
    assert not keeping.settles(6.25, fresh=False)
    assert keeping.settles(6.5, fresh=False)
    assert not keeping.settles(9.0, fresh=False)


def test_where_more_comes_it_is_settled_behind_that() -> None:
    keeping = pace()
    keeping.arrived(1, now=5.0)
    keeping.arrived(1, now=5.75)
    assert not keeping.settles(5.75, fresh=True)
    keeping.arrived(1, now=6.0)
    assert keeping.settles(6.0, fresh=True)
    assert not keeping.settles(6.0, fresh=True)


def test_many_messages_do_not_wait() -> None:
    keeping = pace(messages=10)
    keeping.arrived(9, now=5.0)
    assert not keeping.settles(5.0, fresh=True)
    keeping.arrived(1, now=5.0)
    assert keeping.settles(5.0, fresh=False)
    assert not keeping.settles(5.0, fresh=True)


def test_so_many_are_not_let_wait_that_those_after_them_would() -> None:
    keeping = pace(messages=10 * MOST)
    keeping.arrived(MOST - 1, now=5.0)
    assert not keeping.settles(5.0, fresh=True)
    keeping.arrived(1, now=5.0)
    assert keeping.settles(5.0, fresh=True)


def test_where_nothing_waits_there_is_no_hurry() -> None:
    assert pace().rest(7.0) == inf
    assert not pace().settles(7.0, fresh=False)


def test_as_many_batches_are_learned_as_fit_the_budget() -> None:
    keeping = pace(budget_s=0.02)
    assert keeping.batches == 1
    keeping.learned(2, seconds=0.004)
    assert keeping.batches == 10
    for _ in range(50):
        keeping.learned(1, seconds=0.1)
    assert keeping.batches == 1
    keeping.learned(0, seconds=0.0)
    assert keeping.batches == 1
