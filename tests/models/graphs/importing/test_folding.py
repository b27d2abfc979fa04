"""Chains of operators on shapes are followed, the number of rows as a name."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from headwater_models.graphs.importing import folding
from headwater_models.graphs.importing.folding import fold, sizes_of, solved
from headwater_models.graphs.sizes import Size

SHAPE = sizes_of(["N", 6, 3])


@pytest.mark.parametrize(
    ("operator", "inputs", "expected"),
    [
        ("Gather", [SHAPE, [0]], ["N"]),
        ("Concat", [SHAPE, [7]], ["N", 6, 3, 7]),
        ("Slice", [SHAPE, [1], [2**63 - 1]], [6, 3]),
        ("Slice", [SHAPE, [0], [3], [0], [2]], ["N", 3]),
        ("Mul", [SHAPE, [2]], ["2*N", 12, 6]),
        ("Div", [sizes_of(["6*N"]), [3]], ["2*N"]),
        ("Add", [SHAPE, SHAPE], ["2*N", 12, 6]),
        ("Sub", [SHAPE, SHAPE], [0, 0, 0]),
        ("Reshape", [SHAPE, [3]], ["N", 6, 3]),
        ("Cast", [SHAPE], ["N", 6, 3]),
    ],
)
def test_sizes_are_followed_through(operator: str, inputs: list[object], expected: object) -> None:
    found = fold(operator, [np.asarray(value, object) for value in inputs])
    assert found is not None
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [("Mul", [SHAPE, SHAPE]), ("Div", [SHAPE, np.array([2], object)]), ("Mod", [SHAPE, SHAPE]),
     ("Add", [SHAPE, None])],
)  # fmt: skip
def test_what_is_not_known_is_not_guessed(operator: str, inputs: list[folding.Sizes]) -> None:
    assert fold(operator, inputs) is None


@pytest.mark.parametrize(
    ("shape", "target", "expected"),
    [
        (("N", 6, 3), (-1, 18), ["N", 18]),
        (("2*N", 3), ("N", -1), ["N", 6]),
        (("N", "M"), (-1, 3), [-1, 3]),
    ],
)
def test_the_size_that_is_left_is_solved_for(
    shape: list[Size], target: list[Size], expected: list[Size]
) -> None:
    assert solved(shape, target) == expected


def test_the_examples_hold() -> None:
    assert doctest.testmod(folding).failed == 0
