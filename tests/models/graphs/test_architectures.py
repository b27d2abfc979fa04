"""Random small networks of operators that can be differentiated: the whole gradient holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.serialisation import encode
from tests.models.graphs.gradients.cases import assert_agrees, ints
from tests.models.graphs.harness import runner

ROWS, STEPS, WIDTH = 2, 3, 2


class Net:
    """A graph that draws an array for each parameter it declares."""

    def __init__(self, dtype: type, seed: int) -> None:
        self.graph = Graph(dtype)
        self.rng = np.random.default_rng(seed)
        self.arrays: dict[str, NDArray[np.float64]] = {}

    def parameter(self, *shape: int) -> Value:
        name = f"p{len(self.arrays)}"
        self.arrays[name] = self.rng.normal(0, 0.8, shape)
        return self.graph.input(name, shape)

    def dense(self, h: Value, width: int) -> Value:
        return h @ self.parameter(int(h.shape[-1]), width) + self.parameter(width)

    def op(self, operator: str, *inputs: Any, **attributes: Any) -> Value:
        return self.graph.op(operator, *inputs, **attributes)


def hidden(net: Net, h: Value) -> Value:
    return net.op("Tanh", net.dense(h, WIDTH + 1))


def gemm(net: Net, h: Value) -> Value:
    return net.op("Gemm", h, net.parameter(3, int(h.shape[1])), net.parameter(3), transB=1)


def residual(net: Net, h: Value) -> Value:
    return h + net.op("Sigmoid", net.dense(h, int(h.shape[-1])))


def gate(net: Net, h: Value) -> Value:
    return h * net.op("Softmax", net.dense(h, int(h.shape[-1])), axis=-1)


def normalise(net: Net, h: Value) -> Value:
    width = int(h.shape[-1])
    scale, bias = net.parameter(width), net.parameter(width)
    return net.op("LayerNormalization", h, scale, bias, epsilon=0.1, stash_type=11)


def bounded(net: Net, h: Value) -> Value:
    return net.op("Clip", net.op("Max", h, net.parameter(1)), -1.5, 1.5)


def convolve(net: Net, h: Value) -> Value:
    steps, width = int(h.shape[1]), int(h.shape[2])
    padded = net.op("Pad", h, ints(0, 1, 0, 0, 0, 0))
    at = np.arange(steps)[:, None] + np.arange(2)
    patches = net.op("Gather", padded, at, axis=1)
    return net.dense(net.op("Reshape", patches, ints(0, steps, 2 * width)), WIDTH)


def recur(net: Net, h: Value) -> Value:
    steps = int(h.shape[1])
    weight = net.parameter(WIDTH, WIDTH)
    given = net.dense(h, WIDTH)
    parts = net.graph.apply("Split", (given, ints(*[1] * steps)), {"axis": 1}, count=steps)
    states = [net.op("Tanh", parts[0])]
    for part in parts[1:]:
        states.append(net.op("Tanh", part + states[-1] @ weight))
    return net.op("Concat", *states, axis=1)


def attend(net: Net, h: Value) -> Value:
    asked, offered = net.dense(h, WIDTH), net.dense(h, WIDTH)
    return net.op("Softmax", asked @ offered.transpose([0, 2, 1]), axis=-1) @ h


def differences(net: Net, h: Value) -> Value:
    later = net.op("Slice", h, ints(1), ints(2**31 - 1), ints(1))
    earlier = net.op("Slice", h, ints(0), ints(-1), ints(1))
    return net.op("Concat", net.op("CumSum", h, np.array(1)), later - earlier, axis=1)


def mean(net: Net, h: Value) -> Value:
    return net.op("ReduceMean", h, ints(1), keepdims=0)


def largest(net: Net, h: Value) -> Value:
    return net.op("ReduceLogSumExp", h, ints(1), keepdims=0)


def flat(net: Net, h: Value) -> Value:
    return net.op("Flatten", h)


Stage = Callable[[Net, Value], Value]
ANYWHERE: list[Stage] = [hidden, residual, gate, normalise, bounded]
ALONG: list[Stage] = [*ANYWHERE, convolve, recur, attend, differences]
POOLS: list[Stage] = [mean, largest, flat]
AFTER: list[Stage] = [*ANYWHERE, gemm]


def network(stages: list[Stage], dtype: type, seed: int) -> tuple[bytes, Net]:
    net = Net(dtype, seed)
    h = net.graph.input("x", ("N", STEPS, WIDTH))
    for stage in stages:
        h = stage(net, h)
    y = (net.dense(h, 2) * net.dense(h, 2)).sum([1])
    parameters = [net.graph.value(name) for name in net.arrays]
    gradients = differentiate(net.graph, y, parameters, net.graph.input("cotangent", ("N",)))
    for name, value in {"y": y, **{f"d.{n}": v for n, v in gradients.items()}}.items():
        net.graph.output(net.op("Identity", value, name=name))
    return encode(net.graph), net


@settings(max_examples=25, derandomize=True)
@given(
    st.lists(st.sampled_from(ALONG), max_size=3),
    st.sampled_from(POOLS),
    st.lists(st.sampled_from(AFTER), max_size=2),
    st.integers(0, 2**32 - 1),
)
def test_the_gradient_of_a_random_network_agrees_with_finite_differences(
    along: list[Stage], pool: Stage, after: list[Stage], seed: int
) -> None:
    stages = [*along, pool, *after]
    graph, net = network(stages, np.float64, seed)
    run = runner(graph)
    feeds = {
        **net.arrays,
        "x": net.rng.normal(size=(ROWS, STEPS, WIDTH)),
        "cotangent": net.rng.uniform(-1, 1, ROWS),
    }
    found = run(feeds)
    assert_agrees(feeds, net.arrays, run, found)
    single = runner(network(stages, np.float32, seed)[0])
    rough = single({name: array.astype(np.float32) for name, array in feeds.items()})
    for name in found:
        size = max(1.0, float(np.abs(found[name]).max()))
        np.testing.assert_allclose(rough[name] / size, found[name] / size, rtol=0, atol=1e-4)
