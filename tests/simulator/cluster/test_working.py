"""A worker makes the rows of devices by their numbers and trains as the devices themselves do."""

from __future__ import annotations

import numpy as np
import pytest

from headwater import wire
from headwater.errors import UnsupportedError
from headwater_agent.answers import plan_replay
from headwater_models.arrays import pack
from headwater_models.session import Trainer
from headwater_simulator.cluster.working import Order, Worker, require_tables
from headwater_simulator.scenario.settings import Series
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual.fleet import make_bundle
from tests.simulator.cluster.scenarios import DEVICES, table

SCENARIO = table()
SOURCE = require_tables(open_source(SCENARIO))
BUNDLE = make_bundle(SCENARIO, SOURCE.facts)
FIRST = pack(BUNDLE.manifest, BUNDLE.weights)


def task(number: int) -> wire.Train:
    return wire.Train(
        task=f"{number:064x}",
        model=BUNDLE.model_id,
        base=BUNDLE.version_id,
        round=1,
        epochs=2,
        batch=16,
        learning_rate=0.1,
    )


def test_it_comes_to_what_each_device_comes_to_alone() -> None:
    orders = [Order(device, task(device), 0, None) for device in range(DEVICES)]
    done, weights = Worker(SCENARIO).do(FIRST[None], orders)

    trainer = Trainer(BUNDLE.train)
    for order, made, vector in zip(orders, done.made, weights, strict=True):
        rows = SOURCE.holding(order.device).learned
        start = BUNDLE.weights
        alone = plan_replay(order.task, BUNDLE.manifest, base=start, start=start, examples=rows)
        expected = alone.run(trainer)
        np.testing.assert_allclose(vector, pack(BUNDLE.manifest, expected.weights), rtol=1e-4)
        assert made.examples == expected.examples
        assert made.loss_after == pytest.approx(expected.loss_after, rel=1e-4)
    assert (done.stacked, done.looped) == (DEVICES, 0)


def test_each_begins_from_its_base_and_stops_after_its_steps() -> None:
    bases = np.stack([FIRST, FIRST + 1])
    orders = [Order(0, task(1), 0, 1), Order(0, task(1), 1, 1), Order(0, task(1), 0, None)]
    _, (one, other, whole) = Worker(SCENARIO).do(bases, orders)

    assert np.abs(other - one - 1).max() < 0.5
    assert np.abs(one - FIRST).max() < np.abs(whole - FIRST).max()


def test_it_counts_anew_each_time() -> None:
    worker = Worker(SCENARIO)
    orders = [Order(0, task(1), 0, None)]

    assert worker.do(FIRST[None], orders)[0] == worker.do(FIRST[None], orders)[0]


def test_streams_are_refused_with_the_reason() -> None:
    streams = open_source(table(data=Series(), faults=()))

    with pytest.raises(UnsupportedError, match="needs a table"):
        require_tables(streams)
