from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from headwater.errors import UnsupportedError
from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph, Value
from tests.models.graphs.gradients.cases import (
    SHAPES,
    SIDES,
    Case,
    Cases,
    Draw,
    agrees,
    along_axis,
    ints,
    op,
)
from tests.models.graphs.harness import evaluate

END = 2**63 - 1


@st.composite
def concat(draw: Draw) -> Case:
    shape = draw(SHAPES)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    shapes = []
    for size in draw(st.lists(SIDES, min_size=1, max_size=3)):
        part = list(shape)
        part[axis] = size
        shapes.append(tuple(part))
    return Case(op("Concat", axis=axis), shapes)


@st.composite
def split(draw: Draw) -> Case:
    """Use some of the parts, in a product that tells them apart."""
    shape = (2, draw(st.integers(2, 5)), 2)
    first = draw(st.integers(1, shape[1] - 1))
    sizes = ints(first, shape[1] - first)

    def make(x: Value) -> Value:
        one, other = x.graph.apply("Split", (x, sizes), {"axis": 1}, count=2)
        return one * 2.0 if use_one else other * other

    use_one = draw(st.booleans())
    return Case(make, [shape], rows=True)


@st.composite
def expand(draw: Draw) -> Case:
    pair = draw(hnp.mutually_broadcastable_shapes(num_shapes=1, max_dims=3, max_side=3))
    target = ints(*np.broadcast_shapes(pair.input_shapes[0], draw(st.just(pair.result_shape))))
    return Case(lambda x: x.graph.op("Expand", x, target), [pair.input_shapes[0]])


@st.composite
def reshape(draw: Draw) -> Case:
    shape = draw(SHAPES)
    target = draw(st.sampled_from([ints(-1), ints(1, -1), ints(0, -1)]))
    return Case(lambda x: x.graph.op("Reshape", x, target), [shape], rows=True)


@st.composite
def squeeze(draw: Draw) -> Case:
    shape = (1, *draw(SHAPES), 1)
    axes = draw(st.sampled_from([[], [ints(0)], [ints(0, -1)]]))
    return Case(lambda x: x.graph.op("Squeeze", x, *axes), [shape])


@st.composite
def unsqueeze(draw: Draw) -> Case:
    axes = draw(st.sampled_from([ints(0), ints(-1), ints(0, 2)]))
    return Case(lambda x: x.graph.op("Unsqueeze", x, axes), [draw(SHAPES)], rows=True)


@st.composite
def transpose(draw: Draw) -> Case:
    shape = draw(SHAPES)
    order = draw(st.none() | st.permutations(range(len(shape))))
    attributes = {} if order is None else {"perm": list(order)}
    return Case(op("Transpose", **attributes), [shape], rows=True)


@st.composite
def slice_(draw: Draw) -> Case:
    """Cut some axes, the rows not at all; from both ends, with steps, backwards."""
    shape = (2, *draw(hnp.array_shapes(min_dims=1, max_dims=2, min_side=2, max_side=5)))
    axes = sorted(draw(st.sets(st.integers(1, len(shape) - 1), min_size=1)))
    cuts = []
    for axis in axes:
        step = draw(st.sampled_from([1, 1, 2, -1, -2]))
        start = draw(st.integers(-shape[axis] - 1, shape[axis] + 1))
        stop = draw(st.integers(-shape[axis] - 1, shape[axis] + 1) | st.just(END * (step > 0)))
        assume(len(range(shape[axis])[start:stop:step]))
        cuts.append((start, stop, step))
    starts, stops, steps = (ints(*column) for column in zip(*[(0, END, 1), *cuts], strict=True))
    inputs = [starts, stops, ints(0, *(axis - len(shape) for axis in axes)), steps]
    if (steps == 1).all() and draw(st.booleans()):
        inputs.pop()
    return Case(lambda x: x.graph.op("Slice", x, *inputs), [shape], rows=True)


