"""One channel: what is trusted, what is doubted, and what settles a doubt."""

from __future__ import annotations

import msgspec
import numpy as np

from headwater_agent.guard.channel import (
    FEW,
    ORDINARY,
    SHORTEST,
    STANDING,
    ChannelMoves,
    SavedChannel,
    Sensor,
    sensors,
)
from headwater_agent.units import conversion
from tests.agent.model import MINUTE, manifest

SENSOR = Sensor(minimum=-50, maximum=60, period=MINUTE, gap=10 * MINUTE)


def calm(sensor: Sensor = SENSOR, minutes: int = 200) -> tuple[ChannelMoves, int]:
    """A channel that moves by about half a degree, and the time of its next value."""
    channel, rng = ChannelMoves(sensor), np.random.default_rng(0)
    levels = 20 + np.cumsum(rng.choice([-0.5, 0.5], minutes)) % 2
    for minute, value in enumerate(levels.tolist()):
        channel.look(value, minute * MINUTE, 8)
        channel.trust(value, minute * MINUTE)
    return channel, minutes * MINUTE


def test_a_manifest_says_ranges_as_records_round_them() -> None:
    level = sensors(manifest(max_gap=3))[0]
    assert (level.minimum, level.maximum, level.gap) == (0, 10, 3 * MINUTE)
    assert level.ordered
    assert {round(convert(1000.0), 3) for convert in level.foreign} >= {1.0, 10.0}


def test_an_ordinary_move_does_not_surprise_and_a_jump_does() -> None:
    channel, now = calm()
    assert channel.look(20.5, now, 8) == 0
    assert channel.look(45.0, now, 8) > 7


def test_nothing_surprises_before_a_few_moves_are_known() -> None:
    channel, now = calm(minutes=FEW)
    assert channel.look(60.0, now, 8) == 0


def test_a_move_over_a_longer_silence_may_be_larger() -> None:
    channel, now = calm()
    at_once = channel.look(24.0, now, 8)
    assert channel.look(24.0, now + 9 * MINUTE, 8) < at_once


def test_after_a_gap_a_value_is_taken_as_it_comes() -> None:
    channel, now = calm()
    assert channel.look(45.0, now + 20 * MINUTE, 8) == 0
    assert channel.evidence("trusted", 45.0, now + 20 * MINUTE) == 0


def test_a_second_value_near_the_doubted_one_confirms_a_new_level() -> None:
    channel, now = calm()
    surprise = channel.look(45.0, now, 8)
    assert not channel.confirms(45.0, now, surprise)
    channel.doubt(45.0, now)
    surprise = channel.look(45.5, now + MINUTE, 8)
    assert channel.confirms(45.5, now + MINUTE, surprise)
    channel.settle(45.5, now + MINUTE)
    assert channel.look(46.0, now + 2 * MINUTE, 8) == 0


def test_a_value_that_only_repeats_the_doubted_one_confirms_it_after_long() -> None:
    channel, now = calm()
    answers = []
    for minute in range(STANDING + 2):
        time = now + minute * MINUTE
        surprise = channel.look(45.0, time, 8)
        answers.append(channel.confirms(45.0, time, surprise))
        channel.doubt(45.0, time)
    assert answers == [False] * STANDING + [True] * 2


def test_what_is_doubted_changes_nothing_that_was_learned() -> None:
    channel, now = calm()
    before = channel.save()
    for minute in range(5):
        channel.look(40.0 + minute * 4, now + minute * MINUTE, 8)
        channel.doubt(40.0 + minute * 4, now + minute * MINUTE)
    assert (channel.save().sizes, channel.save().trusted) == (before.sizes, before.trusted)


def test_a_sensor_that_used_to_move_and_stands_still_is_stuck() -> None:
    channel, now = calm()
    stuck = []
    for minute in range(8 * SHORTEST):
        channel.look(20.0, now + minute * MINUTE, 8)
        channel.trust(20.0, now + minute * MINUTE)
        stuck.append(channel.is_stuck(8))
    assert not any(stuck[:SHORTEST])
    assert stuck[-1]


def test_a_channel_that_rests_for_long_again_and_again_is_not_stuck() -> None:
    channel, rng, time = ChannelMoves(SENSOR), np.random.default_rng(1), 0
    stuck = []
    for _ in range(40):
        for value in [0.0] * 50 + list(rng.uniform(1, 9, 3)):
            channel.look(value, time, 8)
            channel.trust(value, time)
            stuck.append(channel.is_stuck(8))
            time += MINUTE
    assert not any(stuck[1000:])


def test_a_value_in_another_unit_continues_the_channel_in_its_own() -> None:
    fahrenheit = conversion("degF", "degC")
    channel, now = calm(
        Sensor(minimum=-50, maximum=60, period=MINUTE, gap=10 * MINUTE, foreign=(fahrenheit,))
    )
    assert channel.comes_in_foreign_unit(68.5, now)
    assert not channel.comes_in_foreign_unit(45.0, now + MINUTE)
    assert channel.look(20.5, now + 2 * MINUTE, 8) == 0


def test_evidence_is_measured_from_the_trusted_the_one_before_and_the_doubted() -> None:
    channel, now = calm()
    for value in (40.0, 20.0):
        channel.look(value, now, 8)
        channel.trust(value, now)
    channel.look(40.5, now + MINUTE, 8)
    assert channel.evidence("before", 40.5, now + MINUTE) > channel.evidence(
        "trusted", 40.5, now + MINUTE
    )
    assert channel.evidence("doubted", 40.5, now + MINUTE) == 0
    channel.doubt(40.5, now + MINUTE)
    assert channel.evidence("doubted", 41.0, now + 2 * MINUTE) > 0
    assert channel.evidence("doubted", 40.5, now + 2 * MINUTE) == 0


def test_a_time_that_was_spoken_of_is_late() -> None:
    channel, now = calm()
    assert channel.is_late(now - MINUTE)
    assert not channel.is_late(now)
    channel.doubt(40.0, now)
    assert channel.is_late(now)


def test_a_restart_goes_on_exactly_there() -> None:
    channel, now = calm()
    channel.look_further_back()
    channel.doubt(40.0, now)
    again = ChannelMoves(SENSOR)
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(channel.save()), type=SavedChannel))
    for one in (channel, again):
        surprise = one.look(40.5, now + MINUTE, 8)
        assert surprise > ORDINARY
        assert one.confirms(40.5, now + MINUTE, surprise)
        one.settle(40.5, now + MINUTE)
    assert msgspec.msgpack.encode(again.save()) == msgspec.msgpack.encode(channel.save())
