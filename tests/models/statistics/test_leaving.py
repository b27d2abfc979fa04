from __future__ import annotations

import pytest

from headwater_models.manifest import Manifest
from headwater_models.statistics import MIN_CLASS, complaints, says_too_much
from tests.models.statistics.gathered import CLASSES, gather, manifest, some_data

MODELS = (
    manifest(min_count=60),
    manifest(classes=CLASSES, min_count=60),
    manifest("naive_bayes", classes=CLASSES, min_count=60),
)
each = pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.learner} {m.task}")


@each
def test_statistics_say_too_much_until_they_are_of_enough_examples(model: Manifest) -> None:
    assert "of 59 examples; at least 60" in str(
        says_too_much(model, gather(model, some_data(model, 59)))
    )
    assert says_too_much(model, gather(model, some_data(model, 60))) is None


@pytest.mark.parametrize("model", MODELS[1:], ids=lambda m: m.learner)
def test_statistics_of_a_class_with_few_examples_stay_though_there_are_many_others(
    model: Manifest,
) -> None:
    found = some_data(model, 600)
    rare = (found.target == 1).cumsum()
    few = found.part((found.target != 1) | (rare < MIN_CLASS))
    enough = found.part((found.target != 1) | (rare <= MIN_CLASS))

    assert "fewer than 10 examples of class rising" in str(says_too_much(model, gather(model, few)))
    assert says_too_much(model, gather(model, enough)) is None
    assert says_too_much(model, gather(model, found.part(found.target != 1))) is None


@each
def test_a_contribution_that_data_can_lead_to_has_nothing_against_it(model: Manifest) -> None:
    assert list(complaints(model, gather(model, some_data(model)), 400)) == []


@each
def test_a_contribution_of_more_examples_than_it_says_is_named(model: Manifest) -> None:
    (words,) = complaints(model, gather(model, some_data(model)), 399)

    assert "399 examples, but its statistics are of 400" in words


@each
def test_a_contribution_that_says_too_much_is_named(model: Manifest) -> None:
    (words,) = complaints(model, gather(model, some_data(model, 30)), 30)

    assert "of 30 examples" in words


@each
def test_a_contribution_that_no_data_can_lead_to_is_named(model: Manifest) -> None:
    negative = {name: -a for name, a in gather(model, some_data(model)).items()}

    assert any("zero" in words for words in complaints(model, negative, 400))
