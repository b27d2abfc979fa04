"""Sizes of moves: what is likely in the stream, what to a stranger, and what nobody has seen."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.guard.sizes import BINS, MEMORY, ORDINARY_SHARE, MoveSizes

places = st.integers(0, BINS - 1)


def learned(*near: int, far: tuple[int, ...] = ()) -> MoveSizes:
    sizes = MoveSizes()
    for place in near:
        sizes.learn(place)
    for place in far:
        sizes.learn_far(place)
    return sizes


def test_surprise_is_the_logarithm_of_the_share_that_moved_as_far() -> None:
    sizes = learned(*[5] * 90, *[9] * 10)
    assert sizes.surprise(9, 0.0) == pytest.approx(math.log(101 / 10))
    assert sizes.surprise(5, 0.0) == pytest.approx(math.log(101 / 100))


def test_beyond_the_largest_move_the_share_falls_by_four_with_each_doubling() -> None:
    sizes = learned(*[5] * 100)
    assert sizes.surprise(8, 0.0) - sizes.surprise(7, 0.0) == pytest.approx(math.log(4))


def test_standing_still_is_no_move() -> None:
    assert learned(*[0] * 50, *[5] * 10).moves == 10
    assert learned(*[0] * 50, *[5] * 10).surprise(5, 0.0) == learned(*[5] * 10).surprise(5, 0.0)


@given(st.lists(places, min_size=8).filter(any))
def test_surprise_grows_with_the_move(near: list[int]) -> None:
    sizes = learned(*near)
    levels = [sizes.surprise(at, part) for at in range(1, BINS - 1) for part in (0.0, 0.5)]
    assert levels == sorted(levels)


@given(st.lists(places, max_size=200).filter(any))
def test_ordinary_is_the_largest_bin_beyond_which_enough_moves_lie(near: list[int]) -> None:
    sizes, moves = learned(*near), [place for place in near if place]

    def beyond(place: int) -> int:
        return sum(move > place for move in moves)

    least = ORDINARY_SHARE * len(moves)
    assert sizes.ordinary == 0 or beyond(sizes.ordinary) >= least
    assert sizes.ordinary == BINS - 1 or beyond(sizes.ordinary + 1) < least


def test_usual_moves_speak_for_a_record_and_those_of_other_times_against_it() -> None:
    sizes = learned(*[5] * 200, far=(12,) * 200)
    assert sizes.evidence(5) > 3
    assert sizes.evidence(12) < -3


def test_before_anything_is_known_a_move_across_the_range_speaks_against_a_record() -> None:
    sizes = MoveSizes()
    assert sizes.evidence(BINS - 1) < -2
    assert sizes.evidence(3) > 0


def test_a_move_as_likely_to_a_stranger_says_nothing() -> None:
    sizes = learned(*[0] * 1000, far=(0,) * 1000)
    assert abs(sizes.evidence(0)) < 1


@given(st.lists(places, max_size=50), st.lists(places, max_size=50))
def test_what_was_saved_gives_the_same_answers(near: list[int], far: list[int]) -> None:
    sizes, again = learned(*near, far=tuple(far)), MoveSizes()
    again.restore(sizes.save())
    assert again.moves == sizes.moves
    assert [again.evidence(p) for p in range(BINS)] == [sizes.evidence(p) for p in range(BINS)]


def test_memory_is_bounded_and_old_moves_fade() -> None:
    sizes = learned(*[3] * 3 * MEMORY, *[7] * 3 * MEMORY)
    assert sizes.moves <= MEMORY
    assert sizes.ordinary >= 3


def test_counts_of_another_layout_are_refused() -> None:
    with pytest.raises(ValueError, match="3 counts"):
        MoveSizes().restore(bytes(6))
