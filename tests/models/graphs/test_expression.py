from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.serialisation import decode, encode
from tests.models.graphs.harness import evaluate

A, B = np.array([[1.0, -2.0], [3.0, 4.0]]), np.array([[2.0, 5.0], [-1.0, 8.0]])

EXPRESSIONS: dict[str, Callable[[Value, Value], Value]] = {
    "sum": lambda a, b: a + b,
    "number first": lambda a, b: 2.0 + a * 3.0 - (1.0 - b) / 4.0,
    "quotient": lambda a, b: a / b + 1.0 / b,
    "product": lambda a, b: (a @ b) * 2.0 - 3.0 * a,
    "negation": lambda a, _: -a,
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_means_what_it_means_in_numpy(name: str) -> None:
    graph = Graph(np.float64)
    value = EXPRESSIONS[name](graph.constant(A), graph.constant(B))
    expected: np.ndarray = EXPRESSIONS[name](A, B)  # type: ignore[arg-type, assignment]
    np.testing.assert_allclose(evaluate(value), expected, rtol=1e-12)


def test_values_know_their_dtype_and_shape_with_the_number_of_rows_left_open() -> None:
    graph = Graph()
    x = graph.input("x", ("N", 3, 2))
    flat = graph.op("Reshape", x, np.array([0, 6], np.int64))
    y = flat @ graph.parameter("w", np.ones((6, 4)))
    assert (y.shape, y.dtype) == (("N", 4), np.dtype(np.float32))
    assert graph.op("Greater", y, 0.0).is_float is False
    assert y.sum([1]).shape == ("N",)


def test_the_same_operator_on_the_same_inputs_is_the_same_value() -> None:
    graph = Graph()
    x = graph.input("x", ("N", 2))
    assert (x * 2.0 + 1.0).name == (x * 2.0 + 1.0).name
    assert x.sum([0]).name != x.sum([1]).name


def test_a_constant_keeps_its_dtype_and_a_number_takes_that_of_its_company() -> None:
    graph = Graph(np.float32)
    wide = graph.input("wide", (2,), np.float64)
    assert (wide * 2.0).dtype == np.float64
    assert graph.constant(np.array([1])).dtype == np.int64


def test_what_no_output_needs_is_left_out() -> None:
    graph = Graph()
    x = graph.input("x", (2,))
    graph.output(x * 2.0)
    alone = encode(graph)
    graph.op("Exp", x + 5.0)
    assert encode(graph) == alone


def test_transposing_into_the_same_order_is_nothing() -> None:
    graph = Graph()
    x = graph.input("x", (2, 3))
    assert x.transpose([0, 1]) is x
    assert x.transpose([1, 0]).shape == (3, 2)


def test_several_outputs_have_names_of_their_own() -> None:
    graph = Graph()
    x = graph.input("x", (5,))
    parts = graph.apply("Split", (x, np.array([2, 3])), {"axis": 0}, count=2)
    assert [part.shape for part in parts] == [(2,), (3,)]
    assert parts[0].name != parts[1].name


def test_shapes_that_do_not_fit_are_refused_with_what_was_given() -> None:
    graph = Graph()
    x, y = graph.input("x", (2, 3)), graph.input("y", (2, 3))
    with pytest.raises(UnsupportedError, match=r"MatMul does not take x float32 \[2, 3\]"):
        x @ y


def test_dtypes_that_do_not_fit_are_refused() -> None:
    graph = Graph()
    with pytest.raises(UnsupportedError, match="Add does not take"):
        graph.input("x", (2,)) + graph.input("i", (2,), np.int64)


def test_an_operator_that_does_not_exist_is_refused() -> None:
    graph = Graph()
    with pytest.raises(UnsupportedError, match="Sume does not take"):
        graph.op("Sume", graph.input("x", (2,)))


def test_a_rank_that_is_known_only_at_run_time_is_refused() -> None:
    graph = Graph()
    x, to = graph.input("x", ("N", 2)), graph.input("to", ("R",), np.int64)
    with pytest.raises(UnsupportedError, match=r"rank of .* made by Reshape"):
        graph.op("Reshape", x, to)


def test_two_values_of_one_name_are_refused() -> None:
    graph = Graph()
    graph.input("x", (2,))
    with pytest.raises(UnsupportedError, match="two values named 'x'"):
        graph.input("x", (3,))


def test_what_is_laid_out_as_another_value_has_its_shape_also_when_it_is_read_again() -> None:
    graph = Graph()
    x, other = graph.input("x", ("N", 6)), graph.input("other", ("N", 2, 3))
    graph.output(graph.op("Identity", x.reshape_like(other), name="laid"))
    graph.output(graph.op("Identity", x.mean([0, 1]).expand_like(x), name="spread"))
    again = decode(encode(graph))
    shapes = {node.operator: node.outputs[0].shape for node in again.nodes}
    assert shapes["Reshape"] == ("N", 2, 3)
    assert shapes["Expand"] == ("N", 6)


def test_what_is_broadcast_beyond_another_value_has_not_its_shape() -> None:
    graph = Graph()
    wide, narrow = graph.input("wide", (4, 3)), graph.input("narrow", (1, 3))
    assert graph.op("Expand", wide, graph.op("Shape", narrow)).shape == (4, 3)
