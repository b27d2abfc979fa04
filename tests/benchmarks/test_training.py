"""The training benchmark measures two sides that learn the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import by_hand, training
from headwater_models.graphs.builders.specification import Kind
from headwater_models.graphs.scaling import Scaling


@pytest.mark.parametrize("kind", training.HIDDEN)
def test_a_figure_is_taken_of_sides_that_agree(kind: Kind) -> None:
    figure = training.measure(kind, turns=1)
    assert (figure.unit, figure.better, list(figure.peers)) == ("us", "lower", ["numpy"])
    assert figure.ratio == figure.peers["numpy"] / figure.ours


def test_sides_that_do_not_agree_are_not_measured() -> None:
    one = {"w": np.ones(2, np.float32)}
    with pytest.raises(AssertionError, match="w"):
        training.assert_equal(one, {"w": np.array([1.0, 1.01], np.float32)})


def test_a_batch_without_weight_changes_nothing_by_hand_either() -> None:
    units = by_hand.Units.of(Scaling(mean=(0.0,) * 12, scale=(1.0,) * 12))
    batch = training.draw(np.random.default_rng(0))
    weights = {"head.weight": np.ones((64, 1), np.float32), "head.bias": np.ones(1, np.float32)}
    weights["hidden.1.weight"] = np.ones((576, 64), np.float32)
    weights["hidden.1.bias"] = np.ones(64, np.float32)
    before, state = dict(weights), by_hand.fresh_state(weights)
    idle = replace(batch, weight=np.zeros_like(batch.weight))
    by_hand.step(by_hand.mlp(units), idle, weights, state, 0.1)
    assert all(weights[name] is array for name, array in before.items())
