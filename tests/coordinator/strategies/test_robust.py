"""Robust rules equal Flower's; what a device says of its examples counts for nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from flwr.serverapp import strategy as flower
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_coordinator.strategies import updates as module
from headwater_coordinator.strategies.robust import (
    Bulyan,
    FedMedian,
    FedTrimmedAvg,
    Krum,
    MultiKrum,
    nearest_neighbour_mixing,
)
from headwater_coordinator.strategies.strategy import Strategy
from headwater_coordinator.strategies.updates import Floats
from tests.coordinator.strategies.peers import SEEDS, SIZE, draw, flowers, updates

RULES: list[Strategy] = [
    FedMedian(),
    FedTrimmedAvg(beta=0.2),
    FedTrimmedAvg(beta=0.0),
    Krum(num_malicious_nodes=1),
    Krum(num_malicious_nodes=2),
    MultiKrum(num_malicious_nodes=2, num_nodes_to_select=4),
    Bulyan(num_malicious_nodes=1),
    Bulyan(num_malicious_nodes=2),
]
ZERO = np.zeros(SIZE, np.float32)
EVERY = st.sampled_from(RULES)
COUNT = st.integers(11, 14)


def theirs(strategy: Strategy) -> Any:
    """Flower's strategy of the same name; it knows no mixing."""
    kind = getattr(flower, type(strategy).__name__)
    fields = msgspec.structs.asdict(strategy)
    del fields["mixing"]
    if kind in (flower.FedMedian, flower.FedTrimmedAvg):
        del fields["num_malicious_nodes"]
    return kind(**fields)


@settings(max_examples=40)
@given(EVERY, SEEDS, COUNT)
def test_equals_flowers(strategy: Strategy, seed: int, count: int) -> None:
    shared, *vectors = draw(seed, count + 1)
    merged = strategy.merge(shared, updates(vectors), {})
    assert not merged.state
    np.testing.assert_allclose(merged.vector, flowers(theirs(strategy), shared, vectors), atol=2e-6)


@given(EVERY, SEEDS, COUNT)
def test_the_order_of_updates_does_not_matter(strategy: Strategy, seed: int, count: int) -> None:
    vectors = draw(seed, count)
    other = [vectors[i] for i in np.random.default_rng(seed).permutation(count)]
    np.testing.assert_allclose(
        strategy.merge(ZERO, updates(vectors), {}).vector,
        strategy.merge(ZERO, updates(other), {}).vector,
        atol=1e-5,
    )


@given(EVERY, SEEDS)
def test_examples_that_a_device_claims_do_not_count(strategy: Strategy, seed: int) -> None:
    vectors = draw(seed, 11)
    loud = updates(vectors, examples=[10_000] + [1] * 10)
    np.testing.assert_array_equal(
        strategy.merge(ZERO, loud, {}).vector, strategy.merge(ZERO, updates(vectors), {}).vector
    )


@pytest.mark.parametrize("strategy", RULES, ids=repr)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mixing", ["none", "nearest-neighbour"])
def test_stretches_make_no_difference(strategy: Strategy, seed: int, mixing: str) -> None:
    strategy = msgspec.structs.replace(strategy, mixing=mixing)
    vectors = draw(seed, 11, 600)
    whole = strategy.merge(np.zeros(600, np.float32), updates(vectors), {}).vector
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BUDGET", 1)
        cut = strategy.merge(np.zeros(600, np.float32), updates(vectors), {}).vector
    np.testing.assert_allclose(cut, whole, atol=1e-6)


@given(SEEDS, st.integers(1, 9), st.integers(0, 4))
def test_mixing_equals_its_definition(seed: int, count: int, attackers: int) -> None:
    assume(2 * attackers < count)
    vectors = draw(seed, count)
    mixed = nearest_neighbour_mixing(updates(vectors), attackers)
    found = [mixed.combined(one) for one in np.eye(count)]
    np.testing.assert_allclose(found, mixed_directly(vectors, attackers), atol=1e-6)


def mixed_directly(vectors: list[Floats], attackers: int) -> NDArray[np.float64]:
    """Replace each vector by the mean of the N - f nearest ones, as the paper writes it."""
    made = []
    for one in vectors:
        by_distance = sorted(vectors, key=lambda other: float(np.square(other - one).sum()))
        made.append(np.mean(by_distance[: len(vectors) - attackers], axis=0, dtype=np.float64))
    return np.array(made)


@pytest.mark.parametrize("strategy", RULES, ids=repr)
@pytest.mark.parametrize("seed", range(5))  # not any: updates that are mixed alike tie
def test_a_mixed_rule_is_the_rule_of_the_mixed_updates(strategy: Strategy, seed: int) -> None:
    attackers = 2
    plain = msgspec.structs.replace(strategy, num_malicious_nodes=attackers)
    mixing = msgspec.structs.replace(plain, mixing="nearest-neighbour")
    vectors = draw(seed, 11)
    made = list(mixed_directly(vectors, attackers).astype(np.float32))
    np.testing.assert_allclose(
        mixing.merge(ZERO, updates(vectors), {}).vector,
        plain.merge(ZERO, updates(made), {}).vector,
        atol=1e-5,
    )


@pytest.mark.parametrize("strategy", RULES[3:], ids=repr)
@pytest.mark.parametrize("size", [1.0, 1e5])
def test_attackers_cannot_carry_a_rule_away(strategy: Strategy, size: float) -> None:
    attackers = strategy.num_malicious_nodes  # type: ignore[attr-defined]
    honest = [0.1 * vector for vector in draw(5, strategy.least - attackers)]
    attack = [np.full(SIZE, size, np.float32)] * attackers
    merged = strategy.merge(ZERO, updates(attack + honest), {}).vector
    assert np.abs(merged).max() <= np.abs(honest).max()


@pytest.mark.parametrize(
    ("strategy", "least"),
    [
        (FedMedian(num_malicious_nodes=2, mixing="nearest-neighbour"), 5),
        (Krum(num_malicious_nodes=2), 7),
        (MultiKrum(num_malicious_nodes=1, num_nodes_to_select=9), 9),
        (Bulyan(num_malicious_nodes=2), 11),
    ],
)
def test_with_fewer_updates_than_its_proof_needs_a_rule_refuses(
    strategy: Strategy, least: int
) -> None:
    assert strategy.least == least
    strategy.merge(ZERO, updates(draw(0, least)), {})
    with pytest.raises(UnsupportedError, match=f"needs {least} updates"):
        strategy.merge(ZERO, updates(draw(0, least - 1)), {})
