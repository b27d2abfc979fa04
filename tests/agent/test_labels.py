from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.events import Label, Prediction, Row
from headwater_agent.labels import MAX_WAITING, Labels
from headwater_agent.met import Entry, Found, Labelled, Met
from headwater_agent.predictions import Predictions
from headwater_models.manifest import Manifest
from tests.agent.model import MINUTE, floats, manifest
from tests.agent.model import regression as regression_manifest

WINDOW = np.zeros((3, 2), np.float32)


def prediction(slot: int, stream: str = "tank-1") -> Prediction:
    key, none = f"{stream}-{slot}", np.zeros((3, 1), np.float32)
    return Prediction(key, stream, slot * MINUTE, "v1", none, "ok", received=0)


def row(slot: int, level: float, *, observed: bool = True) -> Row:
    return Row("tank-1", slot, floats(level, 0), np.array([observed, True]))


def met(labels: Labels, row: Row) -> Labelled | None:
    """What a row labels that comes alone."""
    return labels.meet(row, *labels.observed([row]))


def told(found: Labelled | None) -> tuple[str, float, float | None] | None:
    return None if found is None else (found.entry.prediction.id, found.label, found.before)


def told_all(found: Met | Labelled) -> list[tuple[str, float, float | None] | None]:
    if isinstance(found, Labelled):
        return [told(found)]
    assert len(found.windows) == len(found.entries) == len(found.predictions)
    return [
        (key, label, None) for key, label in zip(found.predictions.ids, found.labels, strict=True)
    ]


def meet(labels: Labels, label: Label) -> Labelled | None:
    entry = labels.find(label)
    return None if entry is None else labels.take(entry, label.value)


def come(labels: Labels, slot: int, level: float = 1.0) -> Labelled | None:
    """A row comes; what lies behind it is let go."""
    found = met(labels, row(slot, level))
    labels.let_go(row(slot, level))
    return found


def forecast() -> Labels:
    labels = Labels(manifest(horizon=2))
    labels.expect(Entry(prediction(5), WINDOW))
    return labels


def outside(late: int = 60, tolerance: int = 0, model: Manifest | None = None) -> Labels:
    made = model or regression_manifest()
    return Labels(made, late=late * MINUTE, tolerance=tolerance * MINUTE)


def at(minute: float, value: float = 1.0) -> Label:
    return Label(value, stream="tank-1", time=round(minute * MINUTE))


def test_a_prediction_meets_the_row_that_lies_a_horizon_after_it() -> None:
    labels = forecast()
    assert met(labels, row(6, 1.0)) is None
    assert told(met(labels, row(7, 2.5))) == ("tank-1-5", 2.5, None)
    assert met(labels, row(7, 2.5)) is None


def test_a_missing_target_labels_nothing() -> None:
    assert met(forecast(), row(7, float("nan"), observed=False)) is None


def test_a_held_target_labels_nothing() -> None:
    assert met(forecast(), row(7, 3.0, observed=False)) is None


def test_after_a_jump_the_old_predictions_are_forgotten() -> None:
    labels = forecast()
    assert come(labels, 50) is None
    assert come(labels, 7) is None
    assert (len(labels), labels.given_up) == (0, 1)


def test_a_row_is_no_label_where_labels_come_from_outside() -> None:
    labels = outside()
    labels.expect(Entry(prediction(5), WINDOW))
    assert met(labels, row(5, 1.0)) is None


def test_a_label_finds_its_prediction_by_id() -> None:
    labels = outside()
    labels.expect(Entry(prediction(5), WINDOW))
    labels.expect(Entry(prediction(6), WINDOW))
    assert told(meet(labels, Label(2.0, id="tank-1-5"))) == ("tank-1-5", 2.0, None)
    assert meet(labels, Label(2.0, id="another")) is None


def test_a_label_finds_the_prediction_nearest_in_time() -> None:
    labels = outside(tolerance=2)
    for slot in (5, 9, 12):
        labels.expect(Entry(prediction(slot), WINDOW))
    found = [told(meet(labels, at(minute))) for minute in (6.9, 8.1, 12.0, 14.5)]
    assert [f and f[0] for f in found] == ["tank-1-5", "tank-1-9", "tank-1-12", None]


def test_the_time_of_a_label_is_the_one_that_a_forecast_speaks_of() -> None:
    labels = outside(model=manifest(horizon=2))
    labels.expect(Entry(prediction(5), WINDOW))
    assert meet(labels, at(5)) is None
    assert told(meet(labels, at(7))) == ("tank-1-5", 1.0, None)


def test_a_label_of_another_stream_finds_nothing() -> None:
    labels = outside()
    labels.expect(Entry(prediction(5, "tank-2"), WINDOW))
    assert meet(labels, at(5)) is None


def test_a_second_label_corrects_the_first_and_the_same_once_more_changes_nothing() -> None:
    labels = outside()
    labels.expect(Entry(prediction(5), WINDOW))
    assert told(meet(labels, at(5, 1.0))) == ("tank-1-5", 1.0, None)
    assert meet(labels, at(5, 1.0)) is None
    assert told(meet(labels, at(5, 3.0))) == ("tank-1-5", 3.0, 1.0)


def test_a_forecast_labelled_by_its_stream_can_be_corrected_from_outside() -> None:
    labels = outside(model=manifest(horizon=2))
    labels.expect(Entry(prediction(5), WINDOW))
    assert told(met(labels, row(7, 2.5))) == ("tank-1-5", 2.5, None)
    assert told(meet(labels, at(7, 2.75))) == ("tank-1-5", 2.75, 2.5)


