"""The seam to Flower: one step, its state handed in and out."""

from __future__ import annotations

import numpy as np

from headwater_coordinator.strategies.flower import server_step


def test_what_was_remembered_goes_into_the_next_step() -> None:
    zero, one = np.zeros(2, np.float32), np.ones(2, np.float32)
    arguments = {"server_learning_rate": 1.0, "server_momentum": 0.5}
    first, kept = server_step("FedAvgM", arguments, shared=zero, mean=one, remembered={}, number=1)
    np.testing.assert_array_equal(first, one)
    second, _ = server_step(
        "FedAvgM", arguments, shared=first, mean=first, remembered=kept, number=2
    )
    np.testing.assert_array_equal(second, 1.5 * one)


def test_the_number_of_the_step_corrects_the_bias_of_adam() -> None:
    zero, one = np.zeros(2, np.float32), np.ones(2, np.float32)
    arguments = {"eta": 0.1, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3}
    early, late = (
        server_step("FedAdam", arguments, shared=zero, mean=one, remembered={}, number=number)[0]
        for number in (1, 100)
    )
    assert early.dtype == late.dtype == np.float32
    assert (early != late).all()
