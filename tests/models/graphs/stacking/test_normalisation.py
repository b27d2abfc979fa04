from __future__ import annotations

import numpy as np
import pytest

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.stack import stack
from tests.models.graphs.gradients.test_normalisation import CASES
from tests.models.graphs.stacking.cases import agrees
from tests.models.graphs.stacking.test_rule import graph_of

test_a_stack_agrees_with_a_loop = agrees(CASES)


def test_normalising_by_the_batch_s_own_statistics_is_refused() -> None:
    graph = Graph()
    x, one = graph.input("x", ("N", 2)), np.ones(2, np.float32)
    y = graph.apply("BatchNormalization", (x, *[one] * 4), {"training_mode": 1}, count=3)[0]
    with pytest.raises(UnsupportedError, match="it is in training mode"):
        stack(graph_of(y), ["x"])
