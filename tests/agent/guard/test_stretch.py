"""Records measured all at once: what one look at a time finds."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.guard.channel import Sensor
from headwater_agent.guard.known import Known
from headwater_agent.guard.moves import COMPARED, ChannelMoves, SavedMoves
from headwater_agent.guard.sizes import MoveSizes
from headwater_agent.guard.stretch import NEXT, PAST, Stretch, bounds
from tests.agent.model import MINUTE

SENSORS = (
    Sensor(minimum=0, maximum=100, period=MINUTE, gap=10 * MINUTE),
    Sensor(minimum=-1e-3, maximum=2e-3, period=MINUTE, gap=10 * MINUTE),
)
CELL = 7.0


def trained(seed: int, records: int = 300) -> tuple[ChannelMoves, list[list[float]]]:
    """What some records have taught, and further ones."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_t(2, (records + 20, 2)) * rng.integers(0, 2, (records + 20, 2))
    walked = np.array([50, 5e-4]) + np.cumsum(steps * [0.1, 1e-6], axis=0)
    values = np.clip(walked, [0, -1e-3], [100, 2e-3])
    rows: list[list[float]] = values.tolist()
    moves = ChannelMoves(SENSORS, stuck=8)
    for minute, row in enumerate(rows[:records]):
        take(moves, minute, row)
        if minute % 100 == 99:
            moves.renew(fade=False)
    return moves, rows[records:]


def take(moves: ChannelMoves, minute: int, row: list[float]) -> list[int]:
    """Trust a record, and return the places of its moves."""
    look = moves.look(minute * MINUTE, row)
    look.ordinary += [one.place for one in look.unusual]
    moves.trust(look)
    return sorted(look.ordinary)


def stretch(moves: ChannelMoves, rows: list[list[float]], times: list[int]) -> Stretch:
    made = moves.stretch(times, np.array(rows).T.copy())
    made.weigh(0, len(rows), CELL)
    return made


def minutes(count: int, start: int = 300) -> list[int]:
    return [(start + minute) * MINUTE for minute in range(count)]


def copied(moves: ChannelMoves) -> ChannelMoves:
    again = ChannelMoves(SENSORS, stuck=8)
    again.restore(msgspec.convert(msgspec.to_builtins(moves.save()), SavedMoves))
    return again


@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_found_at_once_is_to_the_last_bit_what_is_found_one_by_one(seed: int) -> None:
    moves, rows = trained(seed)
    made = stretch(moves, rows, minutes(len(rows)))
    assert all(made.follows)
    for record, row in enumerate(rows):
        found, look = made.look(record, []), moves.look((300 + record) * MINUTE, row)
        assert (found.evidence, found.ordinary) == (look.evidence, look.ordinary)
        assert found.unusual == look.unusual
        assert made.unusual[NEXT][record] == len(look.unusual)
        if made.evidence[NEXT][record] > -math.inf:
            assert made.evidence[NEXT][record] == look.evidence
        assert take(moves, 300 + record, row) == sorted(made.places[NEXT, :, record].tolist())


@given(seed=st.integers(0, 2**32 - 1))
def test_so_it_is_where_nothing_was_learned_of_the_record_before(seed: int) -> None:
    moves, rows = trained(seed)
    made = stretch(moves, rows, minutes(len(rows)))
    for record in range(1, len(rows)):
        alone = copied(moves)
        alone.doubt_unusual(made, record - 1)
        look = alone.look((300 + record) * MINUTE, rows[record])
        confirming = alone.confirming(look)
        unusual = [one.channel for one in look.unusual]
        if made.evidence[PAST][record] > -math.inf:
            assert made.evidence[PAST][record] == look.evidence
            before = [rows[record - 1 - (c not in confirming)][c] for c in range(2)]
            assert record == 1 or made.before(record, past=True) == before
            assert made.unusual[PAST][record] == len(unusual) - len(confirming)
        places = sorted([*look.ordinary, *(one.place for one in look.unusual)])
        assert sorted(made.places[PAST, :, record].tolist()) == places
        take(moves, 300 + record - 1, rows[record - 1])


@pytest.mark.parametrize("gap", [MINUTE, 2 * MINUTE])
def test_nothing_is_measured_past_a_record_over_a_gap(gap: int) -> None:
    known = Known([50.0], [0], [50.0], [50.0], [50.0], [0], [0])
    of = bounds((Sensor(minimum=0, maximum=100, period=MINUTE, gap=gap),))
    times = [MINUTE, 2 * MINUTE, int(2.5 * MINUTE), 3 * MINUTE]
    made = Stretch(times, np.full((1, 4), 50.0), known, of, MoveSizes(1))
    made.weigh(0, 4, CELL)
    measured = [evidence > -math.inf for evidence in made.evidence[PAST]]
    assert measured == [False, *(3 * [True] if gap > MINUTE else [False, False, True])]


