"""Whole models: one call of the stacked graph against a loop over the members."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.optimisers import optimisers
from headwater_models.graphs.serialisation import decode, encode
from headwater_models.graphs.stack import stack, stack_inference
from headwater_models.manifest import Array
from headwater_models.session import initial_state
from tests.models.bundles import manifest_with
from tests.models.graphs.example import all_specs, kind_specs, model_spec, optimiser, rows, spec_id
from tests.models.graphs.harness import runner
from tests.models.graphs.importing.exports import FILES, bundle, windows
from tests.models.graphs.stacking.cases import assert_equal_to_a_loop
from tests.models.graphs.test_architectures import AFTER, ALONG, POOLS, Stage, network

Arrays = dict[str, NDArray[Any]]

MEMBERS = 3
ROWS = ("window", "time", "label", "weight")
OPTIMISERS = sorted(optimisers())


def variants() -> list[ModelSpec]:
    """List each kind, head, loss and optimiser at least once."""
    plain = [model_spec(optimiser=optimiser(name, clip=0.5)) for name in OPTIMISERS]
    return [
        *all_specs("adam"),
        *kind_specs(optimiser=optimiser("adamw", weight_decay=0.1)),
        *plain,
        model_spec(loss="quantile", quantiles=(0.1, 0.5, 0.8)),
        model_spec(personal="blend"),
        model_spec(personal="head", normalise="layer"),
        model_spec(freeze=("head.*",)),
        model_spec(learner="ridge"),
        model_spec(task="classification", learner="ridge"),
        model_spec(task="classification", learner="naive_bayes"),
    ]


def inputs(spec: ModelSpec, built: Any, seed: int, count: int = 4) -> Arrays:
    """Draw all that a training graph takes, by name."""
    rng = np.random.default_rng(seed)
    batch = rows(spec, rng, count).cast("float32")
    found: Arrays = {name: getattr(batch, name) for name in ROWS}
    for name, first in built.weights.items():
        found[name] = rng.normal(0, 0.5, first.shape).astype(np.float32)
    for name, array in initial_state(built.manifest).items():
        found[name] = np.abs(rng.normal(0, 0.5, array.shape)).astype(array.dtype)
    return {**found, "learning_rate": np.array(0.01, np.float32)}


def feeds(graph: bytes, drawn: list[Arrays], own: Collection[str]) -> Arrays:
    return {
        name: np.stack([d[name] for d in drawn]) if name in own else np.asarray(drawn[0][name])
        for name in decode(graph).inputs
    }


def own_of(graph: bytes, *shared: str) -> set[str]:
    return set(decode(graph).inputs) - set(shared)


@pytest.mark.parametrize("shared", [(), ("window", "time")], ids=["own-window", "one-window"])
@pytest.mark.parametrize("spec", variants(), ids=spec_id)
def test_many_models_predict_in_one_call_what_each_does_alone(
    spec: ModelSpec, shared: tuple[str, ...]
) -> None:
    built = build(spec, np.random.default_rng(1))
    own = own_of(built.infer, *shared) or {"window"}
    arrays = feeds(built.infer, [inputs(spec, built, seed) for seed in range(MEMBERS)], own)
    assert_equal_to_a_loop(built.infer, own, arrays, rtol=1e-5)


@pytest.mark.parametrize("spec", variants(), ids=spec_id)
def test_many_devices_learn_in_one_call_what_each_does_alone(spec: ModelSpec) -> None:
    built = build(spec, np.random.default_rng(1))
    own = own_of(built.train, "learning_rate")
    arrays = feeds(built.train, [inputs(spec, built, seed) for seed in range(MEMBERS)], own)
    assert_equal_to_a_loop(built.train, own, arrays, rtol=1e-4)


@pytest.mark.parametrize("file", FILES)
def test_imported_models_predict_and_learn_in_one_call(file: str) -> None:
    model, rng = bundle(file), np.random.default_rng(0)
    window = np.stack([windows(file, 3) + member for member in range(2)]).astype(np.float32)
    label = rng.integers(0, 2, (2, 3, 1)).astype(np.float32)
    weights = {name: np.stack([a, a * np.float32(0.9)]) for name, a in model.weights.items()}
    # Of no state adam's first step is the sign of the gradient, be it but rounding.
    state = {n: np.ones((2, *a.shape), a.dtype) for n, a in initial_state(model.manifest).items()}
    batch = {"window": window, "label": label, "weight": np.ones((2, 3), np.float32)}
    for graph in (model.infer, model.train):
        own = own_of(graph, "learning_rate")
        known = batch | weights | state | {"learning_rate": np.array(0.01, np.float32)}
        arrays = {name: known[name] for name in decode(graph).inputs}
        assert_equal_to_a_loop(graph, own, arrays, rtol=1e-4)


def test_a_stack_takes_any_number_of_members() -> None:
    spec = model_spec()
    built = build(spec, np.random.default_rng(1))
    own = own_of(built.infer, *ROWS)
    for members in (1, 2, 7):
        drawn = [inputs(spec, built, seed) for seed in range(members)]
        assert_equal_to_a_loop(built.infer, own, feeds(built.infer, drawn, own), rtol=1e-5)


def idle(arrays: Arrays, member: int) -> Arrays:
    """Take all that a member could learn from away: NaN in its rows, 0 as their weight."""
    changed = {name: array.copy() for name, array in arrays.items()}
    for name in ("window", "label"):
        changed[name][member] = np.nan
    changed["weight"][member] = 0
    return changed


@pytest.mark.parametrize("spec", variants(), ids=spec_id)
def test_a_member_without_a_row_comes_out_of_a_step_as_it_went_in(spec: ModelSpec) -> None:
    built = build(spec, np.random.default_rng(1))
    own = own_of(built.train, "learning_rate")
    arrays = feeds(built.train, [inputs(spec, built, seed) for seed in range(MEMBERS)], own)
    run = runner(stack(built.train, own))
    together, without = run(arrays), run(idle(arrays, 1))
    moved = [name for name in together if name != "loss"]
    for name in moved:
        assert without[name][1].tobytes() == arrays[name.removeprefix("new.")][1].tobytes()
        for other in (0, 2):
            assert without[name][other].tobytes() == together[name][other].tobytes()


@pytest.mark.parametrize("spec", kind_specs(optimiser=optimiser("adam")), ids=spec_id)
def test_a_member_with_fewer_rows_fills_up_with_rows_of_weight_zero(spec: ModelSpec) -> None:
    built = build(spec, np.random.default_rng(1))
    own = own_of(built.train, "learning_rate")
    drawn = [inputs(spec, built, seed) for seed in range(2)]
    few = drawn[1] | {name: drawn[1][name][:2] for name in ROWS}
    filled = dict(drawn[1])
    for name, filler in {"window": np.nan, "label": np.nan, "weight": 0.0}.items():
        filled[name] = filled[name].copy()
        filled[name][2:] = filler
    together = runner(stack(built.train, own))(feeds(built.train, [drawn[0], filled], own))
    alone = runner(built.train)({name: few[name] for name in decode(built.train).inputs})
    for name, wanted in alone.items():
        found = together[name][1][:2] if name == "loss" else together[name][1]
        size = np.abs(wanted).max(initial=1e-3)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * size)


@settings(max_examples=15, derandomize=True, deadline=None)
@given(
    st.lists(st.sampled_from(ALONG), max_size=3),
    st.sampled_from(POOLS),
    st.lists(st.sampled_from(AFTER), max_size=2),
    st.data(),
)
def test_gradients_of_random_networks_agree_with_a_loop(
    along: list[Stage], pool: Stage, after: list[Stage], data: st.DataObject
) -> None:
    graph, net = network([*along, pool, *after], np.float64, data.draw(st.integers(0, 99)))
    shapes = {name: a.shape for name, a in net.arrays.items()} | {"x": (4, 3, 2), "cotangent": (4,)}
    own = data.draw(st.sets(st.sampled_from(sorted(shapes)), min_size=1))
    arrays = {
        name: net.rng.normal(size=(MEMBERS, *shape) if name in own else shape)
        for name, shape in shapes.items()
    }
    assert_equal_to_a_loop(graph, own, arrays, rtol=1e-10)


def test_an_operator_without_a_rule_is_refused_by_name() -> None:
    graph = Graph()
    graph.output(graph.op("Hardmax", graph.input("x", ("N", 3)), name="y"))
    with pytest.raises(UnsupportedError, match=r"Operator Hardmax \(node 'y'\).*one by one"):
        stack(encode(graph), ["x"])


def test_an_operator_without_a_rule_may_work_on_what_all_members_share() -> None:
    graph = Graph()
    x, w = graph.input("x", ("N", 3)), graph.input("w", (3,))
    graph.output(graph.op("Mul", graph.op("Hardmax", x), w, name="y"))
    values = {"x": np.eye(3, dtype=np.float32), "w": np.ones((2, 3), np.float32)}
    assert_equal_to_a_loop(encode(graph), ["w"], values, rtol=0)


@pytest.mark.parametrize(("own", "named"), [({"nonsense"}, "nonsense"), (set(), "none")])
def test_members_must_have_an_input_of_their_own(own: set[str], named: str) -> None:
    infer = build(model_spec(), np.random.default_rng(1)).infer
    with pytest.raises(UnsupportedError, match=f"cannot have {named} of their own"):
        stack(infer, own)


def test_a_bundle_s_graph_is_of_members_with_arrays_of_their_own_on_one_window() -> None:
    built = build(model_spec(), np.random.default_rng(1))
    assert stack_inference(built.infer, built.manifest) == stack(built.infer, built.weights)


def test_a_bundle_does_without_where_an_operator_cannot_be_stacked() -> None:
    graph = Graph()
    window, w = graph.input("window", ("N", 3, 2)), graph.parameter("w", np.ones((3, 2)))
    graph.output(graph.op("Hardmax", window * w, name="prediction"))
    assert stack_inference(encode(graph), manifest_with(Array(name="w", shape=(3, 2)))) is None
