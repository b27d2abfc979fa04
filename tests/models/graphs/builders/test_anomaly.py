"""The score of an autoencoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.manifest import Channel
from tests.models.graphs.example import model_spec, rows
from tests.models.graphs.harness import runner

MODE = Channel(name="mode", minimum=0, maximum=1, categories=("off", "on"))


def spec(**changes: Any) -> ModelSpec:
    given = {"kind": "autoencoder", "task": "anomaly", "hidden": (5, 2), "activation": "tanh"}
    return model_spec(**given | changes)


def score(made: ModelSpec, window: Any, **weights: NDArray[Any]) -> NDArray[Any]:
    built = build(made, np.random.default_rng(0), "float64")
    feeds: dict[str, NDArray[Any]] = {**built.weights, **weights, "window": np.array(window)}
    wide = {name: array.astype(np.float64) for name, array in feeds.items()}
    return runner(built.infer)(wide)["prediction"]


def test_a_fresh_autoencoder_scores_the_squared_distance_from_the_mean() -> None:
    batch = rows(model_spec(), np.random.default_rng(0), 9, missing=0)
    scaling = model_spec().scaling
    assert scaling is not None
    scaled = (batch.window - scaling.mean) / scaling.scale
    expected = np.square(scaled).mean(axis=(1, 2))
    np.testing.assert_allclose(score(spec(), batch.window)[:, 0], expected)


def test_missing_cells_do_not_count_and_an_empty_window_scores_0() -> None:
    nan = np.nan
    one = [[nan, nan], [nan, nan], [31.0, nan]]
    assert score(spec(), [one, np.full((3, 2), nan)]).tolist() == [[4.0], [0.0]]


def test_what_is_reconstructed_is_subtracted() -> None:
    bias = np.array([0.0, 0, 0, 0, 2, 0])
    found = score(spec(), [[[15, 1000], [15, 1000], [31, 1000]]], **{"head.bias": bias})
    assert found.tolist() == [[0.0]]


def test_the_decoder_mirrors_the_encoder() -> None:
    weights = build(spec(hidden=(7, 5, 2)), np.random.default_rng(0)).weights
    shapes = [weights[f"{name}.weight"].shape for name in ("decoder.1", "decoder.2", "head")]
    assert shapes == [(2, 5), (5, 7), (7, 6)]


def test_categories_are_read_but_not_reconstructed() -> None:
    channels = (*model_spec().channels, MODE)
    weights = build(spec(channels=channels, scaling=None), np.random.default_rng(0)).weights
    assert weights["head.weight"].shape == (5, 6)


def test_categories_alone_cannot_be_reconstructed() -> None:
    with pytest.raises(UnsupportedError, match="at least one channel without categories"):
        build(spec(channels=(MODE,), scaling=None), np.random.default_rng(0))
