"""What each kind of attacker sends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headwater_agent.events import Batch
from headwater_simulator.scenario.settings import Attacker
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual.attacking import Conspiracy, mislabelled
from headwater_simulator.virtual.fleet import make_bundle
from tests.models.bundles import tiny
from tests.simulator.virtual.scenes import tables

LEARNED = np.array([1, -2, 0, 4], np.float32)


def forged(kind: Any, strength: float = 1.0, learned: np.ndarray[Any, Any] = LEARNED) -> Any:
    conspiracy = Conspiracy(np.random.default_rng(1))
    return conspiracy.forge(Attacker(kind=kind, strength=strength), "one", learned)


@pytest.mark.parametrize(
    ("kind", "strength", "sent"),
    [
        ("sign-flip", 1.0, [-1, 2, 0, -4]),
        ("sign-flip", 5.0, [-5, 10, 0, -20]),
        ("scaling", 10.0, [10, -20, 0, 40]),
        ("zero", 1.0, [0, 0, 0, 0]),
        ("label-flip", 9.0, [1, -2, 0, 4]),
    ],
)
def test_what_is_sent_follows_from_what_was_learned(
    kind: str, strength: float, sent: list[float]
) -> None:
    np.testing.assert_array_equal(forged(kind, strength), sent)


@pytest.mark.parametrize("kind", ["sign-flip", "scaling", "noise", "zero", "nan", "colluding"])
def test_what_is_sent_is_of_the_same_form_and_what_was_learned_stays(kind: str) -> None:
    learned = LEARNED.copy()

    sent = forged(kind, 2.0, learned)

    assert (sent.dtype, sent.shape) == (np.float32, LEARNED.shape)
    np.testing.assert_array_equal(learned, LEARNED)


def test_no_numbers_are_sent() -> None:
    assert np.isnan(forged("nan")).all()


def test_noise_is_as_long_as_said_beside_what_was_learned() -> None:
    learned = np.linspace(-1, 1, 1_000).astype(np.float32)

    noise = forged("noise", 3.0, learned) - learned

    assert np.linalg.norm(noise) == pytest.approx(3 * np.linalg.norm(learned), rel=1e-4)
    assert abs(np.dot(noise, learned)) < 0.15 * np.linalg.norm(noise) * np.linalg.norm(learned)
    np.testing.assert_array_equal(forged("noise", 1.0, np.zeros(3, np.float32)), np.zeros(3))


def test_those_that_collude_send_one_direction_against_their_mean() -> None:
    conspiracy = Conspiracy(np.random.default_rng(1))
    attacker = Attacker(kind="colluding", strength=2.0)

    conspiracy.forge(attacker, "one", LEARNED)
    conspiracy.forge(attacker, "two", np.zeros(4, np.float32))
    newer = conspiracy.forge(attacker, "two", 3 * LEARNED)

    np.testing.assert_allclose(newer, -2 * 2 * LEARNED)


def examples(*labels: float) -> Batch:
    label = np.array(labels, np.float32)[:, None]
    rows = len(labels)
    window = np.zeros((rows, 1, 3), np.float32)
    return Batch(window, np.zeros(rows, np.int64), label, np.ones(rows, np.float32))


def test_classes_are_turned_to_the_opposite_ones() -> None:
    scenario = tables()  # three classes
    manifest = make_bundle(scenario, open_source(scenario).facts).manifest
    honest = examples(0, 1, 2, 2)

    turned = mislabelled(manifest, honest)

    assert turned.label[:, 0].tolist() == [2, 1, 0, 0]
    assert turned.label.dtype == np.float32
    assert honest.label[:, 0].tolist() == [0, 1, 2, 2]


def test_numbers_are_mirrored_at_their_mean() -> None:
    manifest = tiny().manifest

    assert mislabelled(manifest, examples(1, 2, 6)).label[:, 0].tolist() == [5, 4, 0]
    np.testing.assert_array_equal(
        mislabelled(manifest, examples(1, np.nan, 3)).label[:, 0], [3, np.nan, 1]
    )
    assert np.isnan(mislabelled(manifest, examples(np.nan)).label).all()
    assert mislabelled(manifest, examples()).label.dtype == np.float32
