"""Means, one update at a time, are Flower's of all replies at once."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from flwr.serverapp import strategy as flower
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import SettingsError
from headwater_coordinator.strategies.averaging import FedAvg, FedProx, QFedAvg
from headwater_coordinator.strategies.table import choose
from tests.coordinator.strategies.peers import COUNTS, SEEDS, SIZE, draw, flowers, updates


@given(SEEDS, COUNTS)
def test_fedavg_equals_flowers(seed: int, counts: list[int]) -> None:
    shared, *vectors = draw(seed, len(counts) + 1)
    ours = FedAvg().merge(shared, updates(vectors, examples=counts), {})
    theirs = flowers(flower.FedAvg(), shared, vectors, examples=counts)
    assert ours.vector.dtype == np.float32
    assert not ours.state
    np.testing.assert_allclose(ours.vector, theirs, atol=2e-6)


@given(SEEDS, st.integers(1, 10_000))
def test_one_device_is_given_back_exactly_what_it_learned(seed: int, examples: int) -> None:
    shared, vector = draw(seed, 2)
    merged = FedAvg().merge(shared, updates([vector], examples=[examples]), {})
    np.testing.assert_allclose(merged.vector, shared + vector, atol=1e-6)


@given(SEEDS, COUNTS)
def test_fedprox_merges_as_fedavg_does(seed: int, counts: list[int]) -> None:
    shared, *vectors = draw(seed, len(counts) + 1)
    given_ = updates(vectors, examples=counts)
    held = FedProx(proximal_mu=0.1).merge(shared, given_, {})
    np.testing.assert_array_equal(held.vector, FedAvg().merge(shared, given_, {}).vector)


def test_a_budget_must_be_one_that_a_device_can_keep() -> None:
    with pytest.raises(SettingsError, match="between 1s and 1d"):
        choose({"name": "fedprox", "budget": "1ms"}, source="f")


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.lists(st.floats(0, 50), min_size=1, max_size=7), st.sampled_from([0.0, 0.1, 2.0]))
def test_qfedavg_equals_flowers(seed: int, losses: list[float], q: float) -> None:
    shared, *vectors = draw(seed, len(losses) + 1)
    ours = QFedAvg(client_learning_rate=0.1, q=q).merge(shared, updates(vectors, losses=losses), {})
    strategy = flower.QFedAvg(client_learning_rate=0.1, q=q)
    strategy.current_arrays = ArrayRecord({"w": Array(shared)})
    theirs = flowers(strategy, shared, vectors, losses=losses)
    np.testing.assert_allclose(ours.vector, theirs, rtol=1e-4, atol=1e-5)


def test_a_higher_loss_counts_more_with_qfedavg() -> None:
    shared = np.zeros(SIZE, np.float32)
    vectors = [np.full(SIZE, 0.1, np.float32), np.full(SIZE, -0.1, np.float32)]
    merged = QFedAvg(client_learning_rate=1.0, q=1.0).merge(
        shared, updates(vectors, losses=[3.0, 1.0]), {}
    )
    assert (merged.vector > 0).all()
