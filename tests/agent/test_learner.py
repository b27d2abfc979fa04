from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from headwater_agent.drift_settings import DriftSettings
from headwater_agent.events import Effect, Example, Happened, Refine, Refined, Train, Trained
from headwater_agent.learner import Learner, new_learner
from headwater_agent.pipeline_settings import LearnerSettings, RefineSettings, ServeSettings
from headwater_agent.waiting import MAX_WAITING
from headwater_agent.watch import Watch
from headwater_models.fading import EVERY
from headwater_models.manifest import Schedule
from tests.agent.model import floats, manifest, version

WATCH = Watch(manifest(), DriftSettings()).save()


def example(sequence: int, *, reserved: bool = False) -> Example:
    window = np.full((3, 2), sequence, np.float32)
    return Example(sequence, "tank-1", sequence, window, float(sequence), reserved)


def learner(batch: int = 2, **chosen: Any) -> Learner:
    settings = LearnerSettings(batch=batch, learning_rate=0.5, **chosen)
    return new_learner(manifest(), version(), settings, ServeSettings())


def learn(learning: Learner, examples: list[Example]) -> Iterator[Effect]:
    """Take examples and learn from them at once."""
    yield from learning.learn(examples)
    yield from learning.study()


def steps(effects: Iterable[Effect]) -> list[Train]:
    return [effect for effect in effects if isinstance(effect, Train)]


def refinements(effects: Iterable[Effect]) -> list[Refine]:
    return [effect for effect in effects if isinstance(effect, Refine)]


def answer(step: Train, value: float) -> Trained:
    return Trained(
        {"w": floats(value, value)},
        {"w.m": floats(1, 1)},
        np.zeros(len(step.batch.weight), np.float32),
    )


def test_a_step_is_asked_for_when_a_batch_is_full() -> None:
    learning = learner()
    assert list(learn(learning, [example(1)])) == []
    (step,) = steps(learn(learning, [example(2)]))
    assert step.batch.label.tolist() == [[1], [2]]
    assert step.learning_rates == (0.5,)


def test_what_is_due_is_one_run_of_steps_and_the_next_follows_its_answer() -> None:
    learning = learner()
    (first,) = steps(learn(learning, [example(n) for n in range(1, 6)]))
    assert [batch.label.tolist() for batch, _ in first.steps()] == [[[1], [2]], [[3], [4]]]
    assert list(learn(learning, [example(6)])) == []
    (second,) = steps(learning.trained(answer(first, 3)))
    assert (learning.learned_through, second.batch.label.tolist()) == (4, [[5], [6]])
    assert learning.steps == 2
    np.testing.assert_array_equal(second.parameters["w"], [3, 3])


def test_reserved_examples_are_never_in_a_batch() -> None:
    learning = learner()
    (step,) = steps(learn(learning, [example(1), example(2, reserved=True), example(3)]))
    assert step.batch.label.tolist() == [[1], [3]]


def test_a_checkpoint_brings_back_the_whole_learning_state() -> None:
    learning = learner()
    (step,) = steps(learn(learning, [example(1), example(2)]))
    list(learning.trained(answer(step, 7)))
    learning.personal.take(4)
    learning.score.add([(3, 2, 1, 2)])
    again = learner()
    saved = learning.checkpoint(WATCH)
    again.restore(saved.state)
    assert saved.learned_through == again.learned_through == 2
    assert again.checkpoint(WATCH).state == saved.state
    np.testing.assert_array_equal(again.personal.parameters["w"], [7, 7])


def test_batches_are_cut_the_same_after_a_restart() -> None:
    learning = learner()
    (step,) = steps(learn(learning, [example(1), example(2), example(3)]))
    list(learning.trained(answer(step, 7)))
    again = learner()
    again.restore(learning.checkpoint(WATCH).state)
    (step,) = steps(learn(again, [example(3), example(4)]))
    assert step.batch.label.tolist() == [[3], [4]]


def test_when_learning_cannot_keep_up_every_other_example_is_left_out_and_that_is_told_once() -> (
    None
):
    learning = learner(batch=2)
    told = list(learning.learn([example(n) for n in range(1, MAX_WAITING + 2)]))
    assert [effect.kind for effect in told if isinstance(effect, Happened)] == ["overloaded"]
    assert learning.dropped == MAX_WAITING // 2 + 1
    assert list(learning.learn([example(n) for n in range(1, MAX_WAITING)])) == []
    (step,) = steps(learning.study(1))
    assert step.batch.time.tolist() == [example(n).time for n in (4, 8)]


def test_no_more_batches_are_learned_than_are_allowed() -> None:
    learning = learner(batch=2)
    assert not learning.is_due
    list(learning.learn([example(n) for n in range(1, 8)]))
    assert learning.is_due
    (first,) = steps(learning.study(2))
    assert list(learning.trained(answer(first, 1))) == []
    assert (learning.learned_through, learning.is_due) == (4, True)
    (third,) = steps(learning.study())
    assert list(learning.trained(answer(third, 3))) == []
    assert not learning.is_due


def test_switched_off_it_asks_for_nothing() -> None:
    learning = new_learner(manifest(), version(), LearnerSettings(enabled=False), ServeSettings())
    assert list(learn(learning, [example(n) for n in range(100)])) == []


@pytest.mark.parametrize("merged", [0, 1])
def test_a_release_becomes_the_version_to_start_from(merged: int) -> None:
    learning = learner()
    learning.personal.take(1)
    list(learning.release(version(2, (4, 4)), merged))
    assert learning.version.sequence == 2
    np.testing.assert_array_equal(learning.personal.parameters["w"], [4, 4])


