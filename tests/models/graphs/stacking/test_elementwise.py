from __future__ import annotations

import numpy as np
import pytest

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.stack import stack
from tests.models.graphs.gradients import test_activations, test_arithmetic
from tests.models.graphs.stacking.cases import agrees
from tests.models.graphs.stacking.test_rule import graph_of

CASES = test_activations.CASES | test_arithmetic.CASES

test_a_stack_agrees_with_a_loop = agrees(CASES)


def test_dropout_that_drops_is_refused() -> None:
    graph = Graph()
    y = graph.op("Dropout", graph.input("x", (3,)), 0.5, np.array(True))
    with pytest.raises(UnsupportedError, match=r"Dropout .*it drops at random"):
        stack(graph_of(y), ["x"])
