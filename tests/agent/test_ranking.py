from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.met import Entry, Labelled, Met, gather
from headwater_agent.ranking import Ranking
from headwater_agent.scores import FADING
from tests.agent.making import prediction, small_manifest

WINDOW = np.zeros((3, 2), np.float32)
NAMES, VERSIONS = ("near", "far"), ("v1", "v2")


def labelled(label: float, *said: float) -> Labelled:
    beside = np.array(said, np.float32)[:, None] if said else None
    made = msgspec.structs.replace(prediction(1), beside=beside)
    return Labelled(Entry(made, WINDOW), label)


def met(*items: Labelled) -> Met:
    (found,) = gather(items)
    assert isinstance(found, Met)
    return found


def ranking() -> Ranking:
    return Ranking(small_manifest(), NAMES, VERSIONS)


def test_each_model_is_held_against_the_label() -> None:
    one = ranking()
    one.count(met(labelled(10, 11, 15), labelled(20, 18, 30)))
    near, far = one.report()
    assert (near.name, near.version, near.labels, near.error) == ("near", "v1", 2, 1.5)
    assert (far.name, far.version, far.labels, far.error) == ("far", "v2", 2, 7.5)
    assert near.recent == pytest.approx((FADING * 1 + 2) / (FADING + 1))


errors = st.lists(st.tuples(st.floats(0, 9, width=32), st.floats(0, 9, width=32)), max_size=20)


@given(errors, st.integers(0, 20))
def test_it_makes_no_difference_how_labels_are_cut_into_batches(
    story: list[tuple[float, float]], cut: int
) -> None:
    items = [labelled(0, *said) for said in story]
    whole, parts = ranking(), ranking()
    for ranked, pieces in ((whole, [items]), (parts, [items[:cut], items[cut:]])):
        for piece in filter(None, pieces):
            ranked.count(met(*piece))
    for ours, theirs in zip(parts.report(), whole.report(), strict=True):
        assert ours.labels == theirs.labels
        assert ours.error == pytest.approx(theirs.error)
        assert ours.recent == pytest.approx(theirs.recent)


def test_what_is_not_finite_counts_for_none_and_leaves_the_others() -> None:
    one, without = ranking(), ranking()
    one.count(met(labelled(10, 11, 15), labelled(10, math.nan, 16), labelled(10, 12, 17)))
    without.count(met(labelled(10, 11, 15), labelled(10, 12, 17)))
    assert one.report()[0] == without.report()[0]
    assert one.report()[1].labels == 3


def test_predictions_made_before_a_restart_have_nothing_beside_them() -> None:
    one = ranking()
    one.count(met(labelled(10)))
    assert [rank.labels for rank in one.report()] == [0, 0]
    one.count(met(labelled(10), labelled(10, 11, 15)))
    assert [rank.labels for rank in one.report()] == [1, 1]


def test_it_goes_on_from_its_report_and_another_version_begins_anew() -> None:
    before, undisturbed = ranking(), ranking()
    before.count(met(labelled(10, 11, 15)))
    undisturbed.count(met(labelled(10, 11, 15), labelled(10, 13, 16)))
    after = Ranking(small_manifest(), NAMES, ("v1", "v3"))
    after.restore(before.report())
    after.count(met(labelled(10, 13, 16)))
    near, far = after.report()
    assert near.labels == 2
    assert near.recent == pytest.approx(undisturbed.report()[0].recent)
    assert (far.version, far.labels, far.error) == ("v3", 1, 6)


def test_without_models_there_is_nothing_to_rank() -> None:
    one = Ranking(small_manifest())
    one.count(met(labelled(10)))
    assert one.report() == ()
