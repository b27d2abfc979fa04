from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import strategies as st

from headwater.errors import UnsupportedError
from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.serialisation import encode
from tests.models.graphs.gradients.cases import SHAPES, SIDES, Case, Cases, Draw, agrees, ints
from tests.models.graphs.harness import evaluate, runner


@st.composite
def gather(draw: Draw) -> Case:
    shape = draw(SHAPES)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    where = hnp.arrays(
        np.int64,
        hnp.array_shapes(min_dims=0, max_dims=2, max_side=3),
        elements=st.integers(-size, size - 1),
    )
    indices = draw(where)
    return Case(
        lambda x: x.graph.op("Gather", x, indices, axis=axis), [shape], rows=axis % len(shape) > 0
    )


@st.composite
def gather_elements(draw: Draw) -> Case:
    shape = draw(SHAPES)
    axis = draw(st.integers(0, len(shape) - 1))
    taken = tuple(
        draw(SIDES) if i == axis else draw(st.integers(1, n)) for i, n in enumerate(shape)
    )
    indices = draw(hnp.arrays(np.int64, taken, elements=st.integers(0, shape[axis] - 1)))
    return Case(lambda x: x.graph.op("GatherElements", x, indices, axis=axis), [shape])


@st.composite
def gather_nd(draw: Draw) -> Case:
    shape = draw(SHAPES)
    depth = draw(st.integers(1, len(shape)))
    count = draw(SIDES)
    columns = [draw(st.lists(st.integers(0, n - 1), min_size=count, max_size=count)) for n in shape]
    indices = np.array(columns[:depth], np.int64).T
    return Case(lambda x: x.graph.op("GatherND", x, indices), [shape])


@st.composite
def scatter_nd(draw: Draw) -> Case:
    """Write to places of which each comes once, or add to some of them twice."""
    shape, adds = draw(SHAPES), draw(st.booleans())
    depth = draw(st.integers(1, len(shape)))
    places = [ints(*place) for place in np.ndindex(*shape[:depth])]
    chosen = draw(
        st.lists(st.integers(0, len(places) - 1), min_size=1, max_size=3, unique=not adds)
    )
    indices = np.stack([places[i] for i in chosen])
    reduction = "add" if adds else "none"
    return Case(
        lambda x, u: x.graph.op("ScatterND", x, indices, u, reduction=reduction),
        [shape, (len(chosen), *shape[depth:])],
    )


@st.composite
def scatter_elements(draw: Draw) -> Case:
    shape, adds = draw(SHAPES), draw(st.booleans())
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    elements = st.integers(0, shape[axis] - 1)
    chosen = draw(st.lists(elements, min_size=1, max_size=3, unique=not adds))
    written = list(shape)
    written[axis] = len(chosen)
    along = np.expand_dims(chosen, [i for i in range(len(shape)) if i != axis % len(shape)])
    indices = np.broadcast_to(along, written).astype(np.int64)
    attributes = {"axis": axis, "reduction": "add" if adds else "none"}
    return Case(
        lambda x, u: x.graph.op("ScatterElements", x, indices, u, **attributes),
        [shape, tuple(written)],
    )


@st.composite
def top_k(draw: Draw) -> Case:
    shape = draw(SHAPES)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    k = ints(draw(st.integers(1, shape[axis])))
    attributes = {"axis": axis, "largest": draw(st.integers(0, 1))}
    return Case(lambda x: x.graph.apply("TopK", (x, k), attributes, count=2)[0], [shape])


@st.composite
def triangle(draw: Draw) -> Case:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=3))
    inputs = draw(st.sampled_from([[], [np.array(1)], [np.array(-1)]]))
    upper = draw(st.integers(0, 1))
    return Case(
        lambda x: x.graph.op("Trilu", x, *inputs, upper=upper), [shape], rows=len(shape) > 2
    )


@st.composite
def where(draw: Draw) -> Case:
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3))
    condition = draw(hnp.arrays(np.bool_, shapes.input_shapes[0]))
    return Case(lambda a, b: a.graph.op("Where", condition, a, b), list(shapes.input_shapes[1:]))


MATRIX = np.array([[3.0, 1.0, 2.0], [4.0, 6.0, 5.0]])


