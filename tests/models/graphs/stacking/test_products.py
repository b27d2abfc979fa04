from __future__ import annotations

import pytest

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.stack import stack
from tests.models.graphs.gradients.test_products import CASES
from tests.models.graphs.stacking.cases import agrees
from tests.models.graphs.stacking.test_rule import graph_of

test_a_stack_agrees_with_a_loop = agrees(CASES)


@pytest.mark.parametrize("equation", ["...i,ij->...j", "ij,jk"])
def test_an_equation_that_hides_axes_is_refused(equation: str) -> None:
    graph = Graph()
    x = graph.input("x", (2, 2))
    y = graph.op("Einsum", x, x, equation=equation, shape=(2, 2))
    with pytest.raises(UnsupportedError, match=r"has `...` or no result"):
        stack(graph_of(y), ["x"])
