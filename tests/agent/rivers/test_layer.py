from __future__ import annotations

import numpy as np
import pytest

from headwater_agent.rivers.dotted import make
from headwater_agent.rivers.head import BIAS, WEIGHT, find_head
from headwater_agent.rivers.layer import LastLayer
from headwater_agent.rivers.linear import LinearModel, as_linear
from headwater_agent.rivers.trial import trial_windows
from headwater_models.arrays import Arrays
from headwater_models.graphs.builders.specification import Kind
from headwater_models.session import Predictor
from tests.agent.rivers.bundles import bundle, settings


def layer(kind: Kind = "linear") -> tuple[LastLayer, LinearModel]:
    built = bundle(kind=kind)
    predictor, windows = Predictor(built.infer), trial_windows(built.manifest)
    head = find_head(predictor, built.manifest, built.weights, *windows)
    linear = as_linear(make(settings("river.linear_model.LinearRegression"), "learn.river"), 0)
    assert head is not None
    assert linear is not None
    return LastLayer(head, linear, built.weights), linear


def noise(kind: Kind = "linear") -> Arrays:
    rng = np.random.default_rng(3)
    weights = bundle(kind=kind).weights
    return {name: rng.normal(size=a.shape).astype(np.float32) for name, a in weights.items()}


def test_a_model_that_follows_arrays_has_their_head() -> None:
    last, linear = layer()
    last.follow(noise())
    names = [f"f{number}" for number in range(len(noise()[WEIGHT]))]
    np.testing.assert_array_equal(linear.coefficients(names).weight, noise()[WEIGHT])
    assert last.update()
    np.testing.assert_array_equal(last.arrays[BIAS], noise()[BIAS])


def test_a_move_changes_the_backbone_and_keeps_the_weights() -> None:
    last, _ = layer("mlp")
    before = last.arrays
    last.move(noise("mlp"))
    assert all((last.arrays[name] == before[name]).all() for name in (WEIGHT, BIAS))
    assert (last.arrays["hidden.1.weight"] == noise("mlp")["hidden.1.weight"]).all()


@pytest.mark.parametrize("broken", [np.nan, np.inf, 1e300])
def test_weights_that_no_float32_can_hold_are_not_taken_over(broken: float) -> None:
    last, linear = layer()
    before = last.arrays
    coefficients = linear.coefficients(["f0"])
    coefficients.weight[0] = broken
    linear.set(["f0"], coefficients)
    assert not last.update()
    assert last.arrays is before
