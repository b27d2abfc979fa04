"""Releases are judged on rows that nobody learned from, of the devices that have enough of them."""

from __future__ import annotations

import numpy as np

from headwater_simulator.scenario.settings import Synthetic
from headwater_simulator.sources.opening import open_source
from headwater_simulator.virtual.fleet import Fleet
from headwater_simulator.virtual.judged import gathered
from tests.simulator.virtual.scenes import tables


def fleet(rows: int) -> Fleet:
    scenario = tables(data=Synthetic(features=3, classes=3, rows=rows))
    return Fleet(scenario, open_source(scenario), np.random.default_rng(1))


def test_the_rows_of_each_judge_lie_one_after_the_other() -> None:
    made = fleet(rows=200)
    judges = made.members[:3]

    rows = gathered(made, judges)

    assert list(rows.cuts) == [one.name for one in judges]
    for one in judges:
        np.testing.assert_array_equal(rows.window[rows.cuts[one.name]], one.device.reserved.window)
        assert np.isfinite(rows.baseline[rows.cuts[one.name]]).all()
    assert len(rows.time) == sum(len(one.device.reserved.time) for one in judges)


def test_a_device_with_too_few_rows_is_left_out() -> None:
    made = fleet(rows=60)

    rows = gathered(made, made.members)

    assert not rows.cuts
    assert not len(rows.time)