@st.composite
def pad(draw: Draw) -> Case:
    """Pad all axes but the rows, or all that are named, with a fill that has a gradient too."""
    mode = draw(st.sampled_from(["constant", "constant", "edge", "reflect", "wrap"]))
    shape = (2, *draw(hnp.array_shapes(min_dims=1, max_dims=2, min_side=3, max_side=4)))
    padded = len(shape) - 1
    low = -1 if mode == "constant" else 0
    before, after = (
        draw(st.lists(st.integers(low, 2), min_size=padded, max_size=padded)) for _ in "ba"
    )
    if draw(st.booleans()):
        pads = ints(0, *before, 0, *after)
        return Case(lambda x: x.graph.op("Pad", x, pads, mode=mode), [shape], rows=True)
    pads, axes = ints(*before, *after), ints(*range(-padded, 0))
    return Case(lambda x, fill: x.graph.op("Pad", x, pads, fill, axes, mode=mode), [shape, ()])


@st.composite
def tile(draw: Draw) -> Case:
    shape = draw(SHAPES)
    repeats = ints(*(draw(SIDES) for _ in shape))
    return Case(lambda x: x.graph.op("Tile", x, repeats), [shape], rows=True)


CASES: Cases = {
    "Concat": concat(),
    "Expand": expand(),
    "Flatten": along_axis("Flatten"),
    "Pad": pad(),
    "Reshape": reshape(),
    "Slice": slice_(),
    "Split": split(),
    "Squeeze": squeeze(),
    "Tile": tile(),
    "Transpose": transpose(),
    "Unsqueeze": unsqueeze(),
}

test_a_rule_agrees_with_finite_differences = agrees(CASES)


def test_joining_along_an_axis_of_open_size_is_refused() -> None:
    graph = Graph()
    x = graph.input("x", ("N", 2))
    joined = graph.op("Concat", x, x, axis=0)
    with pytest.raises(UnsupportedError, match="axis of open size"):
        differentiate(graph, joined, [x])


def test_cutting_an_axis_of_open_size_is_refused() -> None:
    graph = Graph()
    x = graph.input("x", ("N", 2))
    with pytest.raises(UnsupportedError, match="fix the size"):
        differentiate(graph, graph.op("Slice", x, ints(1), ints(END)), [x])


def test_a_slice_between_computed_bounds_is_refused() -> None:
    graph = Graph()
    x, start = graph.input("x", (4,)), graph.input("start", (1,), np.int64)
    with pytest.raises(UnsupportedError, match="'start' is computed; make it a constant"):
        differentiate(graph, graph.op("Slice", x, start, ints(END), shape=("M",)), [x])


def test_parts_are_joined_along_the_first_axis_where_none_is_named() -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.ones((3, 2)))
    _, last = graph.apply("Split", (x, ints(1, 2)), {}, count=2)
    found = evaluate(differentiate(graph, last * 2.0, [x])["x"])
    assert found.tolist() == [[0, 0], [2, 2], [2, 2]]


def test_a_border_of_zeros_needs_not_be_said() -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.ones(2))
    seed = graph.constant(np.arange(5.0))
    padded = graph.op("Pad", x, ints(1, 2))
    assert evaluate(differentiate(graph, padded, [x], seed)["x"]).tolist() == [1, 2]


def test_cutting_by_repeating_is_refused() -> None:
    graph = Graph()
    x = graph.parameter("x", np.ones(3))
    with pytest.raises(UnsupportedError, match="it cuts in mode edge; cut with Slice"):
        differentiate(graph, graph.op("Pad", x, ints(-1, 1), mode="edge"), [x])


@pytest.mark.parametrize("end", [2**31 - 1, END])
def test_all_rows_may_be_taken_by_any_end_that_exporters_write(end: int) -> None:
    graph = Graph()
    x = graph.input("x", ("N", 2))
    gradient = differentiate(graph, graph.op("Slice", x, ints(0), ints(end), ints(0)), [x])["x"]
    assert evaluate(gradient, {"x": np.zeros((3, 2), np.float32)}).tolist() == [[1, 1]] * 3


@pytest.mark.parametrize("step", [1, 2])
def test_of_what_is_cut_off_whole_nothing_learns(step: int) -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.ones(3))
    nothing = graph.op("Slice", x, ints(2), ints(2), ints(0), ints(step))
    joined = graph.op("Concat", nothing, x, axis=0)
    assert evaluate(differentiate(graph, joined, [x])["x"]).tolist() == [1, 1, 1]
