from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater_models.graphs.expression import Graph
from headwater_models.graphs.tensor_types import Shape

END = np.array([2**63 - 1])


def ints(*values: int) -> NDArray[Any]:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("operator", "inputs", "shape"),
    [
        ("Reshape", [ints(-1, 12)], ("N", 12)),
        ("Reshape", [ints(0, -1)], ("N", 12)),
        ("Reshape", [ints(-1, 2, 2, 3)], ("N", 2, 2, 3)),
        ("Slice", [ints(0), END, ints(0)], ("N", 4, 3)),
        ("Slice", [ints(0, 1), ints(2**31 - 1, 3)], ("N", 2, 3)),
        ("Pad", [ints(1, 1), np.zeros((), np.float32), ints(1)], ("N", 6, 3)),
        ("Tile", [ints(1, 2, 1)], ("N", 8, 3)),
    ],
)
def test_the_number_of_rows_is_followed(
    operator: str, inputs: list[NDArray[Any]], shape: Shape
) -> None:
    graph = Graph()
    assert graph.op(operator, graph.input("x", ("N", 4, 3)), *inputs).shape == shape


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [
        ("Reshape", [ints(-1, 6)]),
        ("Reshape", [ints(-1)]),
        ("Slice", [ints(1), END, ints(0)]),
        ("Slice", [ints(0), END, ints(0), ints(2)]),
        ("Pad", [ints(0, 0, 0, 1, 0, 0)]),
        ("Tile", [ints(2, 1, 1)]),
    ],
)
def test_a_size_that_is_no_longer_the_number_of_rows_is_not(
    operator: str, inputs: list[NDArray[Any]]
) -> None:
    graph = Graph()
    assert graph.op(operator, graph.input("x", ("N", 4, 3)), *inputs).shape[0] != "N"


def test_a_target_that_is_computed_says_nothing() -> None:
    graph = Graph()
    x, target = graph.input("x", ("N", 4)), graph.input("target", (2,), np.int64)
    assert "N" not in graph.op("Reshape", x, target).shape
