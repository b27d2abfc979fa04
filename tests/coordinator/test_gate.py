"""The gate pools what devices found as if all rows lay in one place, and says what it decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import wire
from headwater_coordinator.gate import judge, pool
from headwater_coordinator.settings import Gate

DIFFERENCES = st.lists(st.floats(-10, 10), min_size=0, max_size=20)


def reply(differences: list[float]) -> wire.Evaluated:
    rows = np.asarray(differences, np.float64)
    mean = float(rows.mean()) if len(rows) else 0.0
    return wire.Evaluated(
        task="1" * 64,
        device="well",
        candidate="2" * 64,
        release="3" * 64,
        rows=len(rows),
        loss_candidate=20 + mean,
        loss_release=20.0,
        loss_baseline=30.0,
        difference_mean=mean,
        difference_m2=float(np.square(rows - mean).sum()) if len(rows) else 0.0,
    )


@given(st.lists(DIFFERENCES, min_size=1, max_size=6))
def test_pooling_equals_the_figures_over_all_rows(devices: list[list[float]]) -> None:
    together = np.concatenate([np.asarray(rows, np.float64) for rows in devices])

    paired = pool([reply(rows) for rows in devices])

    assert (paired.rows, paired.devices) == (len(together), sum(bool(rows) for rows in devices))
    if len(together) > 1:
        assert paired.mean == pytest.approx(together.mean(), abs=1e-9)
        expected = together.std(ddof=1) / np.sqrt(len(together))
        assert paired.standard_error == pytest.approx(expected, abs=1e-9)


def test_a_candidate_with_a_lower_loss_is_released() -> None:
    decision = judge([reply([-0.2, -0.1])], Gate())
    assert decision.passed
    assert decision.words.startswith("released: loss 19.85 against 20 of the release and 30 of")


def test_a_candidate_with_the_same_loss_is_released() -> None:
    assert judge([reply([0.0, 0.0])], Gate()).passed


def test_a_candidate_with_a_higher_loss_is_refused() -> None:
    decision = judge([reply([0.2, 0.1])], Gate())
    assert not decision.passed
    assert "difference +0.15" in decision.words


def test_a_tolerance_is_a_share_of_the_releases_loss() -> None:
    assert judge([reply([0.2, 0.2])], Gate(tolerance=0.01)).passed
    assert not judge([reply([0.21, 0.21])], Gate(tolerance=0.01)).passed


def test_a_device_without_rows_is_no_evaluator() -> None:
    decision = judge([reply([]), reply([-1.0])], Gate(min_evaluators=2))
    assert not decision.passed
    words = "refused: 1 of at least 2 devices had reserved rows to compare on"
    assert decision.words == words


def test_nothing_is_released_when_nobody_judged() -> None:
    assert not judge([], Gate()).passed
