"""Each rule agrees with central finite differences in float64, over random shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.gradients import rules
from headwater_models.graphs.serialisation import encode
from tests.models.graphs.harness import Arrays, numeric_gradient, parameters, runner

Make = Callable[..., Value]
Draw = st.DrawFn


@dataclass
class Case:
    """An operator on parameters of these shapes; ``values`` draws their elements."""

    make: Make
    shapes: list[tuple[int, ...]]
    values: Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]] = field(
        default=lambda rng, shape: rng.uniform(-2, 2, shape)
    )


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return rng.uniform(0.5, 2, shape)


def off_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return rng.uniform(0.2, 2, shape) * np.where(rng.random(shape) < 0.5, -1.0, 1.0)


def op(operator: str, **attributes: Any) -> Make:
    return lambda *values: values[0].graph.op(operator, *values, **attributes)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=3)
PAIRS = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)
SIDES = st.integers(1, 3)


def unary(operator: str, values: Any = off_zero, **attributes: Any) -> st.SearchStrategy[Case]:
    return SHAPES.map(lambda shape: Case(op(operator, **attributes), [shape], values))


def binary(operator: str) -> st.SearchStrategy[Case]:
    return PAIRS.map(lambda pair: Case(op(operator), list(pair.input_shapes), off_zero))


@st.composite
def matmul(draw: Draw) -> Case:
    pair = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3))
    n, k, m = draw(SIDES), draw(SIDES), draw(SIDES)
    left, right = pair.input_shapes
    return Case(op("MatMul"), [(*left, n, k), (*right, k, m)])


@st.composite
def gemm(draw: Draw) -> Case:
    n, k, m = draw(SIDES), draw(SIDES), draw(SIDES)
    turned_a, turned_b = draw(st.booleans()), draw(st.booleans())
    shapes: list[tuple[int, ...]] = [(k, n) if turned_a else (n, k), (m, k) if turned_b else (k, m)]
    shapes += draw(st.sampled_from([[], [(m,)], [(1, m)], [(n, 1)], [(n, m)], [()]]))
    alpha, beta = draw(st.sampled_from([(1.0, 1.0), (0.5, 2.0)]))
    turned = {"transA": int(turned_a), "transB": int(turned_b)}
    return Case(op("Gemm", alpha=alpha, beta=beta, **turned), shapes)


@st.composite
def reduction(draw: Draw, operator: str) -> Case:
    shape, keep = draw(SHAPES), draw(st.booleans())
    axes = draw(st.none() | st.sets(st.integers(-len(shape), len(shape) - 1), min_size=1))
    if axes is not None:
        axes = {axis % len(shape) for axis in axes}
    inputs = [] if axes is None else [ints(*sorted(axes))]
    return Case(lambda x: x.graph.op(operator, x, *inputs, keepdims=int(keep)), [shape])


@st.composite
def along_axis(draw: Draw, operator: str) -> Case:
    shape = draw(SHAPES)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    return Case(op(operator, axis=axis), [shape])


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
def expand(draw: Draw) -> Case:
    pair = draw(hnp.mutually_broadcastable_shapes(num_shapes=1, max_dims=3, max_side=3))
    target = ints(*np.broadcast_shapes(pair.input_shapes[0], draw(st.just(pair.result_shape))))
    return Case(lambda x: x.graph.op("Expand", x, target), [pair.input_shapes[0]])


@st.composite
def reshape(draw: Draw) -> Case:
    shape = draw(SHAPES)
    target = draw(st.sampled_from([ints(-1), ints(1, -1), ints(0, -1)]))
    return Case(lambda x: x.graph.op("Reshape", x, target), [shape])


@st.composite
def squeeze(draw: Draw) -> Case:
    shape = (1, *draw(SHAPES), 1)
    axes = draw(st.sampled_from([[], [ints(0)], [ints(0, -1)]]))
    return Case(lambda x: x.graph.op("Squeeze", x, *axes), [shape])


@st.composite
def unsqueeze(draw: Draw) -> Case:
    axes = draw(st.sampled_from([ints(0), ints(-1), ints(0, 2)]))
    return Case(lambda x: x.graph.op("Unsqueeze", x, axes), [draw(SHAPES)])


@st.composite
def transpose(draw: Draw) -> Case:
    shape = draw(SHAPES)
    order = draw(st.none() | st.permutations(range(len(shape))))
    return Case(op("Transpose", **({} if order is None else {"perm": list(order)})), [shape])


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
    return Case(lambda x: x.graph.op("Gather", x, indices, axis=axis), [shape])


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
def where(draw: Draw) -> Case:
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3))
    condition = draw(hnp.arrays(np.bool_, shapes.input_shapes[0]))
    return Case(lambda a, b: a.graph.op("Where", condition, a, b), list(shapes.input_shapes[1:]))


def cases() -> dict[str, st.SearchStrategy[Case]]:
    return {
        "Abs": unary("Abs"),
        "Add": binary("Add"),
        "Cast": SHAPES.map(lambda shape: Case(lambda x: x.cast(np.float64) * 2.0, [shape])),
        "Concat": concat(),
        "Div": binary("Div"),
        "Exp": unary("Exp"),
        "Expand": expand(),
        "Flatten": along_axis("Flatten"),
        "Gather": gather(),
        "GatherElements": gather_elements(),
        "Gemm": gemm(),
        "Identity": unary("Identity"),
        "Log": unary("Log", positive),
        "LogSoftmax": along_axis("LogSoftmax"),
        "MatMul": matmul(),
        "Mul": binary("Mul"),
        "Neg": unary("Neg"),
        "ReduceMean": reduction("ReduceMean"),
        "ReduceSum": reduction("ReduceSum"),
        "Relu": unary("Relu"),
        "Reshape": reshape(),
        "Sigmoid": unary("Sigmoid"),
        "Softmax": along_axis("Softmax"),
        "Sqrt": unary("Sqrt", positive),
        "Squeeze": squeeze(),
        "Sub": binary("Sub"),
        "Tanh": unary("Tanh"),
        "Transpose": transpose(),
        "Unsqueeze": unsqueeze(),
        "Where": where(),
    }


def test_every_rule_is_tested() -> None:
    assert sorted(cases()) == sorted(rules())


@pytest.mark.parametrize("operator", sorted(rules()))
@settings(max_examples=15, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_a_rule_agrees_with_finite_differences(
    operator: str, data: st.DataObject, seed: int
) -> None:
    case, rng = data.draw(cases()[operator]), np.random.default_rng(seed)
    arrays = {f"p{i}": np.asarray(case.values(rng, shape)) for i, shape in enumerate(case.shapes)}
    graph = Graph(np.float64)
    inputs = parameters(graph, arrays)
    y = case.make(*inputs.values())
    cotangent = rng.uniform(-1, 1, tuple(int(size) for size in y.shape))
    gradients = differentiate(graph, y, list(inputs.values()), graph.constant(cotangent))
    assert_gradients_hold(y, cotangent, arrays, gradients)


def assert_gradients_hold(
    y: Value, cotangent: NDArray[np.float64], arrays: Arrays, gradients: dict[str, Value]
) -> None:
    graph = y.graph
    for name, value in {"y": y, **gradients}.items():
        graph.output(graph.op("Identity", value, name=f"out.{name}"))
    run = runner(encode(graph))
    found = run(arrays)
    for name in gradients:
        numeric = numeric_gradient(
            lambda moved: float((run(moved)["out.y"] * cotangent).sum()), arrays, name
        )
        assert found[f"out.{name}"].shape == numeric.shape
        np.testing.assert_allclose(found[f"out.{name}"], numeric, rtol=1e-6, atol=1e-7)


def test_a_cast_between_widths_passes_the_gradient_in_the_input_s_dtype() -> None:
    graph = Graph(np.float32)
    x = graph.parameter("x", np.ones(3))
    wide = x.cast(np.float64)
    gradient = differentiate(graph, wide * wide, [x])["x"]
    assert gradient.dtype == np.float32


def test_where_keeps_a_nan_on_the_side_not_taken_out_of_the_gradient() -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.array([-1.0, 4.0]))
    safe = graph.op("Where", graph.op("Greater", x, 0.0), graph.op("Sqrt", x), x)
    gradient = differentiate(graph, safe, [x])["x"]
    graph.output(gradient)
    found = runner(encode(graph))({})[gradient.name]
    assert found[1] == 0.25


def test_multiplying_a_bare_vector_is_refused_with_a_way_out() -> None:
    graph = Graph()
    x = graph.parameter("x", np.ones((2, 3)))
    with pytest.raises(UnsupportedError, match="second axis of size 1"):
        differentiate(graph, x @ graph.constant(np.ones(3, np.float32)), [x])


def test_joining_along_an_axis_of_open_size_is_refused() -> None:
    graph = Graph()
    x = graph.input("x", ("N", 2))
    joined = graph.op("Concat", x, x, axis=0)
    with pytest.raises(UnsupportedError, match="sizes are not fixed"):
        differentiate(graph, joined, [x])
