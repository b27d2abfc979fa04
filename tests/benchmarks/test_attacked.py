"""The fleet under attack trains by the product's graph, each device on its own rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.attacked import DEVICES, EPOCHS, FEWEST, RATE, Defence, Fleet, Run, dealt, play
from benchmarks.phones import CHANNELS, User
from headwater_agent.events import Batch
from headwater_coordinator.settings import Firewall
from headwater_models.arrays import pack
from headwater_models.session import Trainer, initial_state

AVERAGE = Defence(name="FedAvg", strategy=(("name", "fedavg"),))
GUARDED = replace(AVERAGE, firewall=Firewall())
RUN = Run(seed=0, defence=AVERAGE, rounds=2)


def users(rows: int = 1_000) -> list[User]:
    """One user, whose activity is written into each channel."""
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % 6
    values = (labels[:, None] + rng.normal(0, 0.1, (rows, len(CHANNELS)))).astype(np.float32)
    return [User("user-0", values, labels)]


@pytest.mark.parametrize("alpha", [None, 0.5])
def test_every_row_is_dealt_to_one_device(alpha: float | None) -> None:
    rows = np.arange(100, 900)
    parts = dealt(np.arange(1_000) % 6, rows, alpha, np.random.default_rng(0))
    assert len(parts) == DEVICES
    assert min(map(len, parts)) >= FEWEST
    assert sorted(np.concatenate(parts).tolist()) == rows.tolist()


def test_stacked_devices_learn_what_each_would_alone() -> None:
    fleet = Fleet(users(), replace(RUN, alpha=0.5), np.random.default_rng(0))
    smallest = int(np.argmin(fleet.counts))
    release = fleet.model.weights
    together = fleet.updates(release, np.random.default_rng(1))[smallest]

    window, label = fleet._windows[smallest], fleet._labels[smallest]
    has = fleet._weights[smallest] > 0
    count = int(has.sum())
    batch = Batch(
        window=window[has],
        time=np.zeros(count, np.int64),
        label=label[has],
        weight=np.ones(count, np.float32),
    )
    assert count <= 32
    weights, state = release, initial_state(fleet.model.manifest)
    for _ in range(EPOCHS):
        weights, state, _ = Trainer(fleet.model.train).step(batch, weights, state, RATE)
    alone = pack(fleet.model.manifest, weights) - pack(fleet.model.manifest, release)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_rounds_teach_the_activity() -> None:
    assert play(users(), replace(RUN, rounds=25)).accuracy > 0.5


def test_the_firewall_refuses_what_is_not_finite_and_nobody_else() -> None:
    outcome = play(users(), replace(RUN, defence=GUARDED, attack="NaN", share=0.2))
    assert (outcome.flagged, outcome.false_flags) == (1.0, 0.0)


def test_a_strategy_that_remembers_leaves_out_those_who_go_backwards() -> None:
    screened = Defence(name="ours", strategy=(("name", "screened"),))
    run = replace(RUN, defence=screened, attack="sign flip", share=0.2, rounds=6)
    outcome = play(users(), run)
    assert outcome.voteless > 0.5
    assert outcome.false_voteless < 0.2
    assert outcome.flagged == 0.0


def test_without_a_firewall_a_merge_that_is_not_finite_teaches_nothing() -> None:
    quiet, poisoned = play(users(), RUN), play(users(), replace(RUN, attack="NaN", share=0.2))
    assert poisoned.flagged == 0.0
    assert poisoned.accuracy < quiet.accuracy
