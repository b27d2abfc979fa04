"""An update that is out of line with those before it is refused, in words; an honest one never."""

from __future__ import annotations

import statistics

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater import wire
from headwater_coordinator.cohort import HOUR_MS, KEPT_NORMS, Cohort
from headwater_coordinator.settings import Firewall
from headwater_coordinator.state import Conduct, Device, Past

HASH = "0" * 64
UPDATE = wire.Update(
    task=HASH,
    device="well",
    model=HASH,
    base=HASH,
    sequence=1,
    examples=100,
    loss_before=1.0,
    loss_after=0.5,
    data_until_ms=0,
)
WELL = Device("SHA256:well", "well", records=2_000)
STRICT = Firewall(least=5, norm_multiple=4.0, least_cosine=0.2, examples_multiple=2.0, per_hour=4)


def vector(first: float, second: float = 0.0) -> NDArray[np.float32]:
    return np.array([first, second], np.float32)


def grown(settings: Firewall = STRICT, updates: int = 5) -> Cohort:
    """A cohort that has seen as many updates as it wants, all of norm 1 and in one direction."""
    cohort = Cohort(settings, Past())
    for number in range(updates):
        cohort.accepted(UPDATE, vector(1.0), f"SHA256:{number}")
    return cohort


def asked(cohort: Cohort, update: wire.Update, vector: NDArray[np.float32], now: int = 0) -> str:
    return cohort.complaint(update, vector, WELL, now) or ""


def test_a_norm_far_above_the_median_is_refused_with_how_far() -> None:
    assert asked(grown(), UPDATE, vector(3.9)) == ""
    assert asked(grown(), UPDATE, vector(41.0)) == (
        "Its norm is 41 times the median of the last 5 updates; at most 4 is allowed."
    )


def test_an_update_against_the_direction_of_the_fleet_is_refused() -> None:
    assert asked(grown(), UPDATE, vector(1.0, 1.0)) == ""
    assert "the cosine is -1.00" in asked(grown(), UPDATE, vector(-1.0))


def test_nothing_is_usual_before_enough_was_seen() -> None:
    assert asked(grown(updates=4), UPDATE, vector(-1e5)) == ""


def test_the_direction_is_gathered_anew_after_a_restart_and_norms_are_not() -> None:
    restored = Cohort(STRICT, Past(norms=[1.0] * 5))
    assert asked(restored, UPDATE, vector(-1.0)) == ""
    assert "41 times" in asked(restored, UPDATE, vector(-41.0))


def test_no_single_update_turns_the_direction() -> None:
    cohort = grown(msgspec.structs.replace(STRICT, norm_multiple=1e6))
    cohort.accepted(UPDATE, vector(-1e5), "SHA256:liar")
    assert asked(cohort, UPDATE, vector(1.0)) == ""
    assert "points away" in asked(cohort, UPDATE, vector(-1.0))


def test_only_the_newest_norms_count() -> None:
    cohort = grown(msgspec.structs.replace(STRICT, least_cosine=-1.0))
    for _ in range(KEPT_NORMS):
        cohort.accepted(UPDATE, vector(50.0), "SHA256:spring")
    assert asked(cohort, UPDATE, vector(100.0)) == ""


def test_updates_that_change_nothing_make_no_norm_to_measure_by() -> None:
    cohort = Cohort(STRICT, Past(norms=[0.0] * 5))
    assert asked(cohort, UPDATE, vector(1.0)) == ""


@pytest.mark.parametrize(("examples", "refused"), [(4_000, False), (4_001, True)])
def test_examples_must_be_plausible_for_the_records_of_the_device(
    examples: int, refused: bool
) -> None:
    update = msgspec.structs.replace(UPDATE, examples=examples)
    words = asked(Cohort(STRICT, Past()), update, vector(1.0))
    assert ("4,001 examples" in words) == refused


def test_examples_that_were_accepted_before_are_plausible_again() -> None:
    cohort = Cohort(STRICT, Past(conduct={WELL.node: Conduct(examples=10_000)}))
    update = msgspec.structs.replace(UPDATE, examples=20_000)
    assert asked(cohort, update, vector(1.0)) == ""


def test_a_device_may_send_so_many_updates_in_an_hour() -> None:
    cohort = Cohort(STRICT, Past())
    said = [asked(cohort, UPDATE, vector(1.0), now) for now in (0, 1, 2, 3, 4)]
    assert said[:4] == [""] * 4
    assert "4 updates" in said[4]
    assert asked(cohort, UPDATE, vector(1.0), HOUR_MS) == ""


def test_refusals_in_a_row_are_counted_since_the_first() -> None:
    cohort = Cohort(STRICT, Past())
    night = 86_400_000 + 3 * HOUR_MS + 12 * 60_000
    cohort.refused("SHA256:well", "Too long.", night)
    cohort.refused("SHA256:well", "Too long.", night + 1)
    said = cohort.refused("SHA256:well", "Too long.", night + HOUR_MS)
    assert said == "Too long; 3rd refusal since 03:12 UTC."
    much_later = cohort.refused("SHA256:well", "Too long.", night + 30 * HOUR_MS)
    assert much_later == "Too long; 4th refusal since 1970-01-02 03:12 UTC."


def test_an_accepted_update_ends_the_row() -> None:
    cohort = Cohort(STRICT, Past())
    cohort.refused("SHA256:well", "Too long.", 0)
    cohort.accepted(UPDATE, vector(1.0), "SHA256:well")
    assert cohort.refused("SHA256:well", "Too long.", 1) == "Too long."


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_the_defaults_let_an_honest_fleet_pass(logs: list[float], seed: int) -> None:
    rng, cohort = np.random.default_rng(seed), Cohort(Firewall(), Past())
    for number, log in enumerate(logs):
        step = (rng.standard_normal(8) * 2.0 ** (log / 2)).astype(np.float32)
        assert cohort.complaint(UPDATE, step, WELL, number * 60_000) is None
        cohort.accepted(UPDATE, step, WELL.node)


@given(st.lists(st.floats(0.5, 2.0), min_size=KEPT_NORMS - 3, max_size=KEPT_NORMS + 9))
def test_a_norm_is_told_as_a_multiple_of_the_median_of_the_newest(norms: list[float]) -> None:
    cohort = Cohort(msgspec.structs.replace(STRICT, least_cosine=-1.0), Past(norms=norms[:50]))
    for norm in norms[50:]:
        cohort.accepted(UPDATE, np.full(1, norm), "SHA256:spring")
    newest = norms[-KEPT_NORMS:]

    told = asked(cohort, UPDATE, np.full(1, 100.0))

    assert f"is {100.0 / statistics.median(newest):,.3g} times the median" in told
    assert f"of the last {len(newest)} updates" in told
