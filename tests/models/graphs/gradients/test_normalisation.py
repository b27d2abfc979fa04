from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from headwater.errors import UnsupportedError
from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph
from tests.models.graphs.gradients.cases import SIDES, Case, Cases, Draw, agrees, op
from tests.models.graphs.harness import evaluate

EPSILONS = st.sampled_from([{}, {"epsilon": 0.1}])


@st.composite
def batch(draw: Draw) -> Case:
    channels = draw(SIDES)
    mean, variance = np.linspace(-1, 1, channels), np.linspace(0.5, 2, channels)
    places = draw(st.lists(SIDES, max_size=2))
    epsilon = draw(EPSILONS)
    return Case(
        lambda x, scale, bias: x.graph.op(
            "BatchNormalization",
            *(x, scale, bias),
            *(statistic.astype(x.dtype) for statistic in (mean, variance)),
            **epsilon,
        ),
        [(3, channels, *places), (channels,), (channels,)],
        rows=True,
    )


@st.composite
def instance(draw: Draw) -> Case:
    channels, places = draw(SIDES), draw(st.lists(st.integers(2, 3), min_size=1, max_size=2))
    shapes = [(2, channels, *places), (channels,), (channels,)]
    return Case(op("InstanceNormalization", **draw(EPSILONS)), shapes, rows=True)


@st.composite
def layer(draw: Draw) -> Case:
    shape = (2, *(draw(st.integers(2, 4)) for _ in range(draw(st.integers(1, 2)))))
    axis = draw(st.integers(1, len(shape) - 1))
    parameters = [shape[axis:]] * draw(st.integers(1, 2))
    written = draw(st.sampled_from([axis, axis - len(shape)]))
    attributes = {"axis": written, "epsilon": 0.1, "stash_type": 11}
    return Case(op("LayerNormalization", **attributes), [shape, *parameters], rows=True)


CASES: Cases = {
    "BatchNormalization": batch(),
    "InstanceNormalization": instance(),
    "LayerNormalization": layer(),
}

test_a_rule_agrees_with_finite_differences = agrees(CASES)


def test_the_statistics_of_batches_stay_as_they_are() -> None:
    graph = Graph()
    x, one = graph.input("x", ("N", 2)), np.ones(2)
    mean, scale = graph.parameter("mean", one), graph.parameter("scale", one)
    variance = graph.constant(one.astype(np.float32))
    y = graph.op("BatchNormalization", x, scale, variance, mean, variance)
    gradients = differentiate(graph, y, [mean, scale])
    rows = np.array([[3.0, 1.0]], np.float32)
    found = evaluate(gradients["scale"], {"x": rows})
    np.testing.assert_allclose(found, [2, 0], rtol=1e-4)
    assert not evaluate(gradients["mean"], {"x": rows}).any()


def test_normalising_by_the_batch_s_own_statistics_is_refused() -> None:
    graph = Graph()
    x, one = graph.input("x", ("N", 2)), graph.parameter("one", np.ones(2))
    y = graph.apply("BatchNormalization", (x, *[one] * 4), {"training_mode": 1}, count=3)[0]
    with pytest.raises(UnsupportedError, match="export the model in inference mode"):
        differentiate(graph, y, [one])


def test_learning_through_the_mean_that_a_normalisation_found_is_refused() -> None:
    graph = Graph()
    x, one = graph.parameter("x", np.ones((2, 3))), np.ones(3, np.float32)
    _, mean = graph.apply("LayerNormalization", (x, one), {}, count=2)
    with pytest.raises(UnsupportedError, match="compute it with ReduceMean"):
        differentiate(graph, mean, [x])


def test_standardising_over_the_last_axis_needs_not_be_said() -> None:
    graph = Graph(np.float64)
    x = graph.parameter("x", np.array([[[1.0, 2.0, 6.0], [0.0, 1.0, -1.0]]]))
    one = np.ones(3)
    found, said = (
        evaluate(differentiate(graph, y * y * y, [x])["x"])
        for y in (
            graph.op("LayerNormalization", x, one, stash_type=11),
            graph.op("LayerNormalization", x, one, stash_type=11, axis=-1),
        )
    )
    assert found.any()
    np.testing.assert_allclose(found, said, rtol=1e-12)


def test_a_normalisation_may_give_its_mean_but_not_learn_through_it() -> None:
    graph = Graph()
    x, one = graph.parameter("x", np.array([[1.0, 2.0, 6.0]])), np.ones(3, np.float32)
    y, mean, _ = graph.apply("LayerNormalization", (x, one), {}, count=3)
    assert evaluate(differentiate(graph, y * y * y, [x])["x"]).any()
    with pytest.raises(UnsupportedError, match="compute it with ReduceMean"):
        differentiate(graph, y + mean, [x])