def test_the_first_record_does_not_follow_what_is_not_trusted_whole() -> None:
    known = Known([50.0, math.nan], [0, 0], [50.0] * 2, [50.0] * 2, [50.0] * 2, [0] * 2, [0] * 2)
    known.trusted_at[1] -= 10 * MINUTE
    made = Stretch(minutes(2, start=1), np.full((2, 2), 1e-3), known, bounds(SENSORS), MoveSizes(2))
    made.weigh(0, 2, CELL)
    assert made.follows == [False, True]
    assert made.evidence[PAST] == [-math.inf] * 2


def test_what_comes_late_or_is_beyond_its_range_follows_nothing_and_so_does_what_comes_next() -> (
    None
):
    moves, rows = trained(1)
    rows[4] = [101.0, 0.0]
    rows[8] = [math.nan, 0.0]
    times = minutes(20)
    times[12:] = [time + MINUTE for time in times[12:]]
    times[16] = times[15]
    made = stretch(moves, rows, times)
    astray = [record for record in range(20) if not made.follows[record]]
    assert astray == [4, 5, 8, 9, 12, 16, 17]
    assert {made.evidence[NEXT][record] for record in astray} == {-math.inf}
    assert {made.evidence[PAST][record] for record in [0, *astray, 6, 10, 13, 18]} == {-math.inf}


def test_a_record_with_a_move_that_surprises_too_much_needs_a_closer_look() -> None:
    moves, rows = trained(2)
    rows[6][0] = 90.0
    made = stretch(moves, rows, minutes(20))
    assert made.surprising(6)[0] == 0
    assert len(made.surprising(6)) == made.unusual[NEXT][6]
    assert made.evidence[NEXT][6] == -math.inf


def test_channels_that_repeat_their_value_are_told() -> None:
    moves, rows = trained(3)
    rows[5:] = [[50.0, minute * 1e-5] for minute in range(15)]
    made = stretch(moves, rows, minutes(20))
    assert [made.still[NEXT][record] for record in range(6, 20)] == [[0]] * 14
    assert [made.still[PAST][record] for record in range(7, 20)] == [[0]] * 13


def test_bounds_are_those_of_the_channels() -> None:
    of = bounds(SENSORS)
    assert of.hold(np.array([[0.0, 100.0, 101.0], [0.0, 0.003, 0.0]])).tolist() == [
        True,
        False,
        False,
    ]
    moves = np.array([[0.0, 100.0, 1e-9], [3e-3, 0.0, 1e-3]])
    assert of.places(moves, np.frexp(moves)[1]).tolist() == [[0, 19, 1], [39, 20, 38]]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_counts_are_those_of_the_records_one_by_one(count: int) -> None:
    moves, rows = trained(4)
    again, _ = trained(4)
    made = stretch(moves, rows, minutes(len(rows)))
    moves.count(made, 0, (bytearray([1] * count), bytearray(count)), 1)
    moves.go_on(made, count - 1, past=False)
    for record in range(count):
        take(again, 300 + record, rows[record])
    assert moves.save().fresh == again.save().fresh
    assert moves.save().known.trusted == again.save().known.trusted
    assert moves.save().known.before == again.save().known.before


@given(seed=st.integers(0, 2**32 - 1), record=st.integers(1, 19), number=st.integers(1, 8))
def test_counts_past_a_record_are_those_of_the_two_one_by_one(
    seed: int, record: int, number: int
) -> None:
    moves, rows = trained(seed)
    for minute in range(record - 1):
        take(moves, 300 + minute, rows[minute])
        moves.look_further_back()
    again = copied(moves)
    start = record - 1
    made = moves.stretch(minutes(2, 300 + start), np.array(rows[start : start + 2]).T.copy())
    made.weigh(0, 2, CELL)
    moves.count(made, 0, (bytearray(2), bytearray([0, 1])), number)
    moves.go_on(made, 1, past=True)
    look = again.look((300 + start) * MINUTE, rows[start])
    again.doubt(look, [one.channel for one in look.unusual])
    look = again.look((300 + record) * MINUTE, rows[record])
    confirming = again.confirming(look)
    look.ordinary += [one.place for one in look.unusual if one.channel not in confirming]
    again.settle(look, confirming)
    again.trust(look)
    if (number + 1) % COMPARED == 0:
        again.compare(look)
    found, expected = moves.save(), again.save()
    assert found.fresh == expected.fresh
    assert found.doubts == expected.doubts == {}
    for name in ("trusted", "trusted_at", "before"):
        assert getattr(found.known, name) == getattr(expected.known, name)


def test_what_surprises_is_doubted_as_one_by_one() -> None:
    moves, rows = trained(5)
    again, _ = trained(5)
    rows[0] = [90.0, -1e-3]
    moves.doubt_unusual(stretch(moves, rows, minutes(20)), 0)
    look = again.look(300 * MINUTE, rows[0])
    again.doubt(look, [one.channel for one in look.unusual])
    encoded = [msgspec.msgpack.encode(one.save().doubts) for one in (moves, again)]
    assert encoded[0] == encoded[1]
    assert list(moves.save().doubts) == [0, 1]
