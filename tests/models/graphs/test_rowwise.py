"""What follows from each row alone is parted from the rest, and both together give the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headwater_models.graphs.builders import build
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.rowwise import by_row
from headwater_models.graphs.serialisation import decode, encode
from headwater_models.manifest import Task
from tests.models.graphs.example import model_spec, random_weights, rows
from tests.models.graphs.harness import runner

RNG = np.random.default_rng(0)
BIAS = RNG.normal(size=(2,)).astype(np.float32)


def operators(graph: Graph) -> list[str]:
    return [node.operator for node in graph.needed()]


@pytest.mark.parametrize("task", ["forecast", "classification"])
def test_a_model_and_its_features_apart_predict_what_it_does_whole(task: Task) -> None:
    spec = model_spec(task=task)
    built = build(spec, np.random.default_rng(0))
    window = rows(spec, RNG).window.astype(np.float32)
    drawn = random_weights(built.weights, RNG)
    weights = {name: array.astype(np.float32) for name, array in drawn.items()}
    whole = runner(built.infer)({"window": window, **weights})["prediction"]

    before, after = by_row(decode(built.infer), ["window", "time"])

    assert {"Sub", "Div", "IsNaN"} <= {*operators(before)}
    assert {*before.outputs} <= {*after.inputs}
    assert len(after.needed()) + len(before.needed()) == len(decode(built.infer).needed())
    made = runner(encode(before))({"window": window})
    np.testing.assert_array_equal(runner(encode(after))({**made, **weights})["prediction"], whole)


KEPT: dict[str, Callable[[Value], Value]] = {
    "elements": lambda x: x * 2.0 - x,
    "constant": lambda x: x + BIAS,
    "layout": lambda x: x.graph.op("Reshape", x, np.array([-1, 2, 1])),
    "columns": lambda x: x.graph.op("Concat", x, x, axis=-1),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_treats_each_row_alike_is_done_beforehand(name: str) -> None:
    before, after = by_row(_one(KEPT[name]), ["x"])

    assert operators(before)
    assert operators(after) == ["MatMul"]


CROSSING: dict[str, Callable[[Value], Value]] = {
    "rows summed up": lambda x: x.graph.op("CumSum", x, np.array(0)),
    "rows behind rows": lambda x: x.graph.op("Concat", x, x, axis=0),
    "a row of its own for each": lambda x: x + np.ones((4, 2), np.float32),
    "rows in rows": lambda x: x.graph.op("Reshape", x, np.array([-1, 4])),
    "another axis before": lambda x: x + np.ones((3, 1, 2), np.float32),
}


@pytest.mark.parametrize("name", CROSSING)
def test_what_mixes_rows_is_not_done_beforehand(name: str) -> None:
    open_rows = name != "a row of its own for each"
    before, after = by_row(_one(CROSSING[name], open_rows=open_rows), ["x"])

    assert operators(before) == []
    assert len(operators(after)) == 2
    assert [*after.inputs] == ["x", "w"]


def _one(step: Callable[[Value], Value], *, open_rows: bool = True) -> Graph:
    """Take a step of rows, and multiply it with something that is no row."""
    graph = Graph()
    made = step(graph.input("x", ("N" if open_rows else 4, 2)))
    graph.output(made @ graph.input("w", (made.shape[-1], 1)))
    return graph
