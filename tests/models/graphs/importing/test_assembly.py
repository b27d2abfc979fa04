"""Models as exporters write them become bundles that predict the same and learn."""

from __future__ import annotations

import numpy as np
import pytest

from headwater_models.checks import GoldenBatch, check_bundle
from headwater_models.session import Predictor, Trainer, initial_state
from tests.models.graphs.importing.exports import FILES, bundle, original, windows


@pytest.mark.parametrize("file", FILES)
def test_an_imported_model_predicts_what_its_file_does(file: str) -> None:
    window = windows(file)
    made = bundle(file)
    found = Predictor(made.infer).run(window, np.zeros(len(window), np.int64), made.weights)
    np.testing.assert_allclose(found, original(file, window), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("file", FILES)
def test_an_imported_model_keeps_every_law_of_a_bundle(file: str) -> None:
    assert list(check_bundle(bundle(file), np.random.default_rng(0)))


@pytest.mark.parametrize("file", FILES)
def test_a_few_steps_lower_the_loss(file: str) -> None:
    made, window = bundle(file), windows(file)
    rng = np.random.default_rng(2)
    label = window[:, -1, :1] - 1
    if made.manifest.task == "classification":
        label = rng.integers(made.manifest.outputs, size=(len(window), 1)).astype(np.float32)
    batch = GoldenBatch(
        window, np.zeros(len(window), np.int64), label, np.ones(len(window), np.float32)
    )
    trainer, parameters, state = Trainer(made.train), made.weights, initial_state(made.manifest)
    losses = []
    for _ in range(20):
        parameters, state, loss = trainer.step(batch, parameters, state, 0.01)
        losses.append(float(loss.mean()))
    assert losses[-1] < losses[0]
    trained = [array.name for array in made.manifest.arrays if array.trained]
    moved = [name for name in trained if (parameters[name] != made.weights[name]).any()]
    assert moved == trained