def test_the_rate_follows_the_schedule_and_is_raised_for_a_while() -> None:
    learning = learner(batch=1, schedule=Schedule(kind="linear", steps=4))
    learning.hurry(10.0, steps=2)
    rates: list[float] = []
    for n in range(1, 5):
        (step,) = steps(learn(learning, [example(n)]))
        rates += step.learning_rates
        assert steps(learning.trained(answer(step, 0))) == []
    assert rates == [5.0, 3.75, 0.25, 0.125]
    together = learner(batch=1, schedule=Schedule(kind="linear", steps=4))
    together.hurry(10.0, steps=2)
    (run,) = steps(learn(together, [example(n) for n in range(1, 5)]))
    assert run.learning_rates == tuple(rates)


def test_moments_that_have_faded_are_zero_from_some_step_on_also_after_a_restart() -> None:
    learning, faint = learner(batch=1), {"w.m": np.full(2, 1e-39, np.float32)}
    for number in range(1, EVERY + 1):
        if number == EVERY // 2:
            saved, learning = learning.checkpoint(WATCH), learner(batch=1)
            learning.restore(saved.state)
        (step,) = steps(learn(learning, [example(number)]))
        assert learning.personal.state["w.m"].any() == (number > 1)
        list(learning.trained(replace(answer(step, 1), state=faint)))
    assert not learning.personal.state["w.m"].any()


def test_no_run_goes_on_beyond_a_step_after_which_it_is_looked_for_what_has_faded() -> None:
    learning = learner(batch=1)
    (first,) = steps(learn(learning, [example(n) for n in range(1, EVERY + 6)]))
    (second,) = steps(learning.trained(answer(first, 1)))
    assert [len(run.learning_rates) for run in (first, second)] == [EVERY, 5]


def test_what_its_examples_do_not_repeat_is_known_until_it_is_saved() -> None:
    learning = learner(batch=1)
    (step,) = steps(learn(learning, [example(1)]))
    list(learning.trained(answer(step, 7)))
    assert (learning.changed, learning.unrepeatable) == (True, False)
    for change in (learning.reset, lambda: learning.hurry(2.0, 5)):
        change()
        assert (learning.changed, learning.unrepeatable) == (True, True)
        learning.checkpoint(WATCH)
        assert (learning.changed, learning.unrepeatable) == (False, False)


def test_in_stream_training_the_contribution_learns_the_same_batches() -> None:
    learning = learner(batch=1, training="stream")
    (mine,) = steps(learn(learning, [example(1), example(2)]))
    (ours,) = steps(learning.trained(answer(mine, 1)))
    assert (mine.branch, ours.branch) == ("personal", "contribution")
    assert ours.batch is mine.batch
    assert learning.learned_through == 0
    assert steps(learning.trained(answer(ours, 2))) == []
    assert learning.learned_through == 2
    assert learning.contribution is not None
    assert learning.contribution.examples == 2
    np.testing.assert_array_equal(learning.contribution.parameters["w"], [2, 2])
    np.testing.assert_array_equal(learning.personal.parameters["w"], [1, 1])


def test_a_checkpoint_brings_the_contribution_back() -> None:
    learning, again = learner(batch=1, training="stream"), learner(batch=1, training="stream")
    (mine,) = steps(learn(learning, [example(1)]))
    (ours,) = steps(learning.trained(answer(mine, 1)))
    assert steps(learning.trained(answer(ours, 2))) == []
    learning.take(1)
    again.restore(learning.checkpoint(WATCH).state)
    assert again.checkpoint(WATCH).state == learning.checkpoint(WATCH).state


def test_a_waiting_example_takes_the_corrected_label() -> None:
    learning = learner(batch=2)
    assert steps(learn(learning, [example(1)])) == []
    assert learning.correct(1, 9.0)
    (step,) = steps(learn(learning, [example(2)]))
    assert step.batch.label.tolist() == [[9], [2]]
    assert not learning.correct(1, 8.0)


def refining(**chosen: Any) -> Learner:
    return learner(batch=100, refine=RefineSettings(epochs=3, **chosen))


def test_the_personal_model_is_refined_once_there_are_enough_examples() -> None:
    learning = refining()
    assert refinements(learn(learning, [example(n) for n in range(1, 10)])) == []
    (asked,) = refinements(learn(learning, [example(10)]))
    assert asked.version == "v1"
    assert refinements(learn(learning, [example(11)])) == []


def test_what_was_learned_while_it_was_refined_stays_on_top() -> None:
    learning = refining()
    (_,) = refinements(learn(learning, [example(n) for n in range(1, 11)]))
    learning.personal.trained({"w": floats(1, 2)}, {"w.m": floats(0, 0)}, 1)
    learning.refined(Refined("v1", {"w": floats(10, 10)}))
    np.testing.assert_array_equal(learning.personal.parameters["w"], [11, 12])


def test_each_release_and_enough_further_examples_refine_again() -> None:
    learning = refining(every=5)
    (_,) = refinements(learn(learning, [example(n) for n in range(1, 11)]))
    learning.refined(Refined("v1", None))
    assert refinements(learn(learning, [example(n) for n in range(11, 15)])) == []
    (_,) = refinements(learn(learning, [example(15)]))
    learning.refined(Refined("v1", None))
    learning.learned_through = 15
    (asked,) = refinements(learning.release(version(2, (4, 4)), 0))
    assert asked.version == "v2"


def test_what_was_refined_from_an_older_release_is_left() -> None:
    learning = refining()
    (_,) = refinements(learn(learning, [example(n) for n in range(1, 11)]))
    list(learning.release(version(2, (4, 4)), 0))
    learning.refined(Refined("v1", {"w": floats(10, 10)}))
    np.testing.assert_array_equal(learning.personal.parameters["w"], [4, 4])
