"""What lets a window's prediction depend on those beside it is refused with its node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph, Node, Value
from headwater_models.graphs.importing.mixing import mixes_rows
from tests.models.graphs.importing.test_replay import ENTER, LEAVE, made, node

ROWS_FIRST, ROWS_LAST = ("N", 2, 3), (2, 3, "N")


def applied(operator: str, *inputs: Any, **attributes: Any) -> Node:
    """Apply an operator to inputs of these shapes, or constants."""
    graph = Graph()
    values = [
        graph.input(f"x{at}", given) if isinstance(given, tuple) else given
        for at, given in enumerate(inputs)
    ]
    graph.apply(operator, values, attributes, count=2 if operator == "TopK" else 1)
    return graph.nodes[-1]


def axes(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


MIXING = [
    applied("ReduceMean", ROWS_FIRST, axes(0)),
    applied("ReduceMean", ROWS_FIRST),
    applied("ReduceMax", ROWS_FIRST, axes(1, -3)),
    applied("ReduceSum", ("6*N", 2), axes(0)),
    applied("CumSum", ROWS_FIRST, np.array(0)),
    applied("Softmax", ROWS_FIRST, axis=0),
    applied("LogSoftmax", ROWS_LAST),
    applied("TopK", ROWS_LAST, axes(1)),
    applied("LayerNormalization", ("N", 2), np.ones(2, np.float32), axis=0),
    applied("InstanceNormalization", (2, 3, "N"), *[np.ones(3, np.float32)] * 2),
    applied("GlobalAveragePool", (2, 3, "N")),
    applied("MatMul", ("N", "N"), ("N", 3)),
    applied("MatMul", (2, "N"), ("N", 3)),
    applied("MatMul", ("N",), ("N",)),
    applied("Gemm", ("N", 2), ("N", 3), transA=1),
    applied("Gemm", (2, "N"), (3, "N"), transB=1),
    applied("Einsum", ("N", 2), ("N", 3), equation="ni,nj->ij"),
]
APART = [
    applied("ReduceMean", ROWS_FIRST, axes(1, 2)),
    applied("ReduceSum", ROWS_FIRST, noop_with_empty_axes=1),
    applied("ReduceMean", (2, "T", 3), axes(1)),
    applied("CumSum", ROWS_FIRST, np.array(1)),
    applied("Softmax", ROWS_FIRST),
    applied("Softmax", ROWS_LAST, axis=1),
    applied("LayerNormalization", ROWS_FIRST, np.ones((2, 3), np.float32), axis=1),
    applied("InstanceNormalization", ROWS_FIRST, *[np.ones(2, np.float32)] * 2),
    applied("GlobalAveragePool", ROWS_FIRST),
    applied("MatMul", ROWS_FIRST, ("N", 3, 2)),
    applied("MatMul", ROWS_FIRST, (3,)),
    applied("MatMul", (4, 3), (3, "N")),
    applied("Gemm", ("N", 2), (2, 3)),
    applied("Gemm", (2, "N"), (2, 3), transA=1),
    applied("Einsum", ("N", 2), ("N", 2), equation="ni, ni -> n"),
    applied("Einsum", ("N", 2), ("N", 2), equation="...i,...i->..."),
    applied("Add", ROWS_FIRST, ROWS_FIRST),
]


def told(value: Any) -> str:
    return f"{value.operator}-{'-'.join('x'.join(map(str, x.shape)) for x in value.inputs)}"


@pytest.mark.parametrize("applied", MIXING, ids=told)
def test_working_along_the_rows_mixes_them(applied: Node) -> None:
    assert mixes_rows(applied)


@pytest.mark.parametrize("applied", APART, ids=told)
def test_working_along_other_axes_keeps_them_apart(applied: Node) -> None:
    assert not mixes_rows(applied)


@pytest.mark.parametrize("training", [0, 1])
def test_a_normalisation_by_the_batch_mixes_its_rows(training: int) -> None:
    graph = Graph()
    x, one = graph.input("x", ("N", 2)), graph.constant(np.ones(2, np.float32))
    attributes = {"training_mode": training}
    graph.apply("BatchNormalization", (x, *[one] * 4), attributes, count=3 if training else 1)
    assert mixes_rows(graph.nodes[-1]) == bool(training)


def test_axes_that_are_computed_are_not_guessed() -> None:
    graph = Graph()
    x: Value = graph.input("x", ("N", 2))
    at = graph.input("at", (1,), np.int64)
    graph.op("ReduceSum", x, at, keepdims=1, shape=("M", "K"))
    assert not mixes_rows(graph.nodes[-1])


def test_a_model_that_mixes_rows_is_refused_with_its_node_and_what_to_do() -> None:
    softmax = node("Softmax", "a", output="b", axis=0)
    with pytest.raises(
        UnsupportedError,
        match=r"^Softmax \(node 'the Softmax'\) cannot be imported: it mixes the rows .* "
        r"other axes than that of the rows .*batch_first=True",
    ):
        made(ENTER, softmax, LEAVE)
