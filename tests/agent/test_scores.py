from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.scores import FADING, Score

losses = st.lists(st.floats(0, 1e3), min_size=1, max_size=200)


@given(losses)
def test_the_mean_is_that_of_all_labels(values: list[float]) -> None:
    score = Score()
    for value in values:
        score.add([(value, 2 * value, 0, 3 * value)])
    assert score.labels == len(values)
    assert score.baseline == pytest.approx(sum(values) / len(values))
    assert score.released == pytest.approx(2 * sum(values) / len(values))
    assert score.personal == 0
    assert score.served == pytest.approx(3 * sum(values) / len(values))


@given(losses)
def test_the_recent_mean_weighs_each_label_by_its_age(values: list[float]) -> None:
    score = Score()
    for value in values:
        score.add([(value, 0, 0, 0)])
    weights = [FADING**age for age in reversed(range(len(values)))]
    expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    assert score.recent_baseline == pytest.approx(expected)


def test_a_score_of_an_older_program_takes_the_release_for_what_was_served() -> None:
    stored = msgspec.to_builtins(Score(labels=4, released=0.5, recent_released=0.25))
    del stored["served"], stored["recent_served"]
    read = msgspec.convert(stored, Score)
    assert (read.served, read.recent_served) == (0.5, 0.25)


@given(losses, st.integers(1, 50))
def test_it_makes_no_difference_how_labels_are_cut_into_calls(
    values: list[float], size: int
) -> None:
    rows = [(value, 2 * value, value / 3, 1.0) for value in values]
    together, in_pieces = Score(), Score()
    together.add(rows)
    for at in range(0, len(rows), size):
        in_pieces.add(rows[at : at + size])
    assert in_pieces == together
