"""Attackers know all that is sent and the rule, and choose what harms most."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.attackers import (
    INNER_STRENGTHS,
    TARGET,
    TRIGGER,
    Attack,
    Floats,
    Scene,
    forged,
    poisoned,
    triggered,
)

DEVICES, SIZE, ATTACKERS = 10, 30, 3


def scene() -> Scene:
    rng = np.random.default_rng(0)
    updates = (1.0 + rng.standard_normal((DEVICES, SIZE))).astype(np.float32)
    return Scene(updates, np.arange(DEVICES) < ATTACKERS, lambda sent: sent.mean(axis=0))


def sent(attack: Attack, where: Scene) -> Floats:
    return forged(attack, where, np.random.default_rng(1))


@pytest.mark.parametrize(
    "attack", ["sign flip", "scaling", "noise", "NaN", "ALIE", "inner product", "Min-Max"]
)
def test_attackers_change_their_own_updates_alone(attack: Attack) -> None:
    where = scene()
    found = sent(attack, where)
    np.testing.assert_array_equal(found[ATTACKERS:], where.honest)
    assert not np.array_equal(found[:ATTACKERS], where.updates[:ATTACKERS])


def test_without_attackers_all_is_as_it_was() -> None:
    where = Scene(scene().updates, np.zeros(DEVICES, np.bool_), lambda sent: sent[0])
    assert sent("Min-Max", where) is where.updates


def test_the_strength_that_leads_a_mean_farthest_is_the_greatest() -> None:
    where = scene()
    found = sent("inner product", where)
    expected = -max(INNER_STRENGTHS) * where.honest.mean(axis=0)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_the_strength_depends_on_the_rule() -> None:
    within = Scene(
        scene().updates,
        scene().attackers,
        lambda sent: np.where(np.abs(sent).max() > 4, sent[-1], sent.mean(axis=0)),
    )
    assert np.abs(sent("inner product", within)[0]).max() <= 4


def test_min_max_is_no_farther_from_honest_updates_than_they_are_from_each_other() -> None:
    where = scene()
    honest = where.honest.astype(np.float64)
    farthest = max(np.linalg.norm(a - b) for a in honest for b in honest)
    found = forged("Min-Max", where, np.random.default_rng(1))[:ATTACKERS]
    copies = np.ptp(found, axis=0).max() < 1e-6
    reach = max(np.linalg.norm(found[0] - one) for one in honest)
    assert not copies or reach <= farthest * (1 + 1e-6)


def test_noisy_copies_are_not_alike() -> None:
    found = sent("noisy copies", scene())[:ATTACKERS]
    assert np.linalg.norm(found[0] - found[1]) > 1.0


def test_a_flipped_label_is_another_and_the_backdoor_marks_half_the_rows() -> None:
    values, labels = np.zeros((400, 43), np.float32), np.zeros(400, np.intp)
    trigger, rng = np.full(43, 9.0, np.float32), np.random.default_rng(0)

    assert (poisoned("label flip", values, labels, trigger, rng)[1] == 5).all()
    marked, named = poisoned("backdoor", values, labels, trigger, rng)
    with_trigger = (marked[:, TRIGGER] == 9.0).all(axis=1)
    assert 150 < with_trigger.sum() < 250
    np.testing.assert_array_equal(named == TARGET, with_trigger)


def test_a_trigger_leaves_the_other_channels_alone() -> None:
    values = np.zeros((2, 43), np.float32)
    marked = triggered(values, np.ones(43, np.float32))
    assert marked.sum() == 2 * len(TRIGGER)
    assert values.sum() == 0
