"""Server optimisers, through the books, are Flower's own without an interruption."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from flwr.serverapp import strategy as flower
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import UnsupportedError
from headwater_coordinator.strategies.optimisers import FedAdagrad, FedAdam, FedAvgM, FedYogi
from headwater_coordinator.strategies.strategy import State, Strategy, decode_state, encode_state
from headwater_coordinator.strategies.updates import Floats
from tests.coordinator.strategies.peers import SEEDS, draw, flowers, updates

STRATEGIES = [
    FedAvgM(server_learning_rate=0.7, server_momentum=0.9),
    FedAvgM(),
    FedAdagrad(eta=0.2),
    FedAdam(eta=0.05, beta_1=0.8),
    FedYogi(),
]
COUNTS = [3, 1, 2]


def own(strategy: Strategy) -> Any:
    """Flower's strategy of the same name and arguments."""
    return getattr(flower, type(strategy).__name__)(**msgspec.structs.asdict(strategy))


def tell(theirs: Any, shared: Floats) -> None:
    """Do what Flower's ``configure_train`` does with the weights that it sends out."""
    if isinstance(theirs, flower.FedAvgM):
        theirs.current_arrays = ArrayRecord({"w": Array(shared)})
    else:
        theirs.current_arrays = {"w": shared}


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_equals_flowers_over_rounds(strategy: Strategy) -> None:
    theirs, state = own(strategy), dict[str, Any]()
    shared = draw(1, 1)[0]
    for number in range(1, 5):
        vectors = draw(number, len(COUNTS))
        tell(theirs, shared)
        expected = flowers(theirs, shared, vectors, examples=COUNTS, number=number)
        merged = strategy.merge(shared, updates(vectors, examples=COUNTS), state)
        assert merged.vector.dtype == np.float32
        np.testing.assert_allclose(merged.vector, expected, atol=1e-5)
        shared, state = merged.vector, dict(merged.state)


@given(st.sampled_from(STRATEGIES), SEEDS, st.sets(st.integers(0, 4)))
def test_a_state_that_was_written_and_read_changes_no_bit(
    strategy: Strategy, seed: int, restarts: set[int]
) -> None:
    def run(restarts: set[int]) -> tuple[Floats, State]:
        shared, state = draw(seed, 1)[0], dict[str, Any]()
        for number in range(5):
            given_ = updates(draw(seed + number, 3), examples=COUNTS)
            merged = strategy.merge(shared, given_, state)
            shared, state = merged.vector, dict(merged.state)
            if number in restarts:
                state = dict(decode_state(encode_state(state)))
        return shared, state

    through, through_state = run(set())
    again, again_state = run(restarts)
    assert through.tobytes() == again.tobytes()
    assert encode_state(through_state) == encode_state(again_state)


def test_a_step_out_of_bounds_is_refused() -> None:
    huge = updates([np.full(5, 1e38, np.float32)], examples=[1])
    with pytest.raises(UnsupportedError, match="not finite"):
        FedAvgM(server_learning_rate=100.0).merge(np.zeros(5, np.float32), huge, {})
