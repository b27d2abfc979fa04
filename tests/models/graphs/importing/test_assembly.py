"""Models as exporters write them become bundles that predict the same and learn."""

from __future__ import annotations

import numpy as np
import pytest

from headwater.errors import UnsupportedError
from headwater_models.checks import GoldenBatch, check_bundle
from headwater_models.graphs.differentiate import differentiate
from headwater_models.graphs.importing import import_model, read_source
from headwater_models.graphs.losses import losses
from headwater_models.graphs.serialisation import decode, encode
from headwater_models.session import Predictor, Trainer, initial_state
from tests.models.graphs.harness import exact_runner, numeric_gradient
from tests.models.graphs.importing.exports import (
    FILES,
    FOLDER,
    bundle,
    imported,
    original,
    spec,
    spec_of,
    windows,
)


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


@pytest.mark.parametrize(
    "file",
    ["gru.dynamo.onnx", "lstm.script.onnx", "attention.dynamo.onnx", "mlp_three.sklearn.onnx"],
)
def test_gradients_are_those_of_finite_differences_in_float64(file: str) -> None:
    wanted = spec_of(file)
    built = import_model(read_source(FOLDER / file), wanted, "float64").built
    graph = decode(built.infer)
    graph.outputs.clear()
    window = windows(file, 3).astype(np.float64)
    label = np.array([[0.0], [1.0], [2.0]])
    row = losses()[wanted.loss](graph.value("prediction"), graph.input("label", ("N", 1)))
    total = graph.op("Identity", row.loss.sum([0, 1]), name="total")
    parameters = [graph.value(array.name) for array in built.manifest.arrays]
    gradients = differentiate(graph, total, parameters)
    for value in (total, *gradients.values()):
        graph.output(value)
    run = exact_runner(encode(graph))
    arrays = {name: array.astype(np.float64) for name, array in built.weights.items()}
    rows = {"window": window, "label": label}
    found = run({**arrays, **rows})
    for name, gradient in gradients.items():
        numeric = numeric_gradient(lambda a: float(run({**a, **rows})["total"]), arrays, name)
        np.testing.assert_allclose(found[gradient.name], numeric, rtol=1e-5, atol=1e-7)


def test_frozen_arrays_are_in_the_bundle_and_local_ones_stay() -> None:
    made = imported("perceptron.script.onnx", freeze=("0.*",), local=("2.bias",)).built
    arrays = {array.name: (array.merge, array.trained) for array in made.manifest.arrays}
    assert arrays == {
        "0.weight": ("mean", False),
        "0.bias": ("mean", False),
        "2.weight": ("mean", True),
        "2.bias": ("local", True),
    }


def test_the_names_in_the_file_are_kept() -> None:
    names = imported("convolution.script.onnx").names
    assert names["onnx.Conv_27"] == "onnx::Conv_27"


def test_classes_are_in_the_order_of_the_files_columns() -> None:
    for given in ((), ("low", "high")):
        wanted = imported("logistic_two.sklearn.onnx", classes=given).built.manifest
        assert wanted.classes == ("high", "low")
    renamed = imported("logistic_two.sklearn.onnx", classes=("much", "little")).built.manifest
    assert renamed.classes == ("much", "little")


def test_what_is_missing_is_filled_before_the_model_sees_it() -> None:
    source = read_source(FOLDER / "ridge.sklearn.onnx")
    built = import_model(source, spec("regression", 1, fill=("5",))).built
    window = windows("ridge.sklearn.onnx")
    gappy, filled = window.copy(), window.copy()
    gappy[:, :, 1], filled[:, :, 1] = np.nan, 5.0
    predictor, times = Predictor(built.infer), np.zeros(len(window), np.int64)
    np.testing.assert_array_equal(
        predictor.run(gappy, times, built.weights), predictor.run(filled, times, built.weights)
    )


def test_quantiles_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="quantiles: an imported model"):
        imported("perceptron.script.onnx", quantiles=(0.1, 0.9), loss="quantile")
