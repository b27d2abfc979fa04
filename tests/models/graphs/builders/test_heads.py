"""The last layer: natural units, quantiles that never cross, and layers that stay at home."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_models.graphs.builders import Built, build
from headwater_models.manifest import Channel
from headwater_models.session import Predictor
from tests.models.graphs.example import kind_specs, model_spec, random_weights, rows
from tests.models.graphs.harness import runner

QUANTILES = st.lists(st.sampled_from([i / 20 for i in range(1, 20)]), min_size=1, unique=True)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def narrow(weights: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    return {name: array.astype(np.float32) for name, array in weights.items()}


def local(built: Built) -> set[str]:
    return {array.name for array in built.manifest.arrays if array.merge == "local"}


@settings(max_examples=25, deadline=None)
@given(QUANTILES.map(sorted), st.integers(0, 2**32 - 1))
def test_quantiles_never_cross_whatever_was_learned(quantiles: list[float], seed: int) -> None:
    spec = model_spec(loss="quantile", quantiles=tuple(quantiles))
    built, drawn = build(spec, rng()), np.random.default_rng(seed)
    weights = {
        n: a * np.float32(9) for n, a in narrow(random_weights(built.weights, drawn)).items()
    }
    batch = rows(spec, drawn, 20).cast("float32")
    found = Predictor(built.infer).run(batch.window, batch.time, weights)
    assert found.shape == (20, len(quantiles))
    assert (np.diff(found, axis=1) >= -1e-4 * np.abs(found[:, 1:])).all()


def test_the_quantile_nearest_to_the_median_starts_at_persistence_with_room_on_both_sides() -> None:
    spec = model_spec(loss="quantile", quantiles=(0.1, 0.4, 0.9))
    built, batch = build(spec, rng()), rows(spec, rng(), missing=0).cast("float32")
    found = Predictor(built.infer).run(batch.window, batch.time, built.weights)
    np.testing.assert_array_equal(found[:, 1], batch.window[:, -1, 0])
    np.testing.assert_allclose(np.diff(found, axis=1), 8 * 0.5, rtol=1e-5)


def test_without_a_personal_part_everything_merges() -> None:
    assert local(build(model_spec(), rng())) == set()


def test_a_personal_head_stays_on_the_device_and_the_rest_merges() -> None:
    built = build(model_spec(personal="head"), rng())
    assert local(built) == {"head.weight", "head.bias"}
    assert built.infer == build(model_spec(), rng()).infer


@pytest.mark.parametrize("spec", kind_specs(personal="blend"), ids=lambda spec: spec.kind)
def test_a_blend_that_has_not_learned_is_the_released_model_bit_for_bit(spec: Any) -> None:
    built, batch = build(spec, rng()), rows(spec, rng(), 30).cast("float32")
    assert local(built) == {"personal.gate", "personal.weight", "personal.bias"}
    fresh = {name: built.weights[name] for name in local(built)}
    weights = narrow(random_weights(built.weights, rng())) | fresh
    shared = {name: array for name, array in weights.items() if name not in fresh}
    plain = build(kind_specs()[[s.kind for s in kind_specs()].index(spec.kind)], rng())
    found = Predictor(built.infer).run(batch.window, batch.time, weights)
    released = Predictor(plain.infer).run(batch.window, batch.time, shared)
    np.testing.assert_array_equal(found, released)


def test_the_gate_closes_a_blend_without_forgetting_what_it_learned() -> None:
    spec = model_spec(personal="blend")
    built, batch = build(spec, rng()), rows(spec, rng()).cast("float32")
    weights = narrow(random_weights(built.weights, rng()))
    run = runner(built.infer)
    opened = run({"window": batch.window, **weights})
    shut = run({"window": batch.window, **weights, "personal.gate": np.zeros(1, np.float32)})
    assert (opened["prediction"] != opened["released"]).all()
    np.testing.assert_array_equal(shut["prediction"], opened["released"])


def test_the_target_of_a_forecast_has_no_categories() -> None:
    mode = Channel(name="mode", minimum=0, maximum=1, categories=("off", "on"))
    spec = model_spec(channels=(*model_spec().channels, mode), target="mode", scaling=None)
    with pytest.raises(UnsupportedError, match="target mode: a forecast is of a measured channel"):
        build(spec, rng())
