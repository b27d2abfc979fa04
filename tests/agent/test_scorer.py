from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.events import Happened, Label, Prediction
from headwater_agent.learner import new_learner
from headwater_agent.met import Entry, Labelled
from headwater_agent.pipeline_settings import LabelRules, LearnerSettings, ServeSettings
from headwater_agent.predictions import Predictions
from headwater_agent.scorer import Scorer, errors_of, served_of
from headwater_models.manifest import Manifest
from tests.agent.model import (
    MINUTE,
    classification,
    floats,
    manifest,
    record,
    regression,
    version,
)
from tests.agent.mortal import Mortal

NO_WINDOW = np.zeros((0, 0), np.float32)


def prediction(
    released: float = 2.0, personal: float = 3.0, baseline: float = 1.0, time: int = 0
) -> Prediction:
    said = floats(released, personal, baseline)[:, None]
    return Prediction("p", "tank-1", time, "v1", said, "ok", received=0)


def columns(*made: Prediction) -> Predictions:
    return Predictions.of(made)


def corrected(label: float, made: Prediction | None = None) -> Labelled:
    return Labelled(Entry(made or prediction(), NO_WINDOW), label)


def scorer() -> Scorer:
    learner = new_learner(manifest(), version(), LearnerSettings(), ServeSettings())
    return Scorer(learner, block=1_000)


def test_a_table_of_errors_has_baseline_released_and_personal() -> None:
    found = columns(prediction(), prediction())
    assert errors_of(manifest(), found, [2.5, 0.0]).tolist() == [[1.5, 0.5, 0.5], [1, 2, 3]]


def test_errors_of_classes_are_zero_or_one() -> None:
    said = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], np.float32)
    made = Prediction("p", "tank-1", 0, "v1", said, "ok", received=0)
    assert errors_of(classification(), columns(made), [1]).tolist() == [[1, 0, 1]]


def test_of_a_table_the_errors_of_what_was_published_are_told() -> None:
    made = columns(prediction(), msgspec.structs.replace(prediction(), served="personal"))
    assert served_of(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), made).tolist() == [2, 6]
    assert served_of(np.zeros((0, 3)), columns()).tolist() == []


def test_labels_are_counted_by_stream_and_together() -> None:
    scoring = scorer()
    list(scoring.count(columns(prediction()), np.array([[1.5, 0.5, 0.5]])))
    learner = scoring._learner
    assert (learner.score.labels, learner.score.released) == (1, 0.5)
    assert learner.streams["tank-1"].baseline == 1.5


def test_the_error_of_what_was_published_is_kept_beside_the_models() -> None:
    scoring = scorer()
    list(scoring.count(columns(prediction()), np.array([[1.5, 0.5, 0.25]])))
    made = msgspec.structs.replace(prediction(), served="personal")
    item = corrected(2.5, made)
    list(scoring.count(columns(made), np.array([[1.5, 0.5, 0.25]])))
    assert scoring._learner.score.served == (0.5 + 0.25) / 2
    list(scoring.correct(item, np.array([1.5, 0.5, 0.25]), np.array([1.5, 0.5, 1.25])))
    assert scoring._learner.score.served == (0.5 + 1.25) / 2


def test_a_model_that_said_nothing_is_not_compared() -> None:
    scoring = scorer()
    list(scoring.count(columns(prediction()), np.array([[math.nan, 0.5, 0.5]])))
    assert scoring._learner.score.labels == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 9)), max_size=60), st.integers(1, 40))
def test_it_makes_no_difference_how_labels_of_streams_are_cut_into_calls(
    story: list[tuple[int, float]], size: int
) -> None:
    together, in_pieces = scorer(), scorer()
    found = columns(
        *(
            msgspec.structs.replace(prediction(time=1_000 * at), stream=f"tank-{stream}")
            for at, (stream, _) in enumerate(story)
        )
    )
    table = np.array([(loss, loss / 3, loss / 7) for _, loss in story]).reshape(-1, 3)
    list(together.count(found, table))
    for at in range(0, len(found), size):
        list(in_pieces.count(found[at : at + size], table[at : at + size]))
    assert dict(in_pieces.changes()) == dict(together.changes())


