from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.events import Example
from headwater_agent.kept import Kept


def example(number: int) -> Example:
    """Differs in everything from that of another number."""
    window = np.full((2, 1), number, np.float32)
    return Example(number, f"tank-{number % 3}", 10 * number, window, number / 2, number % 4 == 0)


def plain(made: Example) -> tuple[Any, ...]:
    window = made.window.tolist()
    return made.sequence, made.stream, made.time, window, made.label, made.reserved


numbers = st.lists(st.integers(0, 99), max_size=12)


@given(numbers)
def test_what_is_laid_out_in_columns_can_be_read_one_by_one(some: list[int]) -> None:
    made = list(map(example, some))
    columns = Kept.of(made)
    assert len(columns) == len(made)
    assert list(map(plain, columns)) == list(map(plain, made))
    assert [plain(columns[i]) for i in range(len(made))] == list(map(plain, made))
    assert Kept.of(columns) is columns


@given(st.lists(numbers, max_size=5))
def test_pieces_are_joined_in_their_order(pieces: list[list[int]]) -> None:
    made = [list(map(example, piece)) for piece in pieces]
    joined = Kept.join([Kept.of(made[0]), *made[1:]] if made else [])
    assert list(map(plain, joined)) == [plain(one) for piece in made for one in piece]


def test_some_are_taken_in_the_order_given() -> None:
    columns = Kept.of(list(map(example, range(6))))
    taken = columns.take(np.array([4, 0, 5], np.intp))
    assert [one.sequence for one in taken] == [4, 0, 5]
    assert [one.label for one in columns[1:3]] == [0.5, 1.0]


def test_a_label_is_corrected_without_a_change_of_what_was_taken_before() -> None:
    columns = Kept.of(list(map(example, range(3))))
    before = columns[:]
    assert columns.correct(2, 7.0)
    assert not columns.correct(9, 7.0)
    assert (columns.labels.tolist(), before.labels.tolist()) == ([0, 0.5, 7], [0, 0.5, 1])


def test_windows_can_be_left_out() -> None:
    light = Kept.of(list(map(example, range(3)))).without_windows()
    assert [one.sequence for one in light] == [0, 1, 2]
    assert light.windows.nbytes == 0
