from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from headwater_agent.compute import Compute
from headwater_agent.events import Batch, Infer, Model, Train, Windows
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.graphs.stack import stack_inference
from headwater_models.session import Predictor
from tests.models.bundles import tiny

RNG = np.random.default_rng(3)


def windows(rows: int) -> Windows:
    values = RNG.uniform(0, 10, (rows, 3, 2)).astype(np.float32)
    times = np.arange(rows, dtype=np.int64) * 60_000
    return Windows(("tank-1",) * rows, times, values)


def model(*, stacked: bool) -> Bundle:
    bundle = tiny("mlp")
    graph = stack_inference(bundle.infer, bundle.manifest) if stacked else None
    return dataclasses.replace(bundle, stacked=graph)


def shifted(bundle: Bundle, by: float) -> Arrays:
    return {name: array + np.float32(by) for name, array in bundle.weights.items()}


@pytest.mark.parametrize("stacked", [True, False])
def test_each_model_is_run_with_its_own_parameters(stacked: bool) -> None:
    bundle = model(stacked=stacked)
    sets: dict[Model, Arrays] = {"released": bundle.weights, "personal": shifted(bundle, 0.1)}
    asked = windows(5)
    answer = Compute(bundle).infer(Infer(asked, sets))
    predictor = Predictor(bundle.infer)
    for name, parameters in sets.items():
        expected = predictor.run(asked.values, asked.times, parameters)
        np.testing.assert_allclose(answer.outputs[name], expected, rtol=1e-6)


@pytest.mark.parametrize("stacked", [True, False])
def test_new_parameters_take_effect_with_the_next_call_and_leave_the_other_model(
    stacked: bool,
) -> None:
    bundle = model(stacked=stacked)
    compute, asked = Compute(bundle), windows(2)
    sets: dict[Model, Arrays] = {"released": bundle.weights, "personal": shifted(bundle, 0.1)}
    first = compute.infer(Infer(asked, sets)).outputs
    released = compute.infer(Infer(asked, {"released": shifted(bundle, 0.2)})).outputs
    again = compute.infer(Infer(asked, sets)).outputs
    assert not np.array_equal(first["released"], released["released"])
    assert released.keys() == {"released"}
    for name, output in first.items():
        np.testing.assert_array_equal(output, again[name])


def test_a_step_moves_the_parameters_and_gives_each_rows_loss() -> None:
    bundle = tiny("linear")
    asked = windows(4)
    state = {array.name: np.zeros(array.shape, np.float32) for array in bundle.manifest.state}
    batch = Batch(asked.values, asked.times, np.full((4, 1), 9, np.float32), np.ones(4, np.float32))
    answer = Compute(bundle).train(Train(batch, bundle.weights, state, (0.01,), "personal"))
    assert answer.losses.shape == (4,)
    assert any(
        not np.array_equal(answer.parameters[name], array) for name, array in bundle.weights.items()
    )
