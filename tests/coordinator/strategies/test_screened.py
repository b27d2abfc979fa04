"""The rule for devices that nobody vouches for: each of its steps, and what it withstands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_coordinator.strategies import State, decode_state, encode_state
from headwater_coordinator.strategies import updates as module
from headwater_coordinator.strategies.screened import (
    Screened,
    counted,
    shared_votes,
    shortened,
    trimmed,
)
from headwater_coordinator.strategies.updates import Floats
from tests.coordinator.strategies.peers import SEEDS, draw, updates

SIZE = 40
ZERO = np.zeros(SIZE, np.float32)
AHEAD = np.ones(SIZE, np.float32)
FLEET = 20
LIARS = 6


def fleet(seed: int) -> NDArray[np.float32]:
    """Honest updates: the same direction, and as much again of each device's own."""
    rng = np.random.default_rng(seed)
    return (AHEAD + rng.standard_normal((FLEET, SIZE))).astype(np.float32)


def merged(vectors: NDArray[np.float32], share: float = 0.3) -> Floats:
    rule = Screened(malicious_share=share, server_learning_rate=1.0)
    return rule.merge(ZERO, updates(list(vectors)), {}).vector


def after(rounds: list[NDArray[np.float32]], share: float = 0.3) -> tuple[Floats, State]:
    """What the last of some merges gives, and the state after it."""
    state: State = {}
    for vectors in rounds:
        made = Screened(malicious_share=share).merge(ZERO, updates(list(vectors)), state)
        state = decode_state(encode_state(made.state))
    return made.vector, state


def off(vectors: NDArray[np.float32], found: Floats) -> float:
    """How far a merge is from the honest mean, in lengths of that."""
    mean = vectors[LIARS:].mean(axis=0)
    return float(np.linalg.norm(found - mean) / np.linalg.norm(mean))


def test_updates_longer_than_the_median_are_shortened_to_it() -> None:
    lengths = shortened(np.diag([1.0, 4.0, 16.0]))
    assert lengths.tolist() == [1.0, 1.0, 0.5]


def test_an_update_that_changes_nothing_is_left_as_it_is() -> None:
    assert shortened(np.diag([0.0, 1.0, 1.0])).tolist() == [1.0, 1.0, 1.0]


def test_copies_share_one_vote() -> None:
    vectors = np.concatenate([fleet(0), fleet(0)[:1], fleet(0)[:1]]).astype(np.float64)
    votes = shared_votes(vectors @ vectors.T)
    np.testing.assert_allclose(votes[[0, -2, -1]], 1 / 3)
    np.testing.assert_allclose(votes[1:-2], 1.0)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_nobody_gains_by_saying_more_than_the_median(examples: list[int]) -> None:
    said = np.array(examples, np.float64)
    worth = counted(said)
    assert np.all((worth > 0) & (worth <= 1))
    assert np.all(worth[said >= np.median(said)] == 1)


def test_the_step_is_taken_times_the_learning_rate() -> None:
    whole = Screened(server_learning_rate=1.0).merge(ZERO, updates(list(fleet(0))), {}).vector
    half = Screened(server_learning_rate=0.5).merge(ZERO, updates(list(fleet(0))), {}).vector
    np.testing.assert_allclose(half, whole / 2, rtol=1e-6)


def test_the_trimmed_mean_counts_votes() -> None:
    rows = np.array([[0.0], [1.0], [2.0], [50.0]], np.float32)
    assert trimmed(rows, np.array([1.0, 1.0, 1.0, 1.0]), 0.25).tolist() == [1.5]
    assert trimmed(rows, np.array([1.0, 1.0, 1.0, 0.0]), 0.0).tolist() == [1.0]


