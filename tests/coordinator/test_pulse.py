"""Who hangs is found out, and who is merely slow is not started again and again."""

from __future__ import annotations

from headwater_coordinator.pulse import MISSES, MOST, STEADY, Pulse


def misses_until_it_hangs(pulse: Pulse) -> int:
    count = 0
    while not pulse.hangs:
        pulse.missed()
        count += 1
    return count


def test_a_few_questions_in_a_row_without_an_answer_are_a_hang() -> None:
    assert misses_until_it_hangs(Pulse()) == MISSES


def test_one_answer_is_enough_to_be_alive() -> None:
    pulse = Pulse()
    for _ in range(1_000):
        for _ in range(MISSES - 1):
            pulse.missed()
        pulse.answered()
        assert not pulse.hangs


def test_the_patience_doubles_with_each_restart_up_to_a_bound() -> None:
    pulse = Pulse()
    found = []
    for _ in range(7):
        found.append(misses_until_it_hangs(pulse))
        pulse.begin_anew()
        assert not pulse.hangs
        pulse.answered()
    assert found[:4] == [MISSES, 2 * MISSES, 4 * MISSES, 8 * MISSES]
    assert found[-1] == MOST


def test_a_server_that_answers_steadily_is_trusted_as_at_first() -> None:
    pulse = Pulse()
    misses_until_it_hangs(pulse)
    pulse.begin_anew()
    for _ in range(STEADY - 1):
        pulse.answered()
    assert misses_until_it_hangs(pulse) == 2 * MISSES
    pulse.begin_anew()
    for _ in range(STEADY):
        pulse.answered()
    assert misses_until_it_hangs(pulse) == MISSES
