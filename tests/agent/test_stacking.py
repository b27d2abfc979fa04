from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater_agent.stacking import join, span, stack

TABLE = np.arange(24, dtype=np.float32).reshape(4, 2, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.bool_, np.int64])
def test_it_is_what_numpy_makes_of_them(dtype: type[np.generic]) -> None:
    stacked = stack(list(TABLE.astype(dtype)))
    assert stacked.dtype == dtype
    assert np.array_equal(stacked, TABLE.astype(dtype))


def test_arrays_that_lie_across_or_are_of_two_kinds_are_stacked_all_the_same() -> None:
    assert np.array_equal(stack(list(TABLE.swapaxes(1, 2))), TABLE.swapaxes(1, 2))
    mixed: list[NDArray[Any]] = [np.zeros(2, np.float32), np.ones(2, np.float64)]
    assert stack(mixed).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("count", [1, 4])
def test_what_is_stacked_is_apart_from_its_parts(count: int) -> None:
    parts = list(TABLE.copy())[:count]
    stack(parts)[:] = -1
    assert np.array_equal(parts, TABLE[:count])


def test_pieces_are_joined_and_the_only_one_is_as_it_was() -> None:
    assert np.array_equal(join([TABLE[:1], TABLE[1:]]), TABLE)
    assert join([TABLE]) is TABLE


@pytest.mark.parametrize(("places", "follow"), [([3, 4, 5], True), ([3, 5], False), ([], False)])
def test_places_that_follow_one_another_are_a_slice(places: list[int], follow: bool) -> None:
    made = span(np.array(places, np.intp))
    assert isinstance(made, slice) == follow
    assert np.arange(9)[made].tolist() == places
