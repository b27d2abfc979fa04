"""What is remembered of devices adds up, fades, survives the books, and stays within bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_coordinator.strategies import About, State, Updates, decode_state, encode_state
from headwater_coordinator.strategies import memory as module
from headwater_coordinator.strategies.memory import SAMPLE, Memory, followed
from headwater_coordinator.strategies.updates import Floats, MemorySource
from tests.coordinator.strategies.peers import SEEDS, draw

SIZE = 6
NOBODY = np.zeros(3, np.bool_)


def merged(state: State, vectors: dict[str, Floats]) -> Memory:
    about = [About(node=node, examples=1) for node in vectors]
    rows = list(vectors.values())
    updates = Updates(len(rows[0]), about, MemorySource(rows))
    return followed(state, updates, updates.squares())


def fleet(seed: int, count: int = 3, size: int = SIZE) -> dict[str, Floats]:
    return {f"n{i}": vector for i, vector in enumerate(draw(seed, count, size))}


def test_signs_and_shares_add_up_and_fade() -> None:
    one = {"a": np.array([3.0, -4.0, 0.0], np.float32), "b": np.ones(3, np.float32)}
    first = merged({}, one)
    np.testing.assert_allclose(first.signs[0], [1, -1, 0])
    np.testing.assert_allclose(first.energies[0], [27 / 25, 48 / 25, 0], rtol=1e-6)
    second = merged(first.state(), one)
    np.testing.assert_allclose(second.signs[0], [1.98, -1.98, 0], rtol=1e-6)


@given(SEEDS, st.floats(2**-10, 2**10, width=32))
def test_the_length_of_an_update_does_not_count(seed: int, times: float) -> None:
    longer = {node: np.float32(times) * vector for node, vector in fleet(seed).items()}
    found, other = merged({}, fleet(seed)), merged({}, longer)
    np.testing.assert_array_equal(found.signs, other.signs)
    np.testing.assert_allclose(found.energies, other.energies, rtol=1e-3, atol=1e-6)


def test_an_update_that_changes_nothing_leaves_nothing() -> None:
    found = merged({}, {"a": np.zeros(SIZE, np.float32)})
    assert not found.signs.any()
    assert not found.energies.any()


def test_a_device_that_was_not_merged_is_remembered_as_it_was() -> None:
    first = merged({}, fleet(0))
    without = {node: vector for node, vector in fleet(1).items() if node != "n1"}
    kept = merged(first.state(), without).state()
    np.testing.assert_array_equal(kept["device/n1"], first.state()["device/n1"])


def test_a_try_changes_nothing() -> None:
    state = merged({}, fleet(0)).state()
    before = encode_state(state)
    merged(state, fleet(1)).judged(~NOBODY)
    assert encode_state(state) == before


@given(SEEDS)
def test_the_books_give_back_the_same(seed: int) -> None:
    state = merged({}, fleet(seed)).state()
    again = decode_state(encode_state(state))
    assert encode_state(merged(again, fleet(seed + 1)).state()) == encode_state(
        merged(state, fleet(seed + 1)).state()
    )


def test_who_was_often_in_a_heap_has_no_vote_until_it_fades() -> None:
    bad = np.array([True, False, False])
    state: State = {}
    for _ in range(5):
        found = merged(state, fleet(0))
        assert found.judged(bad).tolist() == bad.tolist()
        state = found.state()
    barred = []
    for _ in range(20):
        found = merged(state, fleet(0))
        barred.append(bool(found.judged(NOBODY)[0]))
        state = found.state()
    assert barred[0]
    assert not barred[-1]
    assert barred == sorted(barred, reverse=True)


def test_more_than_half_lose_their_votes_only_if_they_do_now() -> None:
    found = merged({}, fleet(0))
    found.judged(~NOBODY)
    assert merged(found.state(), fleet(0)).judged(NOBODY).tolist() == NOBODY.tolist()


def test_of_a_large_model_a_sample_is_kept_that_nobody_chose() -> None:
    large = fleet(0, size=SAMPLE + 500)
    found = merged({}, large)
    weights = found.weights
    assert len(np.unique(weights)) == SAMPLE
    np.testing.assert_array_equal(found.signs[0], np.sign(large["n0"][weights]))
    backwards = dict(reversed(large.items()))
    np.testing.assert_array_equal(merged({}, backwards).weights, weights)
    assert not np.array_equal(merged({}, fleet(1, size=SAMPLE + 500)).weights, weights)
    np.testing.assert_array_equal(
        merged(found.state(), fleet(2, size=SAMPLE + 500)).weights, weights
    )


def test_another_model_begins_anew() -> None:
    found = merged(merged({}, fleet(0)).state(), fleet(0, size=SIZE + 1))
    assert found.number == 1
    assert np.abs(found.signs).max() == 1.0


def test_those_merged_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEVICES", 3)
    first = merged({}, fleet(0))
    state = merged(first.state(), {"n1": draw(1, 1, SIZE)[0], "new": draw(2, 1, SIZE)[0]}).state()
    devices = {key for key in state if key.startswith("device/")}
    assert devices >= {"device/n1", "device/new"}
    assert len(devices) == 3
