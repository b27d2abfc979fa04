"""Channels: what is trusted, what is doubted, and what settles a doubt."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from headwater_agent.guard.channel import Sensor
from headwater_agent.guard.look import Look
from headwater_agent.guard.moves import SHORTEST, STANDING, ChannelMoves, SavedMoves
from headwater_agent.guard.sizes import FEW
from headwater_agent.units import conversion
from tests.agent.model import MINUTE

SENSOR = Sensor(minimum=-50, maximum=60, period=MINUTE, gap=10 * MINUTE)


def take(moves: ChannelMoves, value: float, time: int) -> Look:
    """Look at a value and trust it, however far it moved."""
    look = moves.look(time, [value])
    look.ordinary += [one.place for one in look.unusual]
    moves.trust(look)
    return look


def calm(sensor: Sensor = SENSOR, minutes: int = 200) -> tuple[ChannelMoves, int]:
    """A channel that moves by about half a degree, and the time of its next value."""
    moves, rng = ChannelMoves([sensor], stuck=8), np.random.default_rng(0)
    levels = 20 + np.cumsum(rng.choice([-0.5, 0.5], minutes)) % 2
    for minute, value in enumerate(levels.tolist()):
        take(moves, value, minute * MINUTE)
    moves.renew(fade=False)
    return moves, minutes * MINUTE


def surprise(moves: ChannelMoves, value: float, time: int) -> float:
    """How surprising a value is, 0 for an ordinary one."""
    look = moves.look(time, [value])
    return sum(one.surprise for one in look.unusual)


def confirmed(moves: ChannelMoves, value: float, time: int) -> bool:
    """Whether a value is unusual and shows that the doubted one was a new level."""
    look = moves.look(time, [value])
    return moves.confirming(look) == [0]


def doubt(moves: ChannelMoves, value: float, time: int) -> None:
    moves.doubt(moves.look(time, [value]), [0])


def test_an_ordinary_move_does_not_surprise_and_a_jump_does() -> None:
    moves, now = calm()
    assert surprise(moves, 20.5, now) == 0
    assert surprise(moves, 45.0, now) > 7


def test_what_was_learned_is_looked_at_once_it_is_renewed() -> None:
    moves, now = calm()
    for minute in range(100):
        take(moves, 20.0 + 20 * (minute % 2), now + minute * MINUTE)
    then = now + 100 * MINUTE
    assert surprise(moves, 20.0, then) > 7
    moves.renew(fade=False)
    assert surprise(moves, 20.0, then) == 0


def test_nothing_surprises_before_a_few_moves_are_known() -> None:
    moves, now = calm(minutes=FEW)
    assert surprise(moves, 60.0, now) == 0


def test_a_move_over_a_longer_silence_may_be_larger() -> None:
    moves, now = calm()
    at_once = surprise(moves, 24.0, now)
    assert surprise(moves, 24.0, now + 9 * MINUTE) < at_once


def test_after_a_gap_a_value_is_taken_as_it_comes() -> None:
    moves, now = calm()
    look = moves.look(now + 20 * MINUTE, [45.0])
    assert (look.begun, look.unusual, look.evidence) == ([0], [], 0)
    moves.trust(look)
    assert surprise(moves, 45.5, now + 21 * MINUTE) == 0


def test_a_second_value_near_the_doubted_one_confirms_a_new_level() -> None:
    moves, now = calm()
    assert not confirmed(moves, 45.0, now)
    doubt(moves, 45.0, now)
    look = moves.look(now + MINUTE, [45.5])
    assert moves.confirming(look) == [0]
    moves.settle(look, [0])
    assert surprise(moves, 46.0, now + 2 * MINUTE) == 0


def test_a_value_that_only_repeats_the_doubted_one_confirms_it_after_long() -> None:
    moves, now = calm()
    answers = []
    for minute in range(STANDING + 2):
        look = moves.look(now + minute * MINUTE, [45.0])
        answers.append(moves.confirming(look) == [0])
        moves.doubt(look, [0])
    assert answers == [False] * STANDING + [True] * 2


def test_a_doubt_ends_with_the_next_value_that_is_trusted() -> None:
    moves, now = calm()
    doubt(moves, 45.0, now)
    take(moves, 20.0, now + MINUTE)
    assert not confirmed(moves, 45.5, now + 2 * MINUTE)


def test_records_far_apart_are_compared_once_there_are_some() -> None:
    moves, now = calm()
    look, before = moves.look(now, [20.0]), moves.save().fresh
    moves.compare(look)
    assert moves.save().fresh == before
    moves.look_further_back()
    moves.look_further_back()
    moves.compare(look)
    assert sum(moves.save().fresh) == sum(before) + 1


def test_what_is_doubted_changes_nothing_that_was_learned() -> None:
    moves, now = calm()
    before = moves.save()
    counts, trusted = (before.counts, before.fresh), list(before.known.trusted)
    for minute in range(5):
        doubt(moves, 40.0 + minute * 4, now + minute * MINUTE)
    after = moves.save()
    assert (after.counts, after.fresh) == counts
    assert after.known.trusted == trusted


def test_a_sensor_that_used_to_move_and_stands_still_is_stuck() -> None:
    moves, now = calm()
    stuck = []
    for minute in range(8 * SHORTEST):
        look = take(moves, 20.0, now + minute * MINUTE)
        stuck.append(look.still == [0] and moves.is_stuck(0))
    assert not any(stuck[:SHORTEST])
    assert stuck[-1]


def test_a_channel_that_rests_for_long_again_and_again_is_not_stuck() -> None:
    moves, rng, time = ChannelMoves([SENSOR], stuck=8), np.random.default_rng(1), 0
    stuck = []
    for _ in range(40):
        for value in [0.0] * 50 + list(rng.uniform(1, 9, 3)):
            take(moves, value, time)
            stuck.append(moves.is_stuck(0))
            time += MINUTE
        moves.renew(fade=False)
    assert not any(stuck[1000:])


def test_a_value_in_another_unit_continues_the_channel_in_its_own() -> None:
    moves, now = calm(replace(SENSOR, foreign=(conversion("degF", "degC"),)))
    assert moves.comes_in_foreign_unit(moves.look(now, [68.5]), 0)
    assert not moves.comes_in_foreign_unit(moves.look(now + MINUTE, [45.0]), 0)
    assert surprise(moves, 20.5, now + 2 * MINUTE) == 0


def test_what_no_working_sensor_means_is_in_no_other_unit() -> None:
    """Else a value in range might then move further than the whole range."""
    sensor = replace(SENSOR, foreign=(conversion("degF", "degC"),))
    moves = ChannelMoves([sensor], stuck=8)
    for minute in range(64):
        take(moves, 60.0 * (minute % 2), minute * MINUTE)
    moves.renew(fade=False)
    fits, beyond = (moves.look(64 * MINUTE, [value]) for value in (131.0, 149.0))
    assert not moves.comes_in_foreign_unit(beyond, 0)
    assert moves.comes_in_foreign_unit(fits, 0)


def test_evidence_is_measured_from_the_trusted_the_one_before_and_the_doubted() -> None:
    moves, now = calm()
    for minute, value in enumerate((20.0, 40.0)):
        take(moves, value, now + minute * MINUTE)
    look = moves.look(now + 2 * MINUTE, [20.5])
    assert moves.evidence_since_before(look) > look.evidence
    assert moves.evidence_since_doubted(look) == 0
    moves.doubt(look, [0])
    assert moves.evidence_since_doubted(moves.look(now + 3 * MINUTE, [21.0])) > 0
    assert moves.evidence_since_doubted(moves.look(now + 3 * MINUTE, [20.5])) == 0


def test_a_time_that_was_spoken_of_is_late() -> None:
    moves, now = calm()
    assert moves.look(now - MINUTE, [20.0]).measured == 0
    assert moves.look(now, [40.0]).measured == 1
    doubt(moves, 40.0, now)
    assert moves.look(now, [20.0]).measured == 0


def test_a_restart_goes_on_exactly_there() -> None:
    moves, now = calm()
    moves.look_further_back()
    doubt(moves, 40.0, now)
    again = ChannelMoves([SENSOR], stuck=8)
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(moves.save()), type=SavedMoves))
    for one in (moves, again):
        look = one.look(now + MINUTE, [40.5])
        assert one.confirming(look) == [0]
        one.settle(look, [0])
    assert msgspec.msgpack.encode(again.save()) == msgspec.msgpack.encode(moves.save())


def test_what_is_of_other_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="not of 2 channels"):
        ChannelMoves([SENSOR] * 2, stuck=8).restore(calm()[0].save())
