"""A simulated fleet whose model is solved from statistics merges them exactly."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

import msgspec
import numpy as np
import pytest

from headwater.errors import SettingsError, UnsupportedError
from headwater.settings import Duration
from headwater_agent.pipeline_settings import LearnerSettings
from headwater_models.arrays import Arrays
from headwater_models.session import Trainer
from headwater_models.statistics import add, head_of, no_statistics, says_too_much, solve
from headwater_simulator.scenario.settings import DAY, HOUR, Agent, Attacker, Group, Model, Scenario
from headwater_simulator.sources.opening import open_source
from headwater_simulator.sources.source import Tables
from headwater_simulator.virtual.fleet import make_bundle
from tests.simulator.virtual.scenes import MINUTE, Kept, ran, sensors, streams, tables

RIDGE = Model(kind="mlp", hidden=(12,), learner="ridge")
BAYES = Model(kind="mlp", hidden=(6,), learner="naive_bayes")


def released(scenario: Scenario) -> Arrays:
    """Return the weights of the last release of a run."""
    engine = Kept(scenario, open_source(scenario))
    engine.run("scene")
    return engine.last


def pooled(scenario: Scenario) -> Arrays:
    """Return the head that follows in one place from the rows of all devices that may tell them.

    One with few rows of a class may not.
    """
    source = open_source(scenario)
    assert isinstance(source, Tables)
    bundle = make_bundle(scenario, source.facts)
    trainer, nothing = Trainer(bundle.train), no_statistics(bundle.manifest)
    told = []
    for number in range(scenario.devices):
        _, own, _ = trainer.step(source.holding(number).learned, bundle.weights, nothing, 0.0)
        if says_too_much(bundle.manifest, own) is None:
            told.append(own)
    assert len(told) >= 3
    return solve(bundle.manifest, reduce(partial(add, bundle.manifest), told, nothing))


@pytest.mark.parametrize("model", [RIDGE, BAYES], ids=["ridge", "naive Bayes"])
def test_the_released_head_is_the_one_of_all_rows_in_one_place(model: Model) -> None:
    scenario = tables(model=model)

    last, whole = released(scenario), pooled(scenario)

    for name, array in whole.items():
        np.testing.assert_array_equal(last[name], array)


def test_whoever_is_away_later_still_counts_in_the_head() -> None:
    """Statistics replace what the same device gave before, and nobody else's."""
    stays = Group(name="all", devices=5, speed=50.0)
    leaves = Group(name="early", devices=1, speed=50.0, leaves=Duration(7 * MINUTE))
    scenario = tables(model=RIDGE, groups=(stays, leaves))

    last, whole = released(scenario), pooled(scenario)

    for name, array in whole.items():
        np.testing.assert_array_equal(last[name], array)


def test_devices_with_streams_gather_as_they_go_and_the_fleet_learns() -> None:
    scenario = streams(
        model=Model(kind="mlp", hidden=(12,), window=4, learner="ridge"), length=Duration(14 * DAY)
    )

    results = ran(scenario)

    assert results.totals.releases > 3
    assert results.totals.updates_refused == 0
    first, *_, last = [one.loss for one in results.curve]
    assert last < 0.9 * first


def test_one_by_one_and_together_devices_gather_the_same() -> None:
    scenario = streams(model=Model(kind="linear", window=2, learner="ridge"))

    together = head_of_last(scenario)
    alone = head_of_last(scenario, one_by_one=True)

    for name, array in together.items():
        np.testing.assert_allclose(alone[name], array, rtol=1e-4, atol=1e-6)


def head_of_last(scenario: Scenario, **how: Any) -> Arrays:
    """Return the head of the last release of a run."""
    source = open_source(scenario)
    engine = Kept(scenario, source, **how)
    engine.run("scene")
    return head_of(make_bundle(scenario, source.facts).manifest, engine.last)


def test_a_strategy_for_gradients_is_refused_in_words() -> None:
    scenario = tables(model=RIDGE, strategy={"name": "fedmedian"})

    with pytest.raises(UnsupportedError, match=r"solved from statistics.*Remove the section"):
        ran(scenario)


def test_what_is_gathered_here_is_not_asked_of_a_cluster() -> None:
    class Nowhere:
        def replay(self, jobs: object, tally: object) -> list[Any]:
            raise AssertionError((jobs, tally))

    with pytest.raises(UnsupportedError, match="not on a Ray cluster"):
        ran(tables(model=RIDGE), elsewhere=Nowhere())


@pytest.mark.parametrize(
    "scenario",
    [
        tables(model=RIDGE),
        streams(groups=(sensors(),), agent=Agent(learn=LearnerSettings(training="stream"))),
    ],
    ids=["statistics", "a contribution that grows with the stream"],
)
def test_turned_labels_are_refused_where_no_update_is_made_of_stored_examples(
    scenario: Scenario,
) -> None:
    turning = (Attacker(kind="label-flip", share=0.5, start=HOUR),)

    with pytest.raises(SettingsError, match=r"attackers\[0\]\.kind: label-flip"):
        ran(msgspec.structs.replace(scenario, attackers=turning))