@pytest.mark.parametrize(
    ("own", "mean", "spread"),
    [
        pytest.param(-1, 0, 0, id="sign flip"),
        pytest.param(1e5, 0, 0, id="scaling"),
        pytest.param(0, 1, -2, id="ALIE"),
        pytest.param(0, -1, 0, id="inner product"),
        pytest.param(1, -2, 0, id="each moved"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_attackers_turn_it_little(own: float, mean: float, spread: float, seed: int) -> None:
    vectors = fleet(seed)
    honest = vectors[LIARS:]
    forged = own * vectors[:LIARS] + mean * honest.mean(axis=0) + spread * honest.std(axis=0)
    vectors[:LIARS] = forged
    assert off(vectors, merged(vectors)) < 0.4


@pytest.mark.parametrize("seed", range(5))
def test_without_attackers_it_is_near_the_mean(seed: int) -> None:
    vectors = fleet(seed)
    assert off(vectors, merged(vectors)) < 0.3


@settings(max_examples=30)
@given(SEEDS, st.integers(5, 14), st.floats(0, 0.4))
def test_neither_order_nor_stretches_matter(seed: int, count: int, share: float) -> None:
    vectors = np.array(draw(seed, count, SIZE))
    other = vectors[np.random.default_rng(seed).permutation(count)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BUDGET", 4 * 7 * count)
        patch.setattr(module, "_LEAST_STRETCH", 7)
        in_parts = merged(vectors, share)
    np.testing.assert_allclose(in_parts, merged(vectors, share), atol=1e-5)
    np.testing.assert_allclose(merged(other, share), merged(vectors, share), atol=1e-4)


@settings(max_examples=30)
@given(SEEDS, st.floats(-1e4, 1e4, width=32))
def test_no_minority_moves_it_out_of_what_the_others_span(seed: int, where: float) -> None:
    vectors = fleet(seed)
    vectors[:LIARS] = np.float32(where)
    found = merged(vectors)
    assert np.all(np.abs(found) <= np.abs(vectors[LIARS:]).max() + 1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_a_bundle_of_copies_in_the_middle_draws_nobodys_neighbours(seed: int) -> None:
    vectors = 4 * fleet(seed) - 3 * AHEAD
    vectors[:LIARS] = -AHEAD
    assert off(vectors, merged(vectors)) < 0.5


def test_what_no_round_shows_the_rounds_together_do() -> None:
    """Attackers who push a little the same way, each under noise of its own."""
    rounds = [fleet(100 + number) for number in range(12)]
    for vectors in rounds:
        vectors[:LIARS, :10] -= 1.5
    state: State = {}
    voteless: list[tuple[str, ...]] = []
    for vectors in rounds:
        made = Screened().merge(ZERO, updates(list(vectors)), state)
        state, voteless = made.state, [*voteless, made.voteless]
    assert voteless[0] == ()
    assert voteless[-1] == tuple(f"n{i:02}" for i in range(LIARS))


def test_the_state_that_the_books_kept_leads_to_the_same_bit_for_bit() -> None:
    rounds = [fleet(number) for number in range(4)]
    found, _ = after(rounds)
    state: State = {}
    for vectors in rounds:
        made = Screened().merge(ZERO, updates(list(vectors)), state)
        state = made.state
    np.testing.assert_array_equal(made.vector, found)


@settings(max_examples=30)
@given(SEEDS, st.integers(5, 30), st.floats(0, 0.4), st.sampled_from([0.0, 1e-30, 1.0, 1e6]))
def test_whatever_is_finite_leads_to_what_is_finite(
    seed: int, count: int, share: float, size: float
) -> None:
    vectors = np.array(draw(seed, count, SIZE)) * np.float32(size)
    vectors[0] = 0.0
    found, state = after([vectors, -vectors, vectors], share)
    assert np.isfinite(found).all()
    assert all(np.isfinite(array).all() for array in state.values())


def test_equal_updates_move_it_by_themselves() -> None:
    np.testing.assert_allclose(merged(np.tile(AHEAD, (7, 1))), AHEAD, rtol=1e-6)


def test_fewer_updates_than_a_neighbourhood_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="Screened needs 5 updates"):
        merged(fleet(0)[:4])
