"""A device whose rows are elsewhere takes tasks as the one that holds them."""

from __future__ import annotations

from typing import cast

import pytest

from headwater import wire
from headwater_agent.answers import DeclinedError
from headwater_agent.releases import first_version
from headwater_agent.replay import Replayed
from headwater_models.bundle import Bundle
from headwater_models.session import Trainer
from headwater_simulator.device import Begun
from headwater_simulator.scenario.settings import Synthetic
from headwater_simulator.sources.source import Tables
from headwater_simulator.sources.synthetic import SyntheticTables
from headwater_simulator.virtual.far import FarHolder, FarReplay
from headwater_simulator.virtual.fleet import make_bundle
from headwater_simulator.virtual.holder import Holder
from tests.simulator.cluster.scenarios import table


class Untouched(SyntheticTables):
    """A table whose rows nobody may make."""

    def holding(self, device: int) -> object:  # type: ignore[override]
        raise AssertionError(device)


def device(kind: type[Holder], tables: Tables) -> tuple[Holder, Bundle]:
    bundle = make_bundle(table(), tables.facts)
    return kind("it", 3, tables, bundle.manifest, first_version(bundle)), bundle


def task(bundle: Bundle, base: str = "") -> wire.Train:
    return wire.Train(task="1" * 64, model=bundle.model_id, base=base or bundle.version_id, round=1)


def settings(rows: int = 100) -> Synthetic:
    return Synthetic(features=6, classes=3, rows=rows)


def test_it_makes_no_row_to_take_up_a_task_and_says_how_many_it_has() -> None:
    far, bundle = device(FarHolder, cast("Tables", Untouched(settings(), seed=4)))
    begun = far.begin_update(task(bundle), Trainer(bundle.train))
    assert isinstance(begun, Begun)
    training = begun.training

    assert isinstance(training, FarReplay)
    assert training.number == 3
    assert len(training.examples.weight) == far.examples == 80


def test_its_answer_is_that_of_the_one_that_holds_the_rows() -> None:
    answers = []
    for kind in (Holder, FarHolder):
        one, bundle = device(kind, SyntheticTables(settings(), seed=4))
        begun = one.begin_update(task(bundle), Trainer(bundle.train))
        assert isinstance(begun, Begun)
        made = Replayed(bundle.weights, 80, 1.0, 0.5)
        answers.append(one.finish_update(begun, made)[0])

    assert answers[0] == answers[1]


def test_it_declines_with_too_few_rows_and_from_a_base_it_has_not() -> None:
    few, bundle = device(FarHolder, SyntheticTables(settings(60), seed=4))
    with pytest.raises(DeclinedError, match="unknown-base"):
        few.begin_update(task(bundle, "2" * 64), Trainer(bundle.train))

    none, _ = device(FarHolder, SyntheticTables(settings(49), seed=4))
    with pytest.raises(DeclinedError, match="too-few-examples"):
        none.begin_update(task(bundle), Trainer(bundle.train))
