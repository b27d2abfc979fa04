from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import strategies as st

from headwater.errors import UnsupportedError
from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph
from tests.models.graphs.gradients.cases import SIDES, Case, Cases, Draw, Shape, agrees, op


@st.composite
def matmul(draw: Draw) -> Case:
    pair = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3))
    n, k, m = draw(SIDES), draw(SIDES), draw(SIDES)
    left, right = pair.input_shapes
    shapes: list[Shape] = [
        draw(st.sampled_from([(*left, n, k), (n, k), (k,)])),
        draw(st.sampled_from([(*right, k, m), (k, m), (k,)])),
    ]
    return Case(op("MatMul"), shapes)


@st.composite
def rows_by_matrix(draw: Draw) -> Case:
    rows = draw(st.lists(SIDES, min_size=1, max_size=3))
    k, m = draw(SIDES), draw(SIDES)
    return Case(op("MatMul"), [(*rows, k), (k, m)], rows=True)


@st.composite
def gemm(draw: Draw) -> Case:
    n, k, m = draw(SIDES), draw(SIDES), draw(SIDES)
    turned_a, turned_b = draw(st.booleans()), draw(st.booleans())
    shapes: list[Shape] = [(k, n) if turned_a else (n, k), (m, k) if turned_b else (k, m)]
    shapes += draw(st.sampled_from([[], [(m,)], [(1, m)], [(n, 1)], [(n, m)], [()]]))
    factors = draw(
        st.sampled_from([{}, {"alpha": 0.5}, {"beta": 2.0}, {"alpha": 0.5, "beta": 2.0}])
    )
    turned = {"transA": int(turned_a), "transB": int(turned_b)}
    return Case(op("Gemm", **factors, **turned), shapes)


@st.composite
def einsum(draw: Draw) -> Case:
    equation = draw(
        st.sampled_from(
            ["ij,jk->ik", "bij, bjk -> bki", "i,j->ij", "ij->ji", "ij->j", "bi,bi->b", "ij,k->i"]
        )
    )
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    sizes = {index: draw(SIDES) for index in sorted(set("".join(terms)))}
    shapes = [tuple(sizes[index] for index in term) for term in terms]
    return Case(op("Einsum", equation=equation), shapes)


CASES: Cases = {
    "Einsum": einsum(),
    "Gemm": gemm(),
    "MatMul": st.one_of(matmul(), rows_by_matrix()),
}

test_a_rule_agrees_with_finite_differences = agrees(CASES)


@pytest.mark.parametrize("equation", ["...i,ij->...j", "ii->i", "ij,jk"])
def test_an_equation_that_hides_axes_is_refused(equation: str) -> None:
    graph = Graph()
    x = graph.parameter("x", np.ones((2, 2)))
    operands = [x] * len(equation.partition("->")[0].split(","))
    y = graph.op("Einsum", *operands, equation=equation, shape=(2, 2))
    with pytest.raises(UnsupportedError, match="one letter for each axis"):
        differentiate(graph, y, [x])
