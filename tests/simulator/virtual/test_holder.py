"""A device of a table answers tasks as an agent with the same rows would."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headwater import wire
from headwater_agent.answers import DeclinedError
from headwater_agent.events import Version
from headwater_agent.releases import first_version
from headwater_models.arrays import pack, unpack, unpack_statistics
from headwater_models.session import Predictor, Trainer
from headwater_models.statistics import complaints
from headwater_simulator.device import Begun
from headwater_simulator.scenario.settings import Model, Synthetic
from headwater_simulator.sources.opening import open_source
from headwater_simulator.sources.source import Tables
from headwater_simulator.virtual.fleet import make_bundle
from headwater_simulator.virtual.holder import Holder
from tests.simulator.virtual.scenes import tables

SCENE = tables()
SOURCE = open_source(SCENE)
assert isinstance(SOURCE, Tables)
BUNDLE = make_bundle(SCENE, SOURCE.facts)
FIRST = first_version(BUNDLE)
TRAINER = Trainer(BUNDLE.train)
HASH = "ab" * 32
RIDGE = Model(kind="mlp", hidden=(16,), learner="ridge")


def holder(number: int = 2, source: Any = SOURCE) -> Holder:
    return Holder("all-00002", number, source, BUNDLE.manifest, FIRST)


def task(**changed: Any) -> wire.Train:
    told: dict[str, Any] = {
        "task": HASH,
        "model": BUNDLE.model_id,
        "base": FIRST.name,
        "round": 1,
        "batch": 16,
        "learning_rate": 0.1,
    }
    return wire.Train(**(told | changed))


def trained(one: Holder, asked: wire.Train) -> tuple[wire.Update, Any]:
    begun = one.begin_update(asked, TRAINER)
    assert isinstance(begun, Begun)
    return one.finish_update(begun, begun.training.run(TRAINER))


def test_it_says_who_it_is_and_how_much_it_holds() -> None:
    said = holder().check_in(BUNDLE.model_id)

    assert (said.device, said.model, said.version) == ("all-00002", BUNDLE.model_id, FIRST.name)
    assert (said.sequence, said.records, said.examples) == (FIRST.sequence, 60, 60)


def test_what_it_learns_from_and_what_it_judges_on_are_its_own_and_apart() -> None:
    one, other = holder(2), holder(3)

    assert (one.examples, len(one.learned.weight), len(one.reserved.weight)) == (60, 60, 20)
    np.testing.assert_array_equal(one.learned.window, holder(2).learned.window)
    assert not np.array_equal(one.learned.window, other.learned.window)
    both = np.concatenate([one.learned.window, one.reserved.window])
    assert len(np.unique(both, axis=0)) == 80


def test_an_update_is_what_training_its_rows_changes() -> None:
    one = holder()

    update, change = trained(one, task(epochs=5))

    assert (update.device, update.task, update.base) == ("all-00002", HASH, FIRST.name)
    assert (update.examples, update.sequence) == (60, 1)
    assert update.loss_after < update.loss_before
    assert change.shape == pack(BUNDLE.manifest, FIRST.weights).shape
    assert update.data_until_ms > one.learned.time.max()


def test_the_same_task_gives_the_same_update_under_the_next_number() -> None:
    one = holder()

    (first, change), (second, again) = trained(one, task()), trained(one, task())

    assert (first.sequence, second.sequence) == (1, 2)
    np.testing.assert_array_equal(change, again)


def test_what_compression_loses_goes_into_the_next_update() -> None:
    one = holder()
    asked = task(compression="top-k", keep=0.1, protocol=wire.TERMS)

    (_, first), (_, second) = trained(one, asked), trained(one, asked)

    assert first.dtype == np.uint8
    assert first.tobytes() != second.tobytes()


def test_a_base_that_it_does_not_run_is_declined() -> None:
    with pytest.raises(DeclinedError, match="unknown-base"):
        holder().begin_update(task(base=HASH), TRAINER)


def test_with_too_few_rows_it_declines() -> None:
    few = open_source(tables(data=Synthetic(features=3, classes=3, rows=40)))

    with pytest.raises(DeclinedError, match="too-few-examples"):
        holder(source=few).begin_update(task(), TRAINER)


def test_of_a_model_that_is_solved_from_statistics_it_gives_those_of_all_its_rows() -> None:
    assert isinstance(SOURCE, Tables)
    solved = make_bundle(tables(model=RIDGE), SOURCE.facts)
    first = first_version(solved)
    one = Holder("all-00002", 2, SOURCE, solved.manifest, first)

    trainer = Trainer(solved.train)
    made, remade = (one.begin_update(task(base=first.name), trainer) for _ in range(2))

    assert not isinstance(made, Begun)
    assert not isinstance(remade, Begun)
    (update, given), (later, again) = made, remade
    assert (update.sequence, later.sequence) == (1, 2)
    assert update.examples == 60
    assert update.loss_after < update.loss_before
    np.testing.assert_array_equal(given, again)
    assert not list(complaints(solved.manifest, unpack_statistics(solved.manifest, given), 60))


def test_statistics_of_too_few_rows_stay_where_they_are() -> None:
    few = open_source(tables(data=Synthetic(features=3, classes=3, rows=40)))
    assert isinstance(few, Tables)
    solved = make_bundle(tables(model=RIDGE), few.facts)
    first = first_version(solved)

    with pytest.raises(DeclinedError, match="too-few-examples"):
        Holder("one", 2, few, solved.manifest, first).begin_update(
            task(base=first.name), Trainer(solved.train)
        )


def test_it_judges_a_candidate_on_the_rows_that_it_never_learned_from() -> None:
    one = holder()
    _, change = trained(one, task(epochs=20))
    better = FIRST.weights | unpack(BUNDLE.manifest, pack(BUNDLE.manifest, FIRST.weights) + change)
    asked = wire.Evaluate(
        task=HASH,
        model=BUNDLE.model_id,
        candidate=HASH,
        release=FIRST.name,
        round=1,
        statement="",
    )

    reply = one.judge(asked, better, Predictor(BUNDLE.infer))

    assert isinstance(reply, wire.Evaluated)
    assert reply.rows == 20
    assert reply.loss_candidate < reply.loss_release == pytest.approx(np.log(3), rel=1e-5)


def test_it_takes_a_release_and_starts_its_next_update_there() -> None:
    one = holder()
    newer = Version(HASH, 2, {name: array + 1 for name, array in FIRST.weights.items()})

    one.take(newer, merged=0)
    begun = one.begin_update(task(base=HASH), TRAINER)

    assert isinstance(begun, Begun)
    assert begun.training.start is newer.weights
    assert one.check_in(BUNDLE.model_id).sequence == 2
    with pytest.raises(DeclinedError, match="unknown-base"):
        one.begin_update(task(), TRAINER)
