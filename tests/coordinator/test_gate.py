"""The gate pools what devices found as if all rows lay in one place, and says what it decides."""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import wire
from headwater_coordinator.gate import judge, pool, sign_probability, upper_bound
from headwater_coordinator.settings import Gate

DIFFERENCES = st.lists(st.floats(-10, 10), min_size=0, max_size=20)


def reply(differences: list[float], device: str = "well") -> wire.Evaluated:
    rows = np.asarray(differences, np.float64)
    mean = float(rows.mean()) if len(rows) else 0.0
    return wire.Evaluated(
        task="1" * 64,
        device=device,
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


def test_a_margin_asks_for_a_loss_that_is_lower_by_a_share() -> None:
    assert judge([reply([-0.2, -0.2])], Gate(margin=0.01)).passed
    assert not judge([reply([-0.19, -0.19])], Gate(margin=0.01)).passed


def test_the_bound_is_that_of_the_devices_means_where_all_have_as_many_rows() -> None:
    """Rows within a device tell no more than the device's mean does."""
    means = [-0.3, 0.1, -0.2, -0.4]
    bound = upper_bound([reply([mean] * 50) for mean in means], 0.95)
    expected = np.mean(means) + 2.353 * np.std(means, ddof=1) / 2
    assert bound == pytest.approx(expected, abs=2e-3)


def test_devices_that_disagree_do_not_pass_the_t_test_with_a_good_mean() -> None:
    gate = Gate(test="t", min_evaluators=2)
    torn = [reply([-1.0] * 1000), reply([0.5] * 1000), reply([-0.4] * 1000)]
    assert judge(torn, Gate()).passed
    decision = judge(torn, gate)
    assert not decision.passed
    assert "at 0.95, +0 is allowed" in decision.words
    assert judge([reply([mean] * 10) for mean in (-0.5, -0.4, -0.45)], gate).passed


def test_with_a_tolerance_the_t_test_asks_that_it_is_surely_not_much_worse() -> None:
    alike = [reply([mean] * 10) for mean in (0.01, -0.01, 0.02, -0.02)]
    assert not judge(alike, Gate(test="t", min_evaluators=2)).passed
    assert judge(alike, Gate(test="t", min_evaluators=2, tolerance=0.01)).passed


def test_one_device_passes_no_test() -> None:
    assert not judge([reply([-5.0] * 1000)], Gate(test="t")).passed
    assert not judge([reply([-5.0] * 1000)], Gate(test="sign")).passed


@pytest.mark.parametrize(("worse", "passed"), [(0, True), (1, True), (2, False)])
def test_the_sign_test_counts_devices(worse: int, passed: bool) -> None:
    """Nine of ten are better by chance with 0.011, eight with 0.055."""
    replies = [reply([0.1] * 10)] * worse + [reply([-0.1] * 10)] * (10 - worse)
    assert judge(replies, Gate(test="sign")).passed == passed


def test_one_device_cannot_buy_the_sign_test_with_a_huge_difference() -> None:
    replies = [reply([-19.0] * 1000)] + [reply([0.1] * 10)] * 9
    assert judge(replies, Gate()).passed
    assert not judge(replies, Gate(test="sign")).passed


def test_no_device_may_be_worse_than_the_worst_that_is_allowed() -> None:
    replies = [reply([-1.0] * 100), reply([0.5] * 5)]
    assert judge(replies, Gate(worst_device_tolerance=0.025)).passed
    decision = judge(replies, Gate(worst_device_tolerance=0.02))
    assert not decision.passed
    assert decision.words.endswith("worse than allowed on 1 devices, none may be")


def fleet(**groups: list[float]) -> tuple[list[wire.Evaluated], dict[str, str]]:
    """Replies of ten rows each, by group: a share of the release's loss that each is worse."""
    found, of = [], {}
    for group, shares in groups.items():
        for number, share in enumerate(shares):
            name = f"{group}-{number}"
            found.append(reply([20 * share] * 10, name))
            of[name] = "" if group == "none" else group
    return found, of


GROUPED = Gate(tolerance=1.0, worst_group_tolerance=0.01, group_devices=3)


def test_a_group_that_is_worse_than_allowed_is_named_whatever_the_others_gain() -> None:
    replies, groups = fleet(north=[-0.5] * 20, south=[0.03, 0.02, 0.04])
    assert judge(replies, Gate(tolerance=1.0), groups).passed
    decision = judge(replies, GROUPED, groups)
    assert not decision.passed
    assert decision.words.endswith(
        "group south is worse on 3 of 3 devices, by 3.00% of the loss or more on half of them, at "
        "most 1.00% is allowed"
    )


def test_every_group_that_is_worse_is_named() -> None:
    decision = judge(*fleet_with(GROUPED, north=[0.1] * 3, south=[0.1] * 4, east=[0.0] * 3))
    assert "group north is worse" in decision.words
    assert "group south is worse" in decision.words
    assert "east" not in decision.words


def fleet_with(
    settings: Gate, **groups: list[float]
) -> tuple[list[wire.Evaluated], Gate, dict[str, str]]:
    replies, of = fleet(**groups)
    return replies, settings, of


def test_where_no_group_is_worse_the_words_say_who_was_judged() -> None:
    decision = judge(*fleet_with(GROUPED, north=[0.01] * 3, south=[-0.1] * 3, east=[0.5] * 2))
    assert decision.passed
    assert decision.words.endswith(
        "no group is worse than allowed (north, south, too few devices of east)"
    )


def test_a_group_of_too_few_devices_has_no_say() -> None:
    assert judge(*fleet_with(GROUPED, north=[9.0, 9.0], south=[-0.1] * 100)).passed


def test_devices_without_a_group_are_none() -> None:
    assert judge(*fleet_with(GROUPED, none=[0.5] * 5)).passed
    assert judge([reply([1.0] * 5, f"d{n}") for n in range(5)], GROUPED).passed


@given(st.integers(2, 9), st.floats(1.0, 1e9), st.integers(1, 10**6))
def test_less_than_half_of_a_group_can_neither_veto_nor_hide_a_harm(
    least: int, huge: float, rows: int
) -> None:
    settings = Gate(tolerance=1.0, worst_group_tolerance=0.01, group_devices=least)
    honest, few = least // 2 + 1, (least // 2 + 1) - 1
    for truth, lie in ((-0.01, huge), (0.05, -huge)):
        replies, of = fleet(north=[truth] * honest, rest=[-0.05] * 40)
        liars = [f"north-x{n}" for n in range(few)]
        lies = [reply([20 * lie], name) for name in liars]
        replies += [msgspec.structs.replace(one, rows=rows) for one in lies]
        of |= dict.fromkeys(liars, "north")
        vetoed = "group north is worse" in judge(replies, settings, of).words
        judged = honest + few >= least
        assert vetoed == (judged and truth > 0)


def test_a_release_without_any_loss_is_compared_too() -> None:
    replies, groups = fleet(north=[0.1] * 3)
    perfect = [msgspec.structs.replace(one, loss_release=0.0) for one in replies]
    assert "group north is worse" in judge(perfect, GROUPED, groups).words


@given(st.integers(1, 40), st.integers(0, 40))
def test_the_chance_of_a_sign_is_that_of_coins(devices: int, better: int) -> None:
    better = min(better, devices)
    ways = [math.comb(devices, k) for k in range(devices + 1)]
    assert sign_probability(better, devices) == pytest.approx(sum(ways[better:]) / sum(ways))


@given(st.lists(DIFFERENCES, max_size=6), st.sampled_from(["none", "t", "sign"]))
def test_every_decision_has_words(
    devices: list[list[float]], test: Literal["none", "t", "sign"]
) -> None:
    decision = judge([reply(rows) for rows in devices], Gate(test=test))
    assert decision.words.startswith("released: " if decision.passed else "refused: ")
    assert "nan" not in decision.words
