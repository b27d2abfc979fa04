from __future__ import annotations

import numpy as np

from headwater_agent.compute import Compute
from headwater_agent.events import Batch, Infer, Model, Train, Version, Windows
from headwater_models.arrays import Arrays
from headwater_models.session import Predictor
from tests.models.bundles import tiny

RNG = np.random.default_rng(3)


def windows(rows: int) -> Windows:
    values = RNG.uniform(0, 10, (rows, 3, 2)).astype(np.float32)
    times = np.arange(rows, dtype=np.int64) * 60_000
    return Windows(("tank-1",) * rows, times, values, times)


def test_each_model_is_run_with_its_own_parameters() -> None:
    bundle = tiny("mlp")
    other = {name: array + np.float32(0.1) for name, array in bundle.weights.items()}
    asked = windows(5)
    answer = Compute(bundle).infer(Infer(asked, {"released": bundle.weights, "personal": other}))
    predictor = Predictor(bundle.infer)
    sets: dict[Model, Arrays] = {"released": bundle.weights, "personal": other}
    for model, parameters in sets.items():
        expected = predictor.run(asked.values, asked.times, parameters)
        np.testing.assert_array_equal(answer.outputs[model], expected)


def test_new_parameters_take_effect_with_the_next_call() -> None:
    bundle = tiny("mlp")
    compute, asked = Compute(bundle), windows(2)
    first = compute.infer(Infer(asked, {"released": bundle.weights})).outputs["released"]
    other = {name: array + np.float32(0.1) for name, array in bundle.weights.items()}
    second = compute.warm(Version("v2", 2, other), Infer(asked, {"released": other}))
    assert not np.array_equal(first, second.outputs["released"])


def test_a_step_moves_the_parameters_and_gives_each_rows_loss() -> None:
    bundle = tiny("linear")
    asked = windows(4)
    state = {array.name: np.zeros(array.shape, np.float32) for array in bundle.manifest.state}
    batch = Batch(asked.values, asked.times, np.full((4, 1), 9, np.float32), np.ones(4, np.float32))
    answer = Compute(bundle).train(Train(batch, bundle.weights, state, 0.01, "personal"))
    assert answer.losses.shape == (4,)
    assert any(
        not np.array_equal(answer.parameters[name], array) for name, array in bundle.weights.items()
    )