def of_matrix(operator: str, *inputs: Any, count: int = 1, **attributes: Any) -> Any:
    """Return the gradient of an operator's first output, each element weighted by its place."""
    graph = Graph(np.float64)
    x = graph.parameter("x", MATRIX)
    y = graph.apply(operator, (x, *inputs), attributes, count=count)[0]
    sizes = [int(size) for size in y.shape]
    seed = graph.constant(np.arange(1.0, 1.0 + np.prod(sizes)).reshape(sizes))
    gradient = differentiate(graph, y, [x], seed)["x"]
    return evaluate(graph.op("Identity", gradient)).tolist()


@pytest.mark.parametrize("axis", [{}, {"axis": 0}])
def test_what_is_picked_or_put_without_an_axis_is_so_along_the_first(axis: dict[str, int]) -> None:
    assert of_matrix("Gather", ints(1), **axis) == [[0, 0, 0], [1, 2, 3]]
    assert of_matrix("GatherElements", ints(1, 0, 1)[None], **axis) == [[0, 2, 0], [1, 0, 3]]
    put = (ints(1, 0, 1)[None], np.zeros((1, 3)))
    assert of_matrix("ScatterElements", *put, **axis) == [[1, 0, 3], [0, 5, 0]]


def test_what_is_picked_or_put_along_another_axis_comes_from_there() -> None:
    assert of_matrix("Gather", ints(1), axis=1) == [[0, 1, 0], [0, 2, 0]]
    assert of_matrix("GatherElements", ints(1, 0)[:, None], axis=1) == [[0, 1, 0], [2, 0, 0]]
    put = (ints(1, 0)[:, None], np.zeros((2, 1)))
    assert of_matrix("ScatterElements", *put, axis=1) == [[1, 0, 3], [0, 5, 6]]
    put = (ints(1, 1)[:, None], np.zeros((2, 1)))
    added = of_matrix("ScatterElements", *put, axis=-1, reduction="add")
    assert added == [[1, 2, 3], [4, 5, 6]]


def test_the_largest_are_those_of_the_last_axis_where_none_is_named() -> None:
    assert of_matrix("TopK", ints(1), count=2) == [[1, 0, 0], [0, 2, 0]]
    graph = Graph(np.float64)
    x = graph.parameter("x", MATRIX[np.newaxis])
    largest = graph.apply("TopK", (x, ints(1)), {}, count=2)[0]
    gradient = evaluate(differentiate(graph, largest, [x])["x"])
    assert gradient.tolist() == [[[1, 0, 0], [0, 1, 0]]]
    assert of_matrix("TopK", ints(1), count=2, axis=0) == [[0, 0, 0], [1, 2, 3]]


CASES: Cases = {
    "Gather": gather(),
    "GatherElements": gather_elements(),
    "GatherND": gather_nd(),
    "ScatterElements": scatter_elements(),
    "ScatterND": scatter_nd(),
    "TopK": top_k(),
    "Trilu": triangle(),
    "Where": where(),
}

test_a_rule_agrees_with_finite_differences = agrees(CASES)


def test_where_keeps_a_nan_on_the_side_not_taken_out_of_the_gradient() -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.array([-1.0, 4.0]))
    safe = graph.op("Where", graph.op("Greater", x, 0.0), graph.op("Sqrt", x), x)
    gradient = differentiate(graph, safe, [x])["x"]
    graph.output(gradient)
    found = runner(encode(graph))({})[gradient.name]
    assert found[1] == 0.25


def test_picking_by_row_is_refused_with_a_way_out() -> None:
    graph = Graph()
    x = graph.parameter("x", np.ones((2, 3)))
    y = graph.op("GatherND", x, ints(0, 1)[:, None], batch_dims=1, name="pick")
    with pytest.raises(UnsupportedError, match=r"GatherND 'pick'.*batch_dims"):
        differentiate(graph, y, [x])


@pytest.mark.parametrize("operator", ["ScatterND", "ScatterElements"])
def test_multiplying_into_places_is_refused(operator: str) -> None:
    graph = Graph()
    x: Value = graph.parameter("x", np.ones((2, 3)))
    indices = ints(0)[:, None]
    updates = graph.constant(np.ones((1, 3) if operator == "ScatterND" else (1, 1), np.float32))
    y = graph.op(operator, x, indices, updates, reduction="mul")
    with pytest.raises(UnsupportedError, match="use none or add"):
        differentiate(graph, y, [x])