def test_a_label_may_come_until_the_limit_and_not_later() -> None:
    labels = outside(late=10)
    labels.expect(Entry(prediction(5), WINDOW))
    come(labels, 15)
    assert meet(labels, at(5)) is not None
    come(labels, 16)
    assert meet(labels, at(5, 9.0)) is None
    assert labels.given_up == 0


def test_a_label_with_the_time_of_its_record_finds_the_row_that_the_record_belongs_to() -> None:
    for tolerance in (0, 1, 5):
        labels = outside(tolerance=tolerance)
        labels.expect(Entry(prediction(5), WINDOW))
        assert told(meet(labels, at(5.98, 1.0))) == ("tank-1-5", 1.0, None)
        labels.expect(Entry(prediction(6), WINDOW))
        assert told(meet(labels, at(5.98, 2.0))) == ("tank-1-5", 2.0, 1.0)


def test_without_a_tolerance_a_label_never_goes_to_a_neighbour() -> None:
    labels = outside()
    for slot in (4, 6):
        labels.expect(Entry(prediction(slot), WINDOW))
    assert [meet(labels, at(minute)) for minute in (3.99, 5, 5.5, 5.99)] == [None] * 4


def test_the_time_of_a_correction_falls_into_the_row_that_the_forecast_speaks_of() -> None:
    labels = outside(model=manifest(horizon=2))
    labels.expect(Entry(prediction(5), WINDOW))
    assert told(meet(labels, at(7.5))) == ("tank-1-5", 1.0, None)


def test_what_the_store_knows_can_be_labelled_and_corrected_up_to_the_same_limit() -> None:
    labels = outside(late=10)
    old = Entry(prediction(4), WINDOW, 1.0)
    entries = [Entry(prediction(15), WINDOW), Entry(prediction(5), WINDOW, 1.0, 7), old]
    labels.restore(entries, [row(15, 1.0)])
    assert len(labels) == 2
    assert told(meet(labels, at(5, 2.0))) == ("tank-1-5", 2.0, 1.0)
    assert told(meet(labels, at(15, 3.0))) == ("tank-1-15", 3.0, None)
    found = labels.find(at(5))
    assert found is not None
    assert found.sequence == 7


def test_no_more_than_so_many_predictions_wait() -> None:
    labels = outside(late=10**6)
    for slot in range(MAX_WAITING + 100):
        labels.expect(Entry(prediction(slot), WINDOW))
    assert len(labels) <= MAX_WAITING
    assert labels.given_up >= 100


@given(
    st.lists(st.integers(0, 40), unique=True, max_size=20),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), max_size=30),
    st.integers(0, 30),
)
def test_a_label_meets_what_a_search_of_all_predictions_would_find(
    slots: list[int], coming: list[tuple[int, int]], tolerance: int
) -> None:
    labels = Labels(regression_manifest(), late=10**9, tolerance=tolerance * MINUTE // 10)
    for slot in sorted(slots):
        labels.expect(Entry(prediction(slot), WINDOW))
    known: dict[int, float] = {}
    for tenth, value in coming:
        found = meet(labels, at(tenth / 10, float(value)))
        near = [s for s in slots if abs(s * 10 - tenth) <= tolerance or s == tenth // 10]
        best = min(near, key=lambda s: (s != tenth // 10, abs(s * 10 - tenth), s), default=None)
        if best is None or known.get(best) == value:
            assert found is None
        else:
            assert told(found) == (f"tank-1-{best}", float(value), known.get(best))
            known[best] = float(value)


story = st.tuples(st.integers(0, 2), st.integers(1, 3), st.booleans(), st.booleans())


@given(st.lists(story, max_size=30), st.integers(1, 30), st.integers(0, 4))
def test_it_makes_no_difference_how_rows_and_predictions_are_cut_into_batches(
    story: list[tuple[int, int, bool, bool]], size: int, late: int
) -> None:
    """Of each row: the stream, the slots since the one before, the target seen, a prediction."""
    one_by_one, together = (Labels(manifest(horizon=2), late=late * MINUTE) for _ in range(2))
    newest = [0, 0, 0]
    came: list[tuple[Row, bool]] = []
    for stream, step, is_seen, is_predicted in story:
        newest[stream] += step
        seen = np.array([is_seen, True])
        came.append((Row(f"tank-{stream}", newest[stream], floats(step, 0), seen), is_predicted))

    def entry(row: Row) -> Entry:
        return Entry(prediction(row.slot, row.stream), WINDOW)

    alone: list[Labelled | None] = []
    for row, is_predicted in came:
        alone.append(met(one_by_one, row))
        if is_predicted:
            one_by_one.expect(entry(row))
        one_by_one.let_go(row)
    batched: Found = []
    for at in range(0, len(came), size):
        part = came[at : at + size]
        made = [prediction(row.slot, row.stream) for row, is_predicted in part if is_predicted]
        windows, rows = np.stack([WINDOW] * (len(made) + 1))[1:], [row for row, _ in part]
        batched += together.follow(rows, Predictions.of(made), windows, lambda _: WINDOW)
    expected = [told(item) for item in alone if item is not None]
    assert [one for item in batched for one in told_all(item)] == expected
    assert together.given_up == one_by_one.given_up
    waiting = [[e.prediction.id for e in labels.waiting()] for labels in (together, one_by_one)]
    assert waiting[0] == waiting[1]
