from __future__ import annotations

import numpy as np
import pytest

from headwater_agent.events import Example, Train, Trained
from headwater_agent.learner import MAX_WAITING, Learner, LearnerSettings, new_learner
from headwater_agent.served import ServeSettings
from tests.agent.model import floats, manifest, version


def example(sequence: int, *, reserved: bool = False) -> Example:
    window = np.full((3, 2), sequence, np.float32)
    return Example(sequence, "tank-1", sequence, window, floats(sequence), reserved)


def learner(batch: int = 2) -> Learner:
    settings = LearnerSettings(batch=batch, learning_rate=0.5)
    return new_learner(manifest(), version(), settings, ServeSettings())


def answer(step: Train, value: float) -> Trained:
    return Trained(
        {"w": floats(value, value)},
        {"w.m": floats(1, 1)},
        np.zeros(len(step.batch.weight), np.float32),
    )


def test_a_step_is_asked_for_when_a_batch_is_full() -> None:
    learning = learner()
    assert list(learning.learn([example(1)])) == []
    (step,) = learning.learn([example(2)])
    assert step.batch.label.tolist() == [[1], [2]]
    assert step.learning_rate == 0.5


def test_one_step_is_under_way_at_a_time_and_the_next_follows_its_answer() -> None:
    learning = learner()
    (first,) = learning.learn([example(n) for n in range(1, 6)])
    assert list(learning.learn([example(6)])) == []
    (second,) = learning.trained(answer(first, 3))
    assert (learning.learned_through, second.batch.label.tolist()) == (2, [[3], [4]])
    np.testing.assert_array_equal(second.parameters["w"], [3, 3])


def test_reserved_examples_are_never_in_a_batch() -> None:
    learning = learner()
    (step,) = learning.learn([example(1), example(2, reserved=True), example(3)])
    assert step.batch.label.tolist() == [[1], [3]]


def test_a_checkpoint_brings_back_the_whole_learning_state() -> None:
    learning = learner()
    (step,) = learning.learn([example(1), example(2)])
    list(learning.trained(answer(step, 7)))
    learning.personal.take(4)
    learning.score.add(baseline=3, released=2, personal=1)
    again = learner()
    saved = learning.checkpoint()
    again.restore(saved.state)
    assert saved.learned_through == again.learned_through == 2
    assert again.checkpoint().state == saved.state
    np.testing.assert_array_equal(again.personal.parameters["w"], [7, 7])


def test_batches_are_cut_the_same_after_a_restart() -> None:
    learning = learner()
    (step,) = learning.learn([example(1), example(2), example(3)])
    list(learning.trained(answer(step, 7)))
    again = learner()
    again.restore(learning.checkpoint().state)
    (step,) = again.learn([example(3), example(4)])
    assert step.batch.label.tolist() == [[3], [4]]


def test_when_training_cannot_keep_up_the_oldest_are_dropped_and_counted() -> None:
    learning = learner()
    list(learning.learn([example(n) for n in range(1, MAX_WAITING + 11)]))
    list(learning.learn([example(MAX_WAITING + 11)]))
    assert learning.dropped == 10


def test_switched_off_it_asks_for_nothing() -> None:
    learning = new_learner(manifest(), version(), LearnerSettings(enabled=False), ServeSettings())
    assert list(learning.learn([example(n) for n in range(100)])) == []


@pytest.mark.parametrize("merged", [0, 1])
def test_a_release_becomes_the_version_to_start_from(merged: int) -> None:
    learning = learner()
    learning.personal.take(1)
    learning.release(version(2, (4, 4)), merged)
    assert learning.version.sequence == 2
    np.testing.assert_array_equal(learning.personal.parameters["w"], [4, 4])
