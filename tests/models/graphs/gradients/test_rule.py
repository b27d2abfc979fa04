from __future__ import annotations

import pytest

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph, Node, Value
from headwater_models.graphs.gradients.rule import fixed_sizes, frozen, given


def clip(bound: Value | None = None) -> Node:
    graph = bound.graph if bound else Graph()
    x = graph.input("x", (3,))
    graph.op("Clip", x, Value(graph, "", x.dtype, ()), *([bound] if bound else []), name="y")
    return graph.nodes[-1]


def test_an_input_may_be_left_out_by_an_empty_name_or_at_the_end() -> None:
    node = clip()
    assert (given(node, 1), given(node, 2)) == (None, None)
    assert given(node, 0) is node.inputs[0]


def test_numbers_in_the_graph_can_be_read_and_have_a_default() -> None:
    graph = Graph()
    node = clip(graph.constant(3.0))
    assert frozen(node, 2).item() == 3
    assert frozen(node, 1, [7]).tolist() == [7]


def test_a_number_that_is_computed_is_refused_by_name() -> None:
    node = clip(Graph().input("top", ()))
    with pytest.raises(UnsupportedError, match=r"Clip 'y'.*'top' is computed; make it a constant"):
        frozen(node, 2)


def test_sizes_are_numbers_or_refused() -> None:
    assert fixed_sizes(clip(), [2, 3]) == [2, 3]
    with pytest.raises(UnsupportedError, match=r"open size \[2, 'T'\]; fix the size"):
        fixed_sizes(clip(), [2, "T"])