def test_a_correction_leaves_the_scores_as_if_the_label_had_been_right_at_once() -> None:
    twice, straight = scorer(), scorer()
    made = columns(prediction())
    for label in (2.5, 4.0, 1.0):
        table = errors_of(manifest(), made, [label])[0]
        list(twice.count(made, table[None]))
        right = errors_of(manifest(), made, [2.5])[0]
        list(straight.count(made, right[None]))
        list(twice.correct(corrected(label), table, right))
    ours, theirs = twice._learner.score, straight._learner.score
    for name in ("baseline", "released", "personal"):
        assert math.isclose(getattr(ours, name), getattr(theirs, name))


def test_what_changed_is_told_once_and_brings_everything_back() -> None:
    scoring, again = scorer(), scorer()
    assert scoring.changes() == ()
    for stream in ("tank-1", "tank-2", "tank-2"):
        made = columns(msgspec.structs.replace(prediction(), stream=stream))
        list(scoring.count(made, np.array([[1.5, 0.5, 0.25]])))
    told = scoring.changes()
    assert [name for name, _ in told] == ["", "tank-1", "tank-2"]
    assert scoring.changes() == ()
    again.restore(told)
    ours, theirs = again._learner, scoring._learner
    assert (ours.served, ours.score, ours.streams) == (theirs.served, theirs.score, theirs.streams)


def test_a_correction_and_a_reset_are_told_too() -> None:
    scoring = scorer()
    item = corrected(2.5)
    list(scoring.count(columns(prediction()), np.array([[1.5, 0.5, 0.25]])))
    scoring.changes()
    list(scoring.correct(item, np.array([1.5, 0.5, 0.25]), np.array([1.5, 0.5, 0.75])))
    assert [name for name, _ in scoring.changes()] == ["", "tank-1"]
    assert scoring.reset("drift").detail == "drift"
    assert [name for name, _ in scoring.changes()] == [""]


def anomaly(released: float, personal: float, time: int) -> Prediction:
    return msgspec.structs.replace(prediction(released, personal, time=time), thresholds=(1.0, 1.0))


def test_a_model_that_merely_reconstructs_better_is_not_promoted() -> None:
    """Its scores are lower, but it no longer flags what the release flags."""
    scoring = scorer()
    for n in range(3_000):
        strange = n % 10 == 0
        list(scoring.unlabelled(anomaly(1.5 if strange else 0.5, 0.2, time=1_000 * n)))
    assert scoring._learner.served.serving == "released"


def test_an_anomaly_model_that_is_better_on_unflagged_windows_is_promoted() -> None:
    scoring = scorer()
    changes: list[Happened] = []
    for n in range(3_000):
        strange = n % 10 == 0
        made = anomaly(1.5, 1.6, 1_000 * n) if strange else anomaly(0.5, 0.2, 1_000 * n)
        changes += scoring.unlabelled(made)
    assert [change.kind for change in changes] == ["promoted"]


def test_where_nothing_is_ever_flagged_no_anomaly_model_is_promoted() -> None:
    scoring = scorer()
    assert not any(list(scoring.unlabelled(anomaly(0.5, 0.2, 1_000 * n))) for n in range(2_000))


def test_without_a_threshold_nothing_is_said_about_an_anomaly_model() -> None:
    assert list(scorer().unlabelled(prediction())) == []


def test_a_model_that_diverged_is_the_release_again() -> None:
    scoring = scorer()
    scoring._learner.personal.parameters = {"w": floats(math.nan, 1)}
    assert scoring.diverged().kind == "reset"
    np.testing.assert_array_equal(scoring._learner.personal.parameters["w"], [0, 0])


FROM_OUTSIDE = msgspec.structs.replace(regression(), window=1)


@pytest.mark.parametrize(
    ("model", "late", "block"),
    [
        (manifest(window=1, horizon=7), 0, 7),
        (manifest(window=1, horizon=7), 20, 20),
        (FROM_OUTSIDE, 30, 30),
        (FROM_OUTSIDE, 0, 1),
    ],
)
def test_a_block_of_evidence_is_as_long_as_labels_take(
    model: Manifest, late: int, block: int
) -> None:
    device = Mortal(model, labels=LabelRules(outside=True, late=late * MINUTE))
    for minute in range(1000, 1100):
        label = Label(1.0, stream="tank-1", time=minute * MINUTE)
        device.receive(record(minute, 1.0), *([label] if model is FROM_OUTSIDE else []))
    evidence = device.pipeline.learner.served.evidence
    assert evidence.block == (1099 - int(model.horizon) // MINUTE) // block
    assert evidence.reference == block
