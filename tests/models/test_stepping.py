from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.graphs.builders.solved import on_backbone
from headwater_models.session import Trainer, initial_state
from headwater_models.stepping import Stepper
from tests.models.graphs.example import all_specs, kind_specs, model_spec, random_weights, rows

Arrays = dict[str, NDArray[Any]]
SPECS = {
    spec.name + spec.kind + spec.task + spec.optimiser.name: spec
    for spec in (*all_specs("sgd", "adam"), *kind_specs(), model_spec(personal="blend"))
}
BUILT = {name: build(spec, np.random.default_rng(0)) for name, spec in SPECS.items()}
"""Each with a stepper that is used again for other numbers of rows."""

STEPPERS = {name: Stepper(built.train) for name, built in BUILT.items()}
ADAM = model_spec()


def narrow(arrays: Arrays) -> Arrays:
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def assert_same(one: Arrays, other: Arrays) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(SPECS)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 5),
    st.lists(st.sampled_from([0.0, 0.01, 0.1]), min_size=1, max_size=5),
)
def test_a_run_is_its_steps_one_after_the_other_to_the_last_bit(
    name: str, seed: int, size: int, rates: list[float]
) -> None:
    rng, built = np.random.default_rng(seed), BUILT[name]
    batch = rows(SPECS[name], rng, size * len(rates)).cast("float32")
    weights = narrow(random_weights(built.weights, rng))
    start = initial_state(built.manifest)
    run = STEPPERS[name].steps(batch, weights, start, rates)
    trainer, parameters, state, losses = Trainer(built.train), weights, start, []
    for number, rate in enumerate(rates):
        own = slice(size * number, size * (number + 1))
        part = type(batch)(batch.window[own], batch.time[own], batch.label[own], batch.weight[own])
        parameters, state, loss = trainer.step(part, parameters, state, rate)
        losses.append(loss)
    assert_same(run[0], parameters)
    assert_same(run[1], state)
    np.testing.assert_array_equal(run[2], np.concatenate(losses))


def one_run(built: Any, spec: ModelSpec = ADAM, **changes: Any) -> tuple[Arrays, Arrays, Any]:
    batch = rows(spec, np.random.default_rng(1), 6).cast("float32")
    given: dict[str, Any] = {
        "parameters": built.weights,
        "state": initial_state(built.manifest),
        "learning_rates": (0.1, 0.1),
    }
    return Stepper(built.train).steps(batch, **(given | changes))


def test_what_a_run_is_given_and_what_it_gave_stay_as_they_are() -> None:
    built = build(ADAM, np.random.default_rng(0))
    weights, state = narrow(built.weights), initial_state(built.manifest)
    kept = {name: array.copy() for name, array in (weights | state).items()}
    stepper, batch = Stepper(built.train), rows(ADAM, np.random.default_rng(1), 6).cast("float32")
    first = stepper.steps(batch, weights, state, (0.1, 0.1))
    held = {name: array.copy() for name, array in (first[0] | first[1]).items()}
    stepper.steps(batch, first[0], first[1], (0.1,))
    assert_same(weights | state, kept)
    assert_same(first[0] | first[1], held)


def test_statistics_are_gathered_over_a_run() -> None:
    made = build(model_spec(), np.random.default_rng(0))
    manifest, _, train, weights = on_backbone(
        made.manifest, made.infer, made.weights, "ridge", ridge=1.0, min_count=None
    )
    batch = rows(model_spec(), np.random.default_rng(1), 6).cast("float32")
    new, state, losses = Stepper(train).steps(batch, weights, initial_state(manifest), (0.0, 0.0))
    _, whole, _ = Trainer(train).step(batch, weights, initial_state(manifest), 0.0)
    assert_same(new, weights)
    assert losses.shape == (6,)
    for name, array in whole.items():
        np.testing.assert_allclose(state[name], array, rtol=1e-6, atol=1e-9)


def test_arrays_of_other_names_or_shapes_are_refused() -> None:
    built = build(ADAM, np.random.default_rng(0))
    with pytest.raises(BundleError, match=r"unknown \['other'\]"):
        one_run(built, parameters=built.weights | {"other": np.zeros(1, np.float32)})
    wrong = built.weights | {"head.bias": np.zeros((), np.float32)}
    with pytest.raises(BundleError, match=r"`head\.bias` is \[1\], not \[\]"):
        one_run(built, parameters=wrong)
    with pytest.raises(BundleError, match=r"`window` is \[4, .*, not \[6"):
        one_run(built, learning_rates=(0.1,) * 4)
    with pytest.raises(BundleError, match="`window` is"):
        one_run(built, model_spec(window=5))
