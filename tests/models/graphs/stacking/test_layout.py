from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.stack import stack
from tests.models.graphs.gradients.cases import ints
from tests.models.graphs.gradients.test_layout import CASES
from tests.models.graphs.stacking.cases import agrees, assert_equal_to_a_loop
from tests.models.graphs.stacking.test_rule import graph_of

VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

test_a_stack_agrees_with_a_loop = agrees(CASES)


def test_a_matrix_is_made_of_rows_of_open_size() -> None:
    graph = Graph()
    y = graph.op("Flatten", graph.input("x", ("N", "K")), axis=0)
    assert_equal_to_a_loop(graph_of(y), ["x"], {"x": VALUES}, rtol=0)


def test_a_part_of_a_shape_is_that_of_a_member() -> None:
    graph = Graph()
    x = graph.input("x", ("N", 4))
    parts = [graph.op("Shape", x, start=-1), graph.op("Shape", x, end=1), graph.op("Shape", x)]
    assert_equal_to_a_loop(graph_of(*parts, x), ["x"], {"x": VALUES}, rtol=0)


def test_a_cut_may_name_no_axes() -> None:
    graph = Graph()
    y = graph.op("Slice", graph.input("x", (3, 4)), ints(1, 1), ints(3, 3))
    assert_equal_to_a_loop(graph_of(y), ["x"], {"x": VALUES}, rtol=0)


def test_a_size_of_zero_that_is_meant_is_refused() -> None:
    graph = Graph()
    y = graph.op("Reshape", graph.input("x", (4,)), ints(2, 2), allowzero=1)
    with pytest.raises(UnsupportedError, match="its allowzero is set"):
        stack(graph_of(y), ["x"])


@pytest.mark.parametrize("own", [{"fill"}, {"x", "fill"}])
@pytest.mark.parametrize("axes", [(), (ints(0, 1),)])
def test_each_member_may_fill_a_border_differently(
    own: set[str], axes: tuple[NDArray[np.int64], ...]
) -> None:
    graph = Graph()
    x, fill = graph.input("x", (3, 4)), graph.input("fill", ())
    y = graph.op("Pad", x, ints(1, -1, 0, 2), fill, *axes)
    feeds = {
        "x": VALUES if "x" in own else VALUES[0],
        "fill": np.array([7, np.nan], np.float32),
    }
    assert_equal_to_a_loop(graph_of(y), own, feeds, rtol=0)
