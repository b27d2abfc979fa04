"""Sizes of moves: what is likely in the stream, what to a stranger, and what nobody has seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.guard.sizes import BINS, FEW, MEMORY, ORDINARY, MoveSizes

places = st.integers(0, BINS - 1)


def learned(*near: int, far: tuple[int, ...] = ()) -> MoveSizes:
    """What the second of two channels did; the first one never said anything."""
    sizes = MoveSizes(2)
    for start, found in ((BINS, near), (3 * BINS, far)):
        for number, place in enumerate(found):
            sizes.fresh[start + place] += 1
            if number % 250 == 249:
                sizes.renew()
    sizes.renew()
    return sizes


def surprise(sizes: MoveSizes, place: int, within: float = 0.0) -> float:
    return sizes.surprise[BINS + place] + within * sizes.rise[BINS + place]


def evidence(sizes: MoveSizes, place: int) -> float:
    return sizes.evidence[BINS + place]


def test_surprise_is_the_logarithm_of_the_share_that_moved_as_far() -> None:
    sizes = learned(*[5] * 90, *[9] * 10)
    assert surprise(sizes, 9) == pytest.approx(math.log(101 / 10))
    assert surprise(sizes, 5) == pytest.approx(math.log(101 / 100))
    assert surprise(sizes, 8, 1.0) == surprise(sizes, 9)


def test_beyond_the_largest_move_the_share_falls_by_four_with_each_doubling() -> None:
    sizes = learned(*[5] * 100)
    assert surprise(sizes, 8) - surprise(sizes, 7) == pytest.approx(math.log(4))
    assert surprise(sizes, 19, 1.0) - surprise(sizes, 19) == pytest.approx(math.log(4))


def test_standing_still_is_no_move() -> None:
    rests, moves = learned(*[0] * 50, *[5] * 10), learned(*[5] * 10)
    assert surprise(rests, 5) == surprise(moves, 5)
    assert learned(*[0] * 50).known == [False, False]


def test_a_channel_is_known_after_a_few_moves() -> None:
    assert learned(*[5] * (FEW - 1)).known == [False, False]
    assert learned(*[5] * FEW).known == [False, True]


@given(st.lists(places, min_size=8).filter(any))
def test_surprise_grows_with_the_move(near: list[int]) -> None:
    sizes = learned(*near)
    levels = [surprise(sizes, at, part) for at in range(1, BINS) for part in (0.0, 0.5, 1.0)]
    assert levels == pytest.approx(sorted(levels))


@given(st.lists(places, max_size=200).filter(any))
def test_ordinary_is_the_last_bin_in_which_nothing_surprises(near: list[int]) -> None:
    sizes = learned(*near)
    last = sizes.ordinary[1] - BINS
    if sum(map(bool, near)) < FEW:
        assert last == BINS - 1
    else:
        assert surprise(sizes, last, 1.0) <= ORDINARY + 1e-9
        assert last == BINS - 1 or surprise(sizes, last + 1, 1.0) > ORDINARY


def test_usual_moves_speak_for_a_record_and_those_of_other_times_against_it() -> None:
    sizes = learned(*[5] * 200, far=(12,) * 200)
    assert evidence(sizes, 5) > 3
    assert evidence(sizes, 12) < -3


def test_before_anything_is_known_a_move_across_the_range_speaks_against_a_record() -> None:
    sizes = MoveSizes(2)
    assert evidence(sizes, BINS - 1) < -2
    assert evidence(sizes, 3) > 0


def test_a_move_as_likely_to_a_stranger_says_nothing() -> None:
    assert abs(evidence(learned(*[0] * 1000, far=(0,) * 1000), 0)) < 1


def test_what_is_fresh_waits_until_it_is_renewed() -> None:
    sizes = learned(*[5] * 100)
    before = (sizes.evidence, sizes.surprise, sizes.ordinary)
    sizes.fresh[BINS + 9] += 100
    assert (sizes.evidence, sizes.surprise, sizes.ordinary) == before
    sizes.renew()
    assert sizes.ordinary != before[2]


def test_what_was_learned_so_far_can_count_half() -> None:
    faded, half = learned(*[5] * 100), learned(*[5] * 50)
    faded.renew(fade=True)
    assert faded.surprise == half.surprise


@given(st.lists(places, max_size=50), st.lists(places, max_size=50), st.lists(places, max_size=50))
def test_what_was_saved_gives_the_same_answers(
    near: list[int], far: list[int], fresh: list[int]
) -> None:
    sizes, again = learned(*near, far=tuple(far)), MoveSizes(2)
    for place in fresh:
        sizes.fresh[place] += 1
    again.restore(*sizes.save())
    for _ in range(2):
        assert again.evidence == sizes.evidence
        assert again.surprise == sizes.surprise
        assert again.ordinary == sizes.ordinary
        sizes.renew()
        again.renew()


def test_memory_is_bounded_and_old_moves_fade() -> None:
    sizes = learned(*[3] * 3 * MEMORY, *[7] * 3 * MEMORY)
    assert np.frombuffer(sizes.save()[0], np.uint16).sum() < MEMORY
    assert sizes.ordinary[1] - BINS >= 3


def test_counts_of_another_layout_are_refused() -> None:
    counts, fresh = MoveSizes(2).save()
    with pytest.raises(ValueError, match="80 counts of moves, not 120"):
        MoveSizes(3).restore(counts, fresh)
