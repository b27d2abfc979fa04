from __future__ import annotations

import numpy as np
import pytest

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.stack import stack
from tests.models.graphs.gradients import test_convolution, test_pooling
from tests.models.graphs.stacking.cases import agrees, assert_equal_to_a_loop
from tests.models.graphs.stacking.test_rule import graph_of

CASES = test_convolution.CASES | test_pooling.CASES

test_a_stack_agrees_with_a_loop = agrees(CASES)


def test_places_of_the_largest_count_from_each_member_s_first() -> None:
    graph = Graph()
    x = graph.input("x", ("N", 2, 4))
    _, at = graph.apply("MaxPool", (x,), {"kernel_shape": [2], "strides": [2]}, count=2)
    values = np.random.default_rng(0).normal(size=(3, 2, 2, 4)).astype(np.float32)
    assert_equal_to_a_loop(graph_of(at), ["x"], {"x": values}, rtol=0)


def test_own_kernels_for_a_transposed_convolution_that_pads_by_itself_are_refused() -> None:
    graph = Graph()
    x, w = graph.input("x", ("N", 1, 4)), graph.input("w", (1, 1, 3))
    y = graph.op("ConvTranspose", x, w, strides=[2], auto_pad="SAME_UPPER")
    with pytest.raises(UnsupportedError, match="its padding follows from the output's size"):
        stack(graph_of(y), ["w"])
