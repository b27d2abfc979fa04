"""How a rule is judged: the stacked graph against a loop over the members, both by the runtime."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_models.graphs.serialisation import decode
from headwater_models.graphs.stack import stack
from tests.models.graphs.gradients.cases import Case, Cases, forward_graph, gradient_graph
from tests.models.graphs.harness import exact_runner, runner

MEMBERS = 3

Arrays = Mapping[str, NDArray[Any]]


def agrees(cases: Cases) -> Callable[..., None]:
    """Return the test of these operators and of those that their gradients are made of."""

    @settings(max_examples=8, derandomize=True, deadline=None)
    @given(data=st.data(), seed=st.integers(0, 2**32 - 1))
    def test(operator: str, data: st.DataObject, seed: int) -> None:
        case = data.draw(cases[operator])
        graph = gradient_graph(case, np.float32)
        names = sorted(decode(graph).inputs)
        own = data.draw(st.sets(st.sampled_from(names), min_size=1))
        check(graph, own, lambda: draw(case, np.random.default_rng(seed), own))

    parametrised: Callable[..., None] = pytest.mark.parametrize("operator", sorted(cases))(test)
    return parametrised


def draw(case: Case, rng: np.random.Generator, own: Collection[str]) -> Arrays:
    """Draw the inputs of a gradient graph, with the axis of the members where it belongs."""
    feeds: dict[str, NDArray[Any]] = {}
    for number, shape in enumerate(case.shapes):
        name = f"p{number}"
        times = MEMBERS if name in own else 1
        found = np.stack([case.values(rng, shape) for _ in range(times)]).astype(np.float32)
        feeds[name] = found if name in own else np.asarray(found[0])
    member = {n: np.asarray(a[0] if n in own else a, np.float64) for n, a in feeds.items()}
    y = exact_runner(forward_graph(case))(member)["y"]
    full = (MEMBERS, *y.shape) if "cotangent" in own else y.shape
    cotangent = np.asarray(rng.uniform(-1, 1, full), np.float32)
    return {**feeds, "cotangent": cotangent}


def check(graph: bytes, own: Collection[str], feeds: Callable[[], Arrays]) -> None:
    """Compare one call of the stacked graph with a call of the graph for each member."""
    arrays = feeds()
    assert_equal_to_a_loop(graph, own, arrays, rtol=1e-5)


def assert_equal_to_a_loop(
    graph: bytes, own: Collection[str], arrays: Arrays, *, rtol: float
) -> dict[str, NDArray[Any]]:
    """Return what the stacked graph gives, once each output is within *rtol* of its size."""
    together = runner(stack(graph, own))(arrays)
    alone = runner(graph)
    (members,) = {len(arrays[name]) for name in own}
    for member in range(members):
        one = alone({n: np.asarray(a[member]) if n in own else a for n, a in arrays.items()})
        for name, wanted in one.items():
            found = together[name]
            assert found.shape == (members, *wanted.shape), name
            assert found.dtype == wanted.dtype
            size = np.abs(wanted[np.isfinite(wanted)]).max(initial=1e-3)
            np.testing.assert_allclose(found[member], wanted, rtol=rtol, atol=rtol * size)
    return together
