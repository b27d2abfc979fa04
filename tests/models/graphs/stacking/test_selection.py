from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.serialisation import encode
from headwater_models.graphs.stack import stack
from tests.models.graphs.gradients.test_selection import CASES
from tests.models.graphs.stacking.cases import agrees, assert_equal_to_a_loop
from tests.models.graphs.stacking.test_rule import graph_of

RNG = np.random.default_rng(0)
SUBSETS = st.sets(st.sampled_from(["x", "at"]), min_size=1)
MASKS = st.lists(st.booleans(), min_size=3, max_size=3)

test_a_stack_agrees_with_a_loop = agrees(CASES)


@settings(max_examples=20, derandomize=True, deadline=None)
@given(SUBSETS, st.integers(-3, 2), st.sampled_from([(), (2,), (2, 3)]))
def test_each_member_may_pick_by_indices_of_its_own(
    own: Collection[str], axis: int, shape: tuple[int, ...]
) -> None:
    graph = Graph()
    x, at = graph.input("x", (4, 4, 4)), graph.input("at", shape, np.int64)
    y = graph.op("Gather", x, at, axis=axis)
    drawn: dict[str, NDArray[Any]] = {
        "x": RNG.normal(size=(3, 4, 4, 4)).astype(np.float32),
        "at": RNG.integers(-4, 4, (3, *shape)),
    }
    feeds = {name: a if name in own else np.asarray(a[0]) for name, a in drawn.items()}
    assert_equal_to_a_loop(graph_of(y), own, feeds, rtol=0)


@settings(max_examples=20, derandomize=True, deadline=None)
@given(SUBSETS, st.integers(0, 1))
def test_each_member_may_pick_by_places_of_its_own(own: Collection[str], shared: int) -> None:
    graph = Graph()
    x, at = graph.input("x", (2, 3, 4)), graph.input("at", (2, 1), np.int64)
    y = graph.op("GatherND", x, at, batch_dims=shared)
    z = graph.op("GatherElements", x.sum([2]), at, axis=1)
    drawn: dict[str, NDArray[Any]] = {
        "x": RNG.normal(size=(3, 2, 3, 4)).astype(np.float32),
        "at": RNG.integers(0, 2, (3, 2, 1)),
    }
    feeds = {name: a if name in own else a[0] for name, a in drawn.items()}
    assert_equal_to_a_loop(graph_of(y, z), own, feeds, rtol=1e-6)


@settings(max_examples=20, derandomize=True, deadline=None)
@given(SUBSETS)
def test_each_member_may_put_to_places_of_its_own(own: Collection[str]) -> None:
    graph = Graph()
    x, at = graph.input("x", (4, 2)), graph.input("at", (3, 1), np.int64)
    one = np.ones((3, 2), np.float32)
    y = graph.op("ScatterND", x, at, one, reduction="add")
    z = graph.op("ScatterElements", x, at, one[:, :1], axis=0, reduction="add")
    drawn: dict[str, NDArray[Any]] = {
        "x": RNG.normal(size=(3, 4, 2)).astype(np.float32),
        "at": RNG.integers(0, 4, (3, 3, 1)),
    }
    feeds = {name: a if name in own else a[0] for name, a in drawn.items()}
    assert_equal_to_a_loop(graph_of(y, z), own, feeds, rtol=1e-6)


def replaced(x: Value, other: Value, kept: Value) -> Value:
    """Put *other* in the place of *x* where *kept*, as a training step does."""
    graph = x.graph
    at = graph.op("Compress", np.array([[0]]), kept, axis=0)
    return graph.op("ScatterND", x, at, graph.op("Compress", other, kept, axis=0))


@given(MASKS)
def test_a_row_is_replaced_for_the_members_that_say_so_bit_for_bit(mask: list[bool]) -> None:
    graph = Graph()
    x, other = graph.input("x", (1, 3)), graph.input("other", (1, 3))
    y = replaced(x, other, graph.input("kept", (1,), np.bool_))
    feeds = {
        "x": RNG.normal(size=(3, 1, 3)).astype(np.float32),
        "other": RNG.normal(size=(3, 1, 3)).astype(np.float32),
        "kept": np.array(mask)[:, np.newaxis],
    }
    found = assert_equal_to_a_loop(graph_of(y), feeds, feeds, rtol=1e-6)["y0"]
    wanted = np.where(feeds["kept"][:, :, np.newaxis], feeds["other"], feeds["x"])
    assert found.tobytes() == wanted.tobytes()


def test_the_same_slices_are_kept_of_all() -> None:
    graph = Graph()
    y = graph.op("Compress", graph.input("x", (2, 3)), np.array([True, False, True]), axis=1)
    values = RNG.normal(size=(3, 2, 3)).astype(np.float32)
    assert_equal_to_a_loop(graph_of(y), ["x"], {"x": values}, rtol=0)


@pytest.mark.parametrize("rows", [1, 2])
def test_members_that_keep_different_numbers_of_rows_are_refused(rows: int) -> None:
    graph = Graph()
    x, kept = graph.input("x", (rows, 3)), graph.input("kept", (rows,), np.bool_)
    y = graph.op("Compress", x, kept, axis=0).sum([0])
    with pytest.raises(UnsupportedError, match="different numbers of rows"):
        stack(graph_of(y), ["kept"])


def test_an_output_of_rows_that_only_some_members_keep_is_refused() -> None:
    graph = Graph()
    x, kept = graph.input("x", (1, 3)), graph.input("kept", (1,), np.bool_)
    graph.output(graph.op("Compress", x, kept, axis=0, name="y"))
    with pytest.raises(UnsupportedError, match="'y' has different numbers of rows"):
        stack(encode(graph), ["kept"])


def test_a_row_that_only_some_members_put_among_several_is_refused() -> None:
    graph = Graph()
    x, kept = graph.input("x", (2, 3)), graph.input("kept", (1,), np.bool_)
    y = replaced(x, graph.input("other", (1, 3)), kept)
    with pytest.raises(UnsupportedError, match="put different numbers of rows"):
        stack(graph_of(y), ["kept"])
