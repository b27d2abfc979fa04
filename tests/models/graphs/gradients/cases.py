"""How a rule is judged: in float64 by central finite differences, then ONNX Runtime's float32."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.serialisation import encode
from tests.models.graphs.harness import Arrays, exact_runner, numeric_gradient, runner

Make = Callable[..., Value]
Draw = st.DrawFn
Cases = dict[str, st.SearchStrategy["Case"]]
Shape = tuple[int, ...]
Floats = NDArray[np.float64]


def anywhere(rng: np.random.Generator, shape: Shape) -> Floats:
    return rng.uniform(-2, 2, shape)


def positive(rng: np.random.Generator, shape: Shape) -> Floats:
    return rng.uniform(0.5, 2, shape)


def off_zero(rng: np.random.Generator, shape: Shape) -> Floats:
    return rng.uniform(0.2, 2, shape) * np.where(rng.random(shape) < 0.5, -1.0, 1.0)


def off_halves(rng: np.random.Generator, shape: Shape) -> Floats:
    """Draw numbers that rounding, and no kink at a half, is near to."""
    return rng.integers(-3, 3, shape) + rng.uniform(0.1, 0.4, shape)


@dataclass
class Case:
    """An operator on arrays of these shapes; ``values`` draws their elements.

    Of an operator that works on rows the first array's number of rows stays open.
    """

    make: Make
    shapes: list[Shape]
    values: Callable[[np.random.Generator, Shape], Floats] = anywhere
    rows: bool = False


SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=3)
PAIRS = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)
SIDES = st.integers(1, 3)


def op(operator: str, **attributes: Any) -> Make:
    return lambda *values: values[0].graph.op(operator, *values, **attributes)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def unary(operator: str, values: Any = off_zero, **attributes: Any) -> st.SearchStrategy[Case]:
    return SHAPES.map(lambda shape: Case(op(operator, **attributes), [shape], values, rows=True))


@st.composite
def along_axis(draw: Draw, operator: str) -> Case:
    shape = draw(SHAPES)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    return Case(op(operator, axis=axis), [shape])


def agrees(cases: Cases) -> Callable[..., None]:
    """Return the test of these operators."""

    @settings(max_examples=8, derandomize=True, deadline=None)
    @given(data=st.data(), seed=st.integers(0, 2**32 - 1))
    def test(operator: str, data: st.DataObject, seed: int) -> None:
        check(data.draw(cases[operator]), np.random.default_rng(seed))

    parametrised: Callable[..., None] = pytest.mark.parametrize("operator", sorted(cases))(test)
    return parametrised


def check(case: Case, rng: np.random.Generator) -> None:
    """Compare gradients with finite differences in float64, and float32 with float64."""
    arrays = {f"p{i}": np.asarray(case.values(rng, shape)) for i, shape in enumerate(case.shapes)}
    exact = exact_runner(gradient_graph(case, np.float64))
    rough = runner(gradient_graph(case, np.float32))
    y = exact_runner(forward_graph(case))(arrays)["y"]
    feeds = {**arrays, "cotangent": rng.uniform(-1, 1, y.shape)}
    found = exact(feeds)
    single = rough({name: array.astype(np.float32) for name, array in feeds.items()})
    assert_agrees(feeds, arrays, exact, found)
    for name in found:
        np.testing.assert_allclose(single[name], found[name], rtol=2e-3, atol=2e-4)


def assert_agrees(
    feeds: Arrays,
    names: Iterable[str],
    run: Callable[[Arrays], dict[str, NDArray[Any]]],
    found: Arrays,
) -> None:
    """Compare ``d.NAME`` with the numeric gradient of ``y`` weighted by ``cotangent``."""
    for name in names:
        numeric = numeric_gradient(
            lambda moved: float((run(moved)["y"] * feeds["cotangent"]).sum()), feeds, name
        )
        assert found[f"d.{name}"].shape == numeric.shape
        np.testing.assert_allclose(found[f"d.{name}"], numeric, rtol=1e-6, atol=1e-7)


def gradient_graph(case: Case, dtype: type) -> bytes:
    graph = Graph(dtype)
    inputs = _inputs(graph, case)
    y = case.make(*inputs)
    seed = graph.input("cotangent", y.shape, y.dtype)
    gradients = differentiate(graph, y, inputs, seed)
    for name, value in {"y": y, **{f"d.{name}": v for name, v in gradients.items()}}.items():
        graph.output(graph.op("Identity", value, name=name))
    return encode(graph)


def forward_graph(case: Case) -> bytes:
    graph = Graph(np.float64)
    graph.output(graph.op("Identity", case.make(*_inputs(graph, case)), name="y"))
    return encode(graph)


def _inputs(graph: Graph, case: Case) -> list[Value]:
    shapes: list[tuple[int | str, ...]] = list(case.shapes)
    if case.rows:
        shapes[0] = ("N", *shapes[0][1:])
    return [graph.input(f"p{i}", shape) for i, shape in enumerate(shapes)]
