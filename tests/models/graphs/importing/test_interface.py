"""A model meets the window and the label as its options say, or the sizes are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headwater.errors import SettingsError, UnsupportedError
from headwater_models.graphs.expression import Graph, Value
from headwater_models.graphs.importing.interface import enter, fills, leave
from headwater_models.graphs.scaling import Scaling, scaling_from_ranges
from headwater_models.manifest import Channel
from headwater_models.session import Predictor
from tests.models.graphs.harness import evaluate
from tests.models.graphs.importing.exports import (
    bundle,
    imported,
    spec,
    spec_of,
    windows,
)

SCALING = Scaling(mean=(1.0, 2.0, 3.0), scale=(2.0, 4.0, 5.0), label_mean=10.0, label_scale=3.0)
ROWS = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)


def entered(shape: tuple[int | str, ...], **more: Any) -> Value:
    window = Graph().input("window", ("N", 6, 3))
    return enter(window, window, shape, spec("regression", **more), SCALING)


def left(raw: np.ndarray[Any, Any], task: Any = "regression", **more: Any) -> Any:
    graph = Graph()
    window = graph.input("window", ("N", 6, 3))
    value = graph.input("raw", ("N", *raw.shape[1:]))
    leave(value, window, window, spec(task, **more), SCALING)
    return evaluate(graph.outputs["prediction"], {"raw": raw, "window": ROWS})


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (("N", 6, 3), ROWS),
        (("N", 3, 6), ROWS.transpose(0, 2, 1)),
        ((1, 18), ROWS.reshape(4, 18)),
        (("", ""), ROWS.reshape(4, 18)),
    ],
)
def test_the_layout_follows_from_the_sizes(
    shape: tuple[int | str, ...], expected: np.ndarray[Any, Any]
) -> None:
    np.testing.assert_array_equal(evaluate(entered(shape), {"window": ROWS}), expected)


def test_a_layout_in_doubt_must_be_said() -> None:
    with pytest.raises(UnsupportedError, match=r"\[N, \?, \?\].*ntc or nct; say which by --layout"):
        entered(("N", "", ""))
    assert entered(("N", "", ""), layout="nct").shape == ("N", 3, 6)


@pytest.mark.parametrize("shape", [("N", 5, 3), ("N", 17), ("N", 1, 6, 3)])
def test_an_input_that_does_not_fit_is_told_with_its_sizes(shape: tuple[int | str, ...]) -> None:
    told = ", ".join(map(str, shape))
    with pytest.raises(UnsupportedError, match=rf"takes \[{told}\], but the window has 6 rows"):
        entered(shape)


def test_values_are_standardised_where_the_model_takes_them_so() -> None:
    found = evaluate(entered(("N", 6, 3), scaled=("input",)), {"window": ROWS})
    np.testing.assert_allclose(found, (ROWS - [1, 2, 3]) / [2, 4, 5], rtol=1e-5)


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ((), [1.0, 2.0, 3.0]),
        (("mean",), [1.0, 2.0, 3.0]),
        (("zero",), [0.0, 0.0, 0.0]),
        (("-2.5", "b=4"), [-2.5, 4.0, -2.5]),
        (("model",), None),
    ],
)
def test_missing_cells_are_filled_as_is_said(
    fill: tuple[str, ...], expected: list[float] | None
) -> None:
    assert fills(spec("regression", fill=fill), SCALING) == expected


@pytest.mark.parametrize("fill", ["median", "nan", "d=1", "a=x"])
def test_a_fill_that_is_none_is_refused(fill: str) -> None:
    with pytest.raises(SettingsError, match=f"fill: '{fill}': expected mean, zero, model"):
        fills(spec("regression", fill=(fill,)), SCALING)


def test_logarithms_are_refused() -> None:
    channels = (Channel(name="a", minimum=0.0, maximum=1.0),)
    with pytest.raises(SettingsError, match="log: an imported model takes a as it is"):
        fills(spec("regression"), scaling_from_ranges(channels, ["a"]))


VALUES = np.array([[0.5], [-1.0], [2.0], [0.0]], np.float32)


@pytest.mark.parametrize(
    ("task", "more", "expected"),
    [
        ("regression", {}, VALUES),
        ("regression", {"scaled": ("output",)}, 10 + 3 * VALUES),
        ("forecast", {}, VALUES),
        ("forecast", {"scaled": ("output",)}, 1 + 2 * VALUES),
        ("forecast", {"residual": True}, ROWS[:, -1, :1] + VALUES),
        ("forecast", {"residual": True, "scaled": ("output",)}, ROWS[:, -1, :1] + 2 * VALUES),
    ],
)
def test_a_value_is_in_natural_units(task: str, more: dict[str, Any], expected: Any) -> None:
    for raw in (VALUES, VALUES[:, 0], VALUES[:, :, np.newaxis]):
        np.testing.assert_allclose(left(raw, task, **more), expected, rtol=1e-5, atol=1e-6)


def test_logits_of_one_column_are_those_of_two_classes() -> None:
    found = left(VALUES, "classification", classes=("no", "yes"), logits=True)
    yes = 1 / (1 + np.exp(-VALUES))
    np.testing.assert_allclose(found, np.concatenate([1 - yes, yes], 1), rtol=1e-5)


@pytest.mark.parametrize("scaled", [(), ("output",)])
def test_a_reconstruction_becomes_a_score_of_the_cells_that_are_there(scaled: Any) -> None:
    raw = ROWS + 1
    off = np.ones((6, 3)) / [2, 4, 5]
    if scaled:
        off = ROWS + 1 - (ROWS - [1, 2, 3]) / [2, 4, 5]
    expected = (np.broadcast_to(off, ROWS.shape) ** 2).mean((1, 2))[:, np.newaxis]
    for form in (raw, raw.reshape(4, 18), np.ascontiguousarray(raw.transpose(0, 2, 1))):
        np.testing.assert_allclose(left(form, "anomaly", scaled=scaled), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("task", "more", "wanted"),
    [
        ("regression", {}, r"needs \[N\] or \[N, 1\]"),
        ("classification", {"classes": tuple("abc"), "logits": True}, r"needs \[N, 3\]"),
        ("anomaly", {}, r"needs \[N, 6, 3\] or \[N, 18\]"),
    ],
)
def test_an_output_that_does_not_fit_is_told_with_its_sizes(
    task: str, more: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(UnsupportedError, match=rf"gives \[N, 2\], where the task {task} {wanted}"):
        left(np.zeros((4, 2), np.float32), task, **more)


def test_scores_are_not_taken_for_probabilities() -> None:
    with pytest.raises(UnsupportedError, match="made by Gemm and is no probability: say --logits"):
        imported("convolution.script.onnx", logits=False)
    with pytest.raises(UnsupportedError, match="made by Gemm"):
        imported("perceptron.script.onnx", **facts("sigmoid.script.onnx"))


def facts(file: str) -> dict[str, Any]:
    wanted = spec_of(file)
    return {name: getattr(wanted, name) for name in ("task", "classes", "loss")}


@pytest.mark.parametrize(
    ("file", "width"), [("perceptron.dynamo.onnx", 8), ("mlp_three.sklearn.onnx", 6)]
)
def test_the_features_are_what_the_last_layer_takes(file: str, width: int) -> None:
    made = bundle(file)
    features = Predictor(made.infer).features(windows(file), np.zeros(16, np.int64), made.weights)
    assert features.shape == (16, width)
